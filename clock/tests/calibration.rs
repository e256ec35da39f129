//! The calibration's promise on the machine at hand: the stated bound is true.
//!
//! A chain of calibrations of 100 ms each, and one over the whole time as the truth. The bound's size is the machine's
//! affair (it grows with noise), so it is printed and not asserted; that it is *kept* is asserted for every one.

#![cfg(target_arch = "x86_64")]

use clock::{Calibration, SPAN_DEFAULT};
use units::Nanos;

/// Calibrations in the chain; `QUELL_CALIBRATIONS` asks for more. 105 of them make a baseline of ten seconds.
const CHAIN: usize = 105;

#[test]
fn every_stated_bound_is_true() {
    let chain = std::env::var("QUELL_CALIBRATIONS").ok().map_or(CHAIN, |count| count.parse().unwrap());
    let facts = this_machine();
    if let clock::Decision::Monotonic { reasons } = clock::decide(&facts) {
        println!("skipped: the counter is not the clock here: {reasons:?}");
        return;
    }
    let first = clock::begin();
    let calibrations: Vec<Calibration> =
        (0..chain).map(|_| Calibration::run(SPAN_DEFAULT, wait).unwrap()).collect();
    let truth = first.finish().unwrap();

    let checked: Vec<_> = calibrations.iter().map(|calibration| calibration.check(&truth)).collect();
    let mut bounds: Vec<u32> = checked.iter().map(|one| one.bound_ppb).collect();
    bounds.sort_unstable();
    let worst = checked.iter().map(|one| one.off_ppb.unsigned_abs()).max().unwrap();
    let share =
        checked.iter().map(|one| one.off_ppb.unsigned_abs() * 100 / u64::from(one.bound_ppb)).max().unwrap();
    println!(
        "{chain} calibrations over {SPAN_DEFAULT} against {} (itself within {} ppb, {} Hz): \
         bound {} / {} / {} ppb (min, median, max), off by {worst} ppb and {share} % of the bound at most",
        truth.span(),
        truth.error_ppb(),
        truth.hz(),
        bounds[0],
        bounds[chain / 2],
        bounds[chain - 1],
    );
    let lies: Vec<_> = checked.iter().filter(|one| !one.holds()).collect();
    assert!(lies.is_empty(), "{lies:?}");
}

fn wait(span: Nanos) {
    let time = nix::sys::time::TimeSpec::from_duration(span.into());
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    nix::time::clock_nanosleep(clock, nix::time::ClockNanosleepFlags::empty(), &time).expect("a plain sleep");
}

/// The caller's part of detection, as crate `host` does it.
fn this_machine() -> clock::Facts {
    let sources = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flag = |name: &str| Some(cpuinfo.split_whitespace().any(|word| word == name));
    clock::Facts {
        constant_tsc: flag("constant_tsc"),
        nonstop_tsc: flag("nonstop_tsc"),
        current_clocksource: std::fs::read_to_string(sources).ok(),
        ..clock::Facts::of_this_cpu()
    }
}
