//! What can be typed, as the help tells it: golden, so that a change of a flag is seen where it is reviewed.

use report::Exit;

use crate::harness::{Quell, golden};

/// Without a terminal help is as wide as it likes: 100 columns.
fn help(words: &[&str]) -> String {
    let output = Quell::new().args(words.iter().copied()).args(["--help"]).run().succeeds();
    assert_eq!(output.stderr, "", "help is what was asked for");
    output.stdout
}

#[test]
fn help_is_as_it_was() {
    golden("help/quell.txt", &help(&[]));
    for command in ["up", "agent", "report", "budgets", "stalls", "doctor", "config", "tune"] {
        golden(&format!("help/{command}.txt"), &help(&[command]));
    }
    golden("help/tune-prove.txt", &help(&["tune", "prove"]));
}

#[test]
fn nothing_typed_gets_help_and_is_a_mistake() {
    let output = Quell::new().run().exits(Exit::Usage);
    assert!(output.stdout.is_empty() && output.stderr.contains("Usage: quell <COMMAND>"), "{output}");
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = Quell::new().args(["--version"]).run().succeeds();
    assert_eq!(output.stdout, concat!("quell ", env!("CARGO_PKG_VERSION"), "\n"));
}
