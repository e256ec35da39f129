//! `cargo xtask check` and `cargo xtask ci`: what CI asks, cheapest first, stopping at the first failure.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::repo;
use crate::step::Step;

/// The release that was tried; a later one is a change of this line.
const CARGO_DENY: &str = "0.20.2";

/// All steps but the tests.
pub fn check() -> anyhow::Result<()> {
    run_all(check_steps())
}

/// The checks, then the README's test command.
pub fn run() -> anyhow::Result<()> {
    let mut steps = check_steps();
    steps.push(Step::new("test", "cargo xtask test"));
    run_all(steps)
}

/// Documentation of private items is built too: their links are read in the source, and must lead somewhere.
fn check_steps() -> Vec<Step> {
    let deny = deny();
    let mut steps = vec![
        Step::new("fmt", "cargo fmt --all --check"),
        Step::new("tidy", "cargo xtask tidy"),
        Step::new("clippy", "cargo clippy --workspace --all-targets -- -D warnings"),
        Step::new("docs", "cargo doc --workspace --no-deps --document-private-items")
            .env("RUSTDOCFLAGS", "-D warnings"),
    ];
    if !deny.exists() {
        steps.push(install_deny());
    }
    // Advisories need a database that is fetched from elsewhere; what is decided here is in the repository.
    let line = format!("{} --workspace check bans licenses sources", deny.display());
    steps.push(Step::new("deny", &line));
    steps
}

fn run_all(steps: Vec<Step>) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for step in steps {
        let outcome = step.run();
        times.push((step.name, outcome.as_ref().ok().copied()));
        if let Err(error) = outcome {
            eprintln!("{}", table(&times));
            return Err(error);
        }
    }
    eprintln!("{}", table(&times));
    Ok(())
}

/// A line a step and one for the sum.
fn table(times: &[(&str, Option<Duration>)]) -> String {
    let shown = |time: &Option<Duration>| {
        time.map_or("failed".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
    };
    let rows = times.iter().map(|(name, time)| format!("{name:<14}{:>9}\n", shown(time)));
    let sum = times.iter().filter_map(|(_, time)| *time).sum::<Duration>();
    format!("{}{:<14}{:>9}", rows.collect::<String>(), "all", shown(&Some(sum)))
}

/// The cargo-deny of this machine, or where ours is put: nothing outside the target folder changes.
fn deny() -> PathBuf {
    const PROGRAM: &str = "cargo-deny";
    let folders: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let found = folders.into_iter().map(|folder| folder.join(PROGRAM)).find(|program| program.exists());
    found.unwrap_or_else(|| tools().join("bin").join(PROGRAM))
}

fn install_deny() -> Step {
    let mut step = Step::new(
        "install deny",
        &format!("cargo install cargo-deny --locked --version {CARGO_DENY} --root"),
    );
    step.line.push(tools().display().to_string());
    step
}

fn tools() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    repo::root().join(target).join("tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_adds_up() {
        let times = [
            ("fmt", Some(Duration::from_millis(1_240))),
            ("clippy", Some(Duration::from_secs(60))),
            ("docs", None),
        ];
        assert_eq!(
            table(&times),
            "fmt               1.2 s\n\
             clippy           60.0 s\n\
             docs             failed\n\
             all              61.2 s"
        );
    }

    #[test]
    fn ci_asks_for_everything_named_in_the_script() {
        let names: Vec<&str> =
            check_steps().iter().map(|step| step.name).filter(|name| *name != "install deny").collect();
        assert_eq!(names, ["fmt", "tidy", "clippy", "docs", "deny"]);
    }

    #[test]
    fn the_first_failure_stops() {
        let after = env::temp_dir().join(format!("quell-after-{}", std::process::id()));
        let steps = vec![
            Step::new("yes", "true"),
            Step::new("no", "false"),
            Step::new("after", &format!("touch {}", after.display())),
        ];
        let error = run_all(steps).unwrap_err().to_string();
        assert_eq!(error, "no failed (exit status: 1); to rerun it alone: false");
        assert!(!after.exists());
    }
}
