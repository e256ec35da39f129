//! Counts what test binaries say at their end.

use std::fmt;

/// Tests by outcome, over every binary so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold.
    pub failed: u64,
    /// Names of those that failed.
    pub failures: Vec<String>,
    /// The names that a binary is listing now.
    pub listed: Option<Vec<String>>,
}

impl Tally {
    /// Takes a line of a test binary's output; which tests failed stands in the last list before the counts, also when
    /// what a test printed itself is mixed with the rest:
    ///
    /// ```text
    /// failures:
    ///     tests::cpulist
    ///
    /// test result: FAILED. 11 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
    /// ```
    pub fn take(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, " passed");
            self.failed += count(counts, " failed");
            self.failures.extend(self.listed.take().unwrap_or_default());
        } else if line == "failures:" {
            self.listed = Some(Vec::new());
        } else if let (Some(listed), Some(name)) = (&mut self.listed, line.strip_prefix("    ")) {
            listed.push(name.to_owned());
        }
    }

    /// Counts those as passed that `second`, a run of the failed ones alone, found to hold; their names.
    pub fn amend(&mut self, second: &Self) -> Vec<String> {
        let (failing, steady): (Vec<String>, Vec<String>) =
            self.failures.drain(..).partition(|name| second.failures.contains(name));
        let held = steady.len() as u64;
        self.failures = failing;
        self.passed += held;
        self.failed = self.failed.saturating_sub(held);
        steady
    }
}

/// The number before `label`.
fn count(text: &str, label: &str) -> u64 {
    let before = text.split_once(label).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.take(line));
        tally
    }

    #[test]
    fn binaries_add_up() {
        let tally = tally(&[
            "running 2 tests",
            "test tests::a ... ok",
            "test tests::b ... says something of its own",
            "FAILED",
            "failures:",
            "---- tests::b stdout ----",
            "    a line that it printed",
            "failures:",
            "    tests::b",
            "",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
            "    and this is no name",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.20s",
            "99 passed, says a test of its own",
        ]);
        assert_eq!(tally.to_string(), "13 passed, 1 failed");
        assert_eq!(tally.failures, ["tests::b"]);
    }

    #[test]
    fn what_holds_when_run_alone_counts_as_passed_and_is_named() {
        let failed = ["failures:", "    a", "    b", "test result: FAILED. 5 passed; 2 failed; 0 ignored"];
        let mut first = tally(&failed);
        let second = tally(&["failures:", "    b", "test result: FAILED. 1 passed; 1 failed; 0 ignored"]);
        assert_eq!(first.amend(&second), ["a"]);
        assert_eq!(
            (first.to_string().as_str(), first.failures),
            ("6 passed, 1 failed", vec!["b".to_owned()])
        );
    }
}
