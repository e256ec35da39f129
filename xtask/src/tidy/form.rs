//! The form of text files: opening paragraph, line width, white space, size.
//!
//! Code is rustfmt's business; this is about what rustfmt leaves alone (comments, literals, other files).

use crate::finding::Finding;
use crate::repo::{Repo, is_captured};
use crate::rust::RustFile;

/// Characters of a line in a Rust file: fifteen more than `max_width` in rustfmt.toml, which rustfmt
/// applies to code and not to comments and texts.
const COLUMNS_MAX: usize = 125;

/// Characters that may stand around a long literal: indentation, a call, a closing bracket.
const AROUND_A_LITERAL_MAX: usize = 50;

/// Lines of a Rust file, tests included. The largest file of the code we admire most (rtrb, 1 171 lines) is
/// half documentation; beyond this a file holds two ideas.
const FILE_LINES_MAX: usize = 900;

/// Files nobody writes by hand.
const GENERATED: [&str; 2] = ["Cargo.lock", "LICENSE"];

/// Everything below.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let written = repo.texts().filter(|(path, _)| !is_captured(path) && !GENERATED.contains(path));
    let mut findings: Vec<Finding> = written.flat_map(|(path, text)| trailing_space(path, text)).collect();
    findings.extend(repo.rust().iter().flat_map(rust));
    findings
}

fn trailing_space(path: &str, text: &str) -> Vec<Finding> {
    let ends_blank = |line: &&str| line.ends_with([' ', '\t', '\r']);
    let lines = text.split('\n').enumerate().filter(|(_, line)| ends_blank(line));
    lines.map(|(index, _)| Finding::new(path, index + 1, "white space at the end", "remove it")).collect()
}

fn rust(file: &RustFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//! ") {
        let remedy = "use `//! ` and say what the file is for, what it leaves out, its caveats";
        findings.push(Finding::new(&file.path, 1, "no opening paragraph", remedy));
    }
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        let fault = format!("{lines} lines (at most {FILE_LINES_MAX})");
        findings.push(Finding::new(&file.path, lines, fault, "make two files of its two ideas"));
    }
    for (index, line) in file.text.lines().enumerate() {
        if line.contains('\t') {
            findings.push(Finding::new(
                &file.path,
                index + 1,
                "a tab",
                "use four spaces, or \\t in a literal",
            ));
        }
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && !is_one_literal(line) {
            let fault = format!("{columns} columns (at most {COLUMNS_MAX})");
            findings.push(Finding::new(&file.path, index + 1, fault, "break the line"));
        }
    }
    findings
}

/// Whether what makes the line long is one text: a message, or a line of the kernel's, reads better whole.
fn is_one_literal(line: &str) -> bool {
    let ends = line.find('"').zip(line.rfind('"')).filter(|(first, last)| first < last);
    let literal = ends.map_or(0, |(first, last)| line[first..=last].chars().count());
    !line.trim_start().starts_with("//") && line.chars().count() - literal <= AROUND_A_LITERAL_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[track_caller]
    fn check_file(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(lines(&check(&Repo::of([(path, text)]))), expected);
    }

    #[test]
    fn rust_files_open_with_a_paragraph() {
        check_file("units/src/a.rs", "//! Numbers.\n", &[]);
        for text in ["", "fn a() {}\n", "/// Numbers.\n", "\n//! Numbers.\n", "//!\n"] {
            check_file(
                "units/src/a.rs",
                text,
                &["units/src/a.rs:1: no opening paragraph, \
                   use `//! ` and say what the file is for, what it leaves out, its caveats"],
            );
        }
    }

    #[test]
    fn white_space_is_spaces_inside_lines() {
        check_file("a.md", "a\nb \n", &["a.md:2: white space at the end, remove it"]);
        check_file("a.sh", "a\r\n", &["a.sh:1: white space at the end, remove it"]);
        check_file("tests/fixtures/hosts/vm/proc/x", "kernel text \n", &[]);
        check_file("Makefile", "\tmake\n", &[]);
        check_file("u/a.rs", "//! A.\n\tx\n", &["u/a.rs:2: a tab, use four spaces, or \\t in a literal"]);
    }

    #[test]
    fn lines_and_files_fit() {
        let wide = |columns: usize| format!("//! {}\n", "ü".repeat(columns - 4));
        check_file("u/a.rs", &wide(125), &[]);
        check_file("u/a.rs", &wide(126), &["u/a.rs:1: 126 columns (at most 125), break the line"]);
        let literal = |around: usize| format!("//! A.\n{}\"{}\";\n", "x".repeat(around - 1), "ü".repeat(200));
        check_file("u/a.rs", &literal(50), &[]);
        check_file("u/a.rs", &literal(51), &["u/a.rs:2: 253 columns (at most 125), break the line"]);
        check_file("a.md", &wide(300), &[]);
        let long = |lines: usize| format!("//! A.\n{}", "x\n".repeat(lines - 1));
        check_file("u/a.rs", &long(900), &[]);
        check_file(
            "u/a.rs",
            &long(901),
            &["u/a.rs:901: 901 lines (at most 900), make two files of its two ideas"],
        );
    }
}
