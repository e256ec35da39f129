//! What the benches share: rounds, quantiles, a gate that can go red, and a table.
//!
//! Latency is published as quantiles of batches, never as a mean alone, and beside a floor or a peer that was measured in
//! the same rounds, interleaved: this project is developed on shared machines, where a single absolute figure says more
//! about the neighbours. `QUELL_BENCH=short` keeps every bench alive in seconds, with its correctness checks and without
//! its gates on time.

use std::fmt::Write as _;
use std::process::ExitCode;

/// Whether this is the run that keeps the benches alive, rather than one that measures.
#[must_use]
pub fn short() -> bool {
    std::env::var_os("QUELL_BENCH").is_some_and(|mode| mode == "short")
}

/// Figures of one subject, one a batch or a run.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    values: Vec<f64>,
}

impl Figures {
    /// Adds one.
    pub fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    /// The figure at `share` (0 to 1) of the sorted list, the nearest one; NaN without figures.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The largest difference between two neighbouring figures' medians-to-be: how far the subject is from itself.
    #[must_use]
    pub fn spread(&self) -> f64 {
        self.at(1.0) - self.at(0.0)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }
}

/// One bench's report: lines to print, and whether a gate went red.
#[derive(Debug, Default)]
pub struct Bench {
    text: String,
    failed: usize,
}

impl Bench {
    /// Begins with its title and the machine it runs on.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let mut bench = Self::default();
        bench.line(&format!("\n## {title}\n\n{}\n", machine()));
        bench
    }

    /// A free line.
    pub fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}"); // writing to a String cannot fail
    }

    /// A row of quantiles.
    pub fn row(&mut self, subject: &str, figures: &Figures, unit: &str) {
        let line = format!(
            "{subject:<44} p50 {:>10.2}  p90 {:>10.2}  p99 {:>10.2}  min {:>10.2}  max {:>10.2} {unit}  n {}",
            figures.at(0.5),
            figures.at(0.9),
            figures.at(0.99),
            figures.at(0.0),
            figures.at(1.0),
            figures.count()
        );
        self.line(&line);
    }

    /// A promise that can go red; in a short run a miss of time is printed and not counted.
    pub fn gate(&mut self, promise: &str, held: bool) {
        let verdict = match (held, short()) {
            (true, _) => "held",
            (false, true) => "missed (not counted: short run)",
            (false, false) => "MISSED",
        };
        self.failed += usize::from(!held && !short());
        self.line(&format!("gate: {promise}: {verdict}"));
    }

    /// A check of correctness that counts in every run.
    pub fn check(&mut self, what: &str, held: bool) {
        self.failed += usize::from(!held);
        self.line(&format!("check: {what}: {}", if held { "held" } else { "FAILED" }));
    }

    /// Prints everything; the code says whether a gate went red.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "a bench's output is its result")]
    pub fn finish(self) -> ExitCode {
        print!("{}", self.text);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The machine, in one line.
fn machine() -> String {
    let root = host::Root::system();
    let text = |path: &str| root.read(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let cpuinfo = text("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!(
        "{model}, {} CPUs, Linux {}, load {}",
        text("/sys/devices/system/cpu/online"),
        text("/proc/sys/kernel/osrelease"),
        text("/proc/loadavg")
    )
}
