//! `cargo xtask test`: everything a fresh machine needs to pass the tests, and one line at the end that says
//! how many.
//!
//! Tests that lack something (root, a program) say so in the file named by `QUELL_SKIPS`; with
//! `QUELL_REQUIRE=1`, which `CI=true` sets, they fail instead. Benches run in short mode
//! (`QUELL_BENCH=short`): alive, and their gates kept. A few tests or a bench that fail run once more, alone: what holds
//! then is named as unsteady and does not fail the run, since machines that run tests are shared; it is a defect to mend
//! all the same. The VM lab runs in short as well, last, where its images are or may be built: machines that boot take
//! minutes.

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

/// More failures than this at once are no accident of a busy machine.
const AGAIN_MAX: usize = 5;

/// Provides, tests, benches, and the summary.
pub fn run() -> anyhow::Result<()> {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    debian::provide(strict)?;
    let skips = Skips::new()?;
    let mut run = Run { skips: &skips, strict, tally: Tally::default(), unsteady: Vec::new() };
    // Every binary runs even when one fails: a person wants all the news at once.
    let tests = run.tests(Step::new("tests", "cargo test --workspace --no-fail-fast"), "--");
    let benches = if has_benches() { Some(run.benches()) } else { None };
    let lab = run.lab();
    let Run { tally, unsteady, .. } = run;
    let skipped = skips.read()?;
    println!("{}", summary(&tally, benches.as_ref().map(Result::is_ok), &unsteady, &skipped));
    tests.and(benches.unwrap_or(Ok(())))?;
    lab?;
    if tally.passed == 0 {
        bail!("no test ran: cargo's output had no results to count");
    }
    Ok(())
}

/// The tests that are campaigns: CI runs each of them shortened.
const CAMPAIGNS: &str = "plan_result:: lies:: crash:: boot:: power_cut:: kernel::";

/// The campaigns in full, or those of them whose names have `name`, with their figures; nothing is left out.
pub fn full(name: Option<&str>) -> anyhow::Result<()> {
    debian::provide(true)?;
    let names = name.unwrap_or(CAMPAIGNS);
    let line = format!("cargo test --package sys-tuning --test all -- --test-threads=1 --nocapture {names}");
    let step = Step::new("campaigns", &line).env("QUELL_FULL", "1").env("QUELL_REQUIRE", "1");
    step.run().map(drop)
}

/// A run of everything, as far as it came.
struct Run<'s> {
    skips: &'s Skips,
    strict: bool,
    tally: Tally,
    /// What failed first and held when it ran once more, alone: the machine is shared, and a defect all the same.
    unsteady: Vec<String>,
}

impl Run<'_> {
    /// Runs the tests of `step`; a few that fail run once more, alone. `before` stands between cargo's words and names.
    fn tests(&mut self, step: Step, before: &str) -> anyhow::Result<()> {
        let mut first = Tally::default();
        let mut step = self.skips.shared_with(step, self.strict);
        let mut outcome = step.run_and_read(|line| first.take(line)).map(drop);
        let is_few = (1..=AGAIN_MAX).contains(&first.failures.len());
        if outcome.is_err() && is_few && first.failures.len() as u64 == first.failed {
            let words = [before, "--exact", "--test-threads=1"].into_iter().filter(|word| !word.is_empty());
            step.line.extend(words.map(str::to_owned).chain(first.failures.iter().cloned()));
            let mut second = Tally::default();
            outcome = step.run_and_read(|line| second.take(line)).map(drop);
            // A binary that does not end as it should says nothing of the tests behind it.
            let has_run_all = second.passed + second.failed >= first.failed;
            if has_run_all && (outcome.is_ok() || second.failed > 0) {
                self.unsteady.extend(first.amend(&second));
            }
        }
        self.tally.passed += first.passed;
        self.tally.failed += first.failed;
        self.tally.failures.append(&mut first.failures);
        outcome
    }

    /// Each bench by itself, once more if its gates did not hold.
    fn benches(&mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for name in benches()? {
            let step = Step::new("bench", &format!("cargo bench --package benches --bench {name}"));
            let step = self.skips.shared_with(step.env("QUELL_BENCH", "short"), self.strict);
            if step.run().is_ok() {
                continue;
            }
            match step.run() {
                Ok(_) => self.unsteady.push(format!("bench {name}")),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// The tests that need a booted machine.
    fn lab(&mut self) -> anyhow::Result<()> {
        if !debian::is_root() && !self.strict {
            return self.skips.say("tests/vm: not root, and a guest's root file system is built by root");
        }
        self.tests(vm::short()?, "")
    }
}

/// The benches, by name.
fn benches() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(repo::root().join(BENCHES)).with_context(|| BENCHES.to_owned())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What the whole run comes to.
fn summary(tally: &Tally, benches: Option<bool>, unsteady: &[String], skipped: &[String]) -> String {
    let mut text = String::new();
    for failure in &tally.failures {
        text.push_str(&format!("failed:  {failure}\n"));
    }
    for name in unsteady {
        text.push_str(&format!("unsteady: {name} (failed, and held when run again alone)\n"));
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
        let tally = Tally { passed: 3, failed: 1, failures: vec!["tests::b".into()], ..Tally::default() };
        assert_eq!(
            summary(
                &tally,
                Some(true),
                &["tests::c".into()],
                &["it::peer: no `oslat` (install rt-tests)".into()]
            ),
            "failed:  tests::b\n\
             unsteady: tests::c (failed, and held when run again alone)\n\
             skipped: it::peer: no `oslat` (install rt-tests)\n\
             tests: 3 passed, 1 failed, 1 skipped; benches: passed"
        );
        let tally = Tally { passed: 3, ..Tally::default() };
        assert_eq!(
            summary(&tally, None, &[], &[]),
            "tests: 3 passed, 0 failed, 0 skipped; benches: none yet"
        );
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
