//! The clock's calibration: how large the stated bound is after 100 ms, and whether it is true.
//!
//! A chain of calibrations of 100 ms, each with its bound, against one over the whole run. The bound's size
//! depends on the machine's noise and is gated at the median; that it is true is counted for every one.

use std::process::ExitCode;

use benches::{Bench, Figures, is_short};
use clock::{Calibration, Decision, SPAN_DEFAULT};
use host::Root;
use host::clocksource::Clocksource;
use host::cpuinfo::CpuInfo;
use host::threads::{monotonic_now, sleep_until};

/// The promise: 0.1 ppm.
const PROMISED_PPB: f64 = 100.0;

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "calibration: the bound on the clock's rate after 100 ms, and its truth",
        "Parts per thousand million (1000 = 1 ppm), each figure one calibration of the time-stamp counter against \
         CLOCK_MONOTONIC_RAW; the truth is one calibration over the whole run.",
    );
    if let Decision::Monotonic { reasons } = clock::decide(&facts(&Root::system())) {
        bench.line(&format!("skipped: the counter is not the clock here: {}", reasons.join("; ")));
        return Ok(bench.finish());
    }
    let first = clock::begin();
    let count = if is_short() { 10 } else { 200 };
    let wait = |span| sleep_until(monotonic_now() + span);
    let calibrations =
        (0..count).map(|_| Calibration::run(SPAN_DEFAULT, wait)).collect::<Result<Vec<_>, _>>()?;
    let truth = first.finish()?;

    let checked: Vec<_> = calibrations.iter().map(|calibration| calibration.check(&truth)).collect();
    let bounds: Figures = checked.iter().map(|one| f64::from(one.bound_ppb)).collect();
    let off: Figures = checked.iter().map(|one| one.off_ppb.unsigned_abs() as f64).collect();
    let within = checked.iter().filter(|one| f64::from(one.bound_ppb) <= PROMISED_PPB).count();
    let lies = checked.iter().filter(|one| !one.holds()).count();
    bench.row("bound stated", &bounds, "ppb");
    bench.row("really off, against the whole run", &off, "ppb");
    bench.line(&format!(
        "The whole run: {}, itself within {} ppb, {} Hz. {within} of {count} bounds are {PROMISED_PPB} ppb or less.",
        truth.span(),
        truth.error_ppb(),
        truth.hz()
    ));
    bench.gate("bound after 100 ms, median", bounds.median(), PROMISED_PPB, "ppb");
    bench.check(&format!("no bound is false: {lies} of {count}"), lies == 0);
    Ok(bench.finish())
}

/// What speaks for the counter and against it, as the agent asks.
fn facts(root: &Root) -> clock::Facts {
    let (info, source) = (CpuInfo::read(root).ok(), Clocksource::read(root).ok());
    let has = |flag: &str| info.as_ref().and_then(|info| info.has(flag));
    clock::Facts {
        constant_tsc: has("constant_tsc"),
        nonstop_tsc: has("nonstop_tsc"),
        current_clocksource: source.map(|source| source.current),
        ..clock::Facts::of_this_cpu()
    }
}
