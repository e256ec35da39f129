//! What was meant to be gone before anybody else reads the file.

use crate::finding::Finding;
use crate::repo::{Repo, is_captured};
use crate::rust::{RustFile, has_word, lines_with};

// Joined from halves where this very file would be found.
/// Notes to oneself, in any file.
const NOTES: [&str; 4] = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X"), concat!("HA", "CK")];

/// Code that is not meant to be committed, with what to write instead.
const CODE: [(&str, &str); 3] = [
    (concat!("dbg!", "("), "remove it"),
    ("#[ignore", "ask for what the test needs by `require`, which says that it was skipped"),
    ("#[should_panic", "assert on an error value"),
];

/// Printing, which belongs to those who own a terminal.
const PRINTS: [&str; 4] = ["print!(", "println!(", "eprint!(", "eprintln!("];

/// Who owns a terminal: the command, and what only developers run.
const TERMINAL_OWNERS: [&str; 3] = ["quell/", "xtask/", "benches/"];

/// Everything below.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let written = repo.texts().filter(|(path, _)| !is_captured(path) && *path != "Cargo.lock");
    let mut findings: Vec<Finding> = written.flat_map(|(path, text)| notes(path, text)).collect();
    findings.extend(repo.rust().iter().flat_map(code));
    findings.extend(repo.rust().iter().flat_map(prints));
    findings
}

fn notes(path: &str, text: &str) -> Vec<Finding> {
    let remedy = "do it, or say in a sentence why it is so";
    let found = NOTES.iter().filter(|note| has_word(text, note)).flat_map(|note| {
        lines_with(text, note).map(move |line| Finding::new(path, line, format!("a {note}"), remedy))
    });
    found.collect()
}

fn code(file: &RustFile) -> Vec<Finding> {
    let found = CODE.iter().flat_map(|(word, remedy)| {
        lines_with(&file.code, word)
            .map(move |line| Finding::new(&file.path, line, format!("a leftover `{word}`"), *remedy))
    });
    found.collect()
}

fn prints(file: &RustFile) -> Vec<Finding> {
    if TERMINAL_OWNERS.iter().any(|owner| file.path.starts_with(owner)) || file.path.ends_with("/build.rs") {
        return Vec::new();
    }
    let remedy = "return the text, or use tracing in the control plane";
    let found = PRINTS.iter().flat_map(|print| {
        lines_with(file.shipped(), print)
            .map(move |line| Finding::new(&file.path, line, format!("`{print}` in a library"), remedy))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[track_caller]
    fn check_file(path: &str, text: &str, expected: &[&str]) {
        let found = lines(&check(&Repo::of([(path, text)])));
        let found: Vec<&str> = found.iter().map(|line| line.split_once(", ").unwrap().0).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn notes_are_found_everywhere() {
        for note in NOTES {
            check_file("a.md", &format!("x\n{note}: later\n"), &[&format!("a.md:2: a {note}")]);
            check_file("a.rs", &format!("// {note}\n"), &[&format!("a.rs:1: a {note}")]);
            check_file("tests/fixtures/hosts/vm/proc/x", note, &[]);
        }
        check_file("a.sh", "mktemp /run/q.XXXXXX\n", &[]);
    }

    #[test]
    fn leftover_code_is_found_in_code() {
        check_file("a.rs", "f(\ndbg!(x));\n", &["a.rs:2: a leftover `dbg!(`"]);
        check_file("a.rs", "#[ignore = \"slow\"]\n", &["a.rs:1: a leftover `#[ignore`"]);
        check_file("a.rs", "#[should_panic(expected)]\n", &["a.rs:1: a leftover `#[should_panic`"]);
        check_file("a.rs", "// never #[ignore]\n", &[]);
    }

    #[test]
    fn libraries_do_not_print() {
        let text = "fn a() {\n    println!(\"a\");\n}\n#[cfg(test)]\nmod tests {\n    println!(\"b\");\n}\n";
        check_file("host/src/a.rs", text, &["host/src/a.rs:2: `println!(` in a library"]);
        check_file("quell/src/a.rs", text, &[]);
        check_file("host/build.rs", text, &[]);
        check_file("host/tests/a.rs", text, &[]);
        check_file("host/src/a.rs", "/// println!(\"an example\")\n", &[]);
        check_file("host/src/a.rs", "eprint!(\"x\");\n", &["host/src/a.rs:1: `eprint!(` in a library"]);
    }
}
