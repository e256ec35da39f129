//! One bench's report: what is measured on which machine, rows of quantiles, promises kept or not.

use std::process::ExitCode;

use host::Root;
use host::cpuinfo::CpuInfo;

use crate::Figures;

/// Whether this is the run that keeps the benches alive, rather than one that measures: cargo names `--bench`
/// to a bench that is to measure, and `QUELL_BENCH=short` overrules it.
#[must_use]
pub fn is_short() -> bool {
    let asked = std::env::var_os("QUELL_BENCH").is_some_and(|mode| mode == "short");
    asked || !std::env::args().any(|argument| argument == "--bench")
}

/// One bench's report, printed as it grows.
#[derive(Debug)]
pub struct Bench {
    short: bool,
    missed: usize,
}

impl Bench {
    /// Begins with its title, what is measured, and the machine.
    #[must_use]
    pub fn new(title: &str, measured: &str) -> Self {
        let bench = Self { short: is_short(), missed: 0 };
        let mode = if bench.short { " (short: figures of time do not count)" } else { "" };
        bench.line(&format!("\n## {title}{mode}\n\n{measured}\n\n{}\n", machine()));
        bench
    }

    /// A free line.
    #[expect(clippy::print_stdout, reason = "a bench's output is its result")]
    pub fn line(&self, line: &str) {
        println!("{line}");
    }

    /// A row of quantiles.
    pub fn row(&self, subject: &str, figures: &Figures, unit: &str) {
        let [min, p50, p90, p99, max] = [0.0, 0.5, 0.9, 0.99, 1.0].map(|share| figures.at(share));
        self.line(&format!(
            "{subject:<42} p50 {p50:>9.2}  p90 {p90:>9.2}  p99 {p99:>9.2}  min {min:>9.2}  max {max:>9.2} {unit}  n {}",
            figures.count()
        ));
    }

    /// A promise about time: `figure` is at most `limit`. In a short run a miss is printed and not counted.
    pub fn gate(&mut self, promise: &str, figure: f64, limit: f64, unit: &str) {
        let verdict = match (figure <= limit, self.short) {
            (true, _) => "held",
            (false, true) => "missed, not counted in a short run",
            (false, false) => "MISSED",
        };
        self.missed += usize::from(verdict == "MISSED");
        self.line(&format!("gate   {promise}: {figure:.2} <= {limit:.2} {unit}: {verdict}"));
    }

    /// A promise about a count, or about what is right: it counts in every run.
    pub fn check(&mut self, promise: &str, held: bool) {
        self.missed += usize::from(!held);
        self.line(&format!("check  {promise}: {}", if held { "held" } else { "FAILED" }));
    }

    /// What the process ends with: failure when a promise was missed.
    #[must_use]
    pub fn finish(self) -> ExitCode {
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The machine, in one line.
fn machine() -> String {
    let root = Root::system();
    let text = |path: &str| root.read(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let info = CpuInfo::read(&root).ok();
    let virtual_ = if info.is_some_and(|info| info.is_virtual() == Some(true)) { ", virtual" } else { "" };
    let cpuinfo = text("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!(
        "On {model}{virtual_}, CPUs {}, Linux {}, load {} at the start.",
        text("/sys/devices/system/cpu/online"),
        text("/proc/sys/kernel/osrelease"),
        text("/proc/loadavg")
    )
}
