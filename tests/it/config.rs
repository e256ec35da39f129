//! `quell config`: the shipped file, layers, and mistakes with their places.

use std::path::Path;

use report::Exit;

use crate::harness::{Output, Quell};

fn config(verb: &str, file: impl AsRef<Path>) -> Quell {
    Quell::new().args(["config", verb, "--file"]).args([file.as_ref()])
}

#[test]
fn the_shipped_file_is_right() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/quell.toml");
    let output = config("check", &file).run().succeeds();
    assert!(output.stdout.ends_with(" values, nothing wrong\n"), "{output}");
    let output = config("explain", &file).run().succeeds();
    for line in output.stdout.lines() {
        assert!(line.contains("quell.toml:"), "a shipped file says every value\n{output}");
    }
}

/// What stands in the line of `key`: value, then place.
#[track_caller]
fn explained(output: &Output, key: &str) -> (String, String) {
    let line = output.stdout.lines().find(|line| line.split_whitespace().next() == Some(key));
    let line = line.unwrap_or_else(|| panic!("no {key}\n{output}"));
    let (rest, place) = line.trim_end().rsplit_once(' ').unwrap();
    (rest[key.len()..].trim().to_owned(), place.to_owned())
}

#[test]
fn every_value_has_its_source() {
    let quell = Quell::new();
    quell.file("quell.toml", "[measure]\ncpus = \"0\"\nstall = \"20us\"\n");
    quell.file("conf.d/10-a.toml", "[measure]\nstall = \"30us\"\ninterval = \"2ms\"\n");
    quell.file("conf.d/20-b.toml", "[measure]\ninterval = \"5ms\"\n");
    quell.file("conf.d/30-c.txt", "not a configuration");
    let output = quell.args(["config", "explain", "--file", "quell.toml"]).run().succeeds();
    let check = |key: &str, value: &str, place: &str| {
        let (told, from) = explained(&output, key);
        assert_eq!((told.as_str(), from.as_str()), (value, place), "{output}");
    };
    check("measure.cpus", "0", "quell.toml:2");
    check("measure.stall", "30.0 us", "conf.d/10-a.toml:2");
    check("measure.interval", "5.00 ms", "conf.d/20-b.toml:2");
    check("measure.policy", "other", "default");
    check("budget.wake-up", "timer-wakeup p99 <= 50us for 5s over 2s", "default");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let quell = Quell::new();
    quell.file("quell.toml", "[measure]\ncpus = \"1-0\"\nstal = \"20us\"\n[[budget]]\nname = \"a\"\n");
    quell.file("conf.d/10-a.toml", "[measure]\nprobes = [\"timr-wakeup\"]\n");
    quell.file("conf.d/20-b.toml", "[report\n");
    let output = quell.args(["config", "check", "--file", "quell.toml"]).run().exits(Exit::Usage);
    assert_eq!(output.stdout, "", "{output}");
    for (place, part) in [
        ("quell.toml:2", "runs backwards"),
        ("quell.toml:3", "did you mean \"stall\"?"),
        ("quell.toml:4", "budget without channel"),
        ("quell.toml:4", "budget without limit"),
        ("conf.d/10-a.toml:2", "did you mean timer-wakeup?"),
        ("conf.d/20-b.toml:1", "unclosed table"),
    ] {
        let is_told = |line: &str| line.starts_with(&format!("quell: {place}: ")) && line.contains(part);
        assert!(output.stdout.is_empty() && output.stderr.lines().any(is_told), "{place}: {part}\n{output}");
    }
    assert_eq!(output.stderr.lines().count(), 6, "{output}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    config("check", "/no/such.toml")
        .run()
        .exits(Exit::Usage)
        .says_one_line(&["/no/such.toml", "No such file"]);
    config("check", "/proc").run().exits(Exit::Usage).says_one_line(&["/proc", "directory"]);
}
