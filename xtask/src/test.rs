//! `cargo xtask test`: everything a fresh machine needs to pass the tests, and one line at the end that says
//! how many.
//!
//! Tests that lack something (root, a program) say so in the file named by `QUELL_SKIPS`; with
//! `QUELL_REQUIRE=1`, which `CI=true` sets, they fail instead. Benches run in short mode
//! (`QUELL_BENCH=short`): alive, and their gates kept. The VM lab runs in short as well, last, where its images are or may
//! be built: machines that boot take minutes.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::debian;
use crate::repo;
use crate::step::Step;
use crate::tally::Tally;
use crate::vm;

/// Where benches would be.
const BENCHES: &str = "benches/benches";

/// Provides, tests, benches, and the summary.
pub fn run() -> anyhow::Result<()> {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    debian::provide(strict)?;
    let skips = Skips::new()?;
    let mut tally = Tally::default();
    // Every binary runs even when one fails: a person wants all the news at once.
    let step = Step::new("tests", "cargo test --workspace --no-fail-fast");
    let tests = skips.shared_with(step, strict).run_and_read(|line| tally.take(line));
    let benches = if has_benches() {
        let step = Step::new("benches", "cargo bench --package benches").env("QUELL_BENCH", "short");
        Some(skips.shared_with(step, strict).run())
    } else {
        None
    };
    let lab = lab(&skips, strict, &mut tally);
    let skipped = skips.read()?;
    println!("{}", summary(&tally, benches.as_ref().map(Result::is_ok), &skipped));
    tests.and(benches.unwrap_or(Ok(Default::default())))?;
    lab?;
    if tally.passed == 0 {
        bail!("no test ran: cargo's output had no results to count");
    }
    Ok(())
}

/// The tests that need a booted machine.
fn lab(skips: &Skips, strict: bool, tally: &mut Tally) -> anyhow::Result<()> {
    if !debian::is_root() && !strict {
        return skips.say("tests/vm: not root, and a guest's root file system is built by root");
    }
    let step = vm::short()?;
    skips.shared_with(step, strict).run_and_read(|line| tally.take(line)).map(drop)
}

/// What the whole run comes to.
fn summary(tally: &Tally, benches: Option<bool>, skipped: &[String]) -> String {
    let mut text = String::new();
    for failure in &tally.failures {
        text.push_str(&format!("failed:  {failure}\n"));
    }
    for reason in skipped {
        text.push_str(&format!("skipped: {reason}\n"));
    }
    let benches = match benches {
        None => "none yet",
        Some(true) => "passed",
        Some(false) => "failed",
    };
    text.push_str(&format!("tests: {tally}, {} skipped; benches: {benches}", skipped.len()));
    text
}

fn has_benches() -> bool {
    repo::root().join(BENCHES).is_dir()
}

/// The file that tests append to when they skip; libtest keeps the output of a passing test to itself.
struct Skips {
    path: PathBuf,
}

impl Skips {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("quell-skips-{}", std::process::id()));
        fs::File::create_new(&path).with_context(|| format!("{}: cannot create", path.display()))?;
        Ok(Self { path })
    }

    fn shared_with(&self, step: Step, strict: bool) -> Step {
        let step = step.env("QUELL_SKIPS", self.path.display().to_string());
        if strict { step.env("QUELL_REQUIRE", "1") } else { step }
    }

    fn say(&self, reason: &str) -> anyhow::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).open(&self.path)?;
        Ok(writeln!(file, "{reason}")?)
    }

    /// Sorted: tests run in any order.
    fn read(&self) -> anyhow::Result<Vec<String>> {
        let text = fs::read_to_string(&self.path).with_context(|| format!("{}", self.path.display()))?;
        let mut skipped: Vec<String> = text.lines().map(str::to_owned).collect();
        skipped.sort_unstable();
        Ok(skipped)
    }
}

impl Drop for Skips {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a temporary file; the next run names another
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let tally = Tally { passed: 3, failed: 1, failures: vec!["tests::b".into()] };
        assert_eq!(
            summary(&tally, Some(true), &["it::peer: no `oslat` (install rt-tests)".into()]),
            "failed:  tests::b\n\
             skipped: it::peer: no `oslat` (install rt-tests)\n\
             tests: 3 passed, 1 failed, 1 skipped; benches: passed"
        );
        let tally = Tally { passed: 3, ..Tally::default() };
        assert_eq!(summary(&tally, None, &[]), "tests: 3 passed, 0 failed, 0 skipped; benches: none yet");
    }

    #[test]
    fn skips_are_gathered_and_the_file_goes() {
        let skips = Skips::new().unwrap();
        let step = skips.shared_with(Step::new("x", "sh -c"), true);
        assert!(step.env.contains(&("QUELL_REQUIRE", "1".to_owned())));
        let path = skips.path.clone();
        let script = "echo b >> $QUELL_SKIPS; echo a >> $QUELL_SKIPS".to_owned();
        Step { line: [step.line, vec![script]].concat(), ..step }.run().unwrap();
        skips.say("c").unwrap();
        assert_eq!(skips.read().unwrap(), ["a", "b", "c"]);
        drop(skips);
        assert!(!path.exists());
    }
}
