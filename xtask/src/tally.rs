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
}

impl Tally {
    /// Takes a line of a test binary's output:
    ///
    /// ```text
    /// test tests::cpulist ... FAILED
    /// test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
    /// ```
    pub fn take(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, " passed");
            self.failed += count(counts, " failed");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
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

    #[test]
    fn binaries_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 2 tests",
            "test tests::a ... ok",
            "test tests::b ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.20s",
            "99 passed, says a test of its own",
        ] {
            tally.take(line);
        }
        assert_eq!(tally.to_string(), "13 passed, 1 failed");
        assert_eq!(tally.failures, ["tests::b"]);
    }
}
