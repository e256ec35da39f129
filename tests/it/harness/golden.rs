//! Text compared with a file in `tests/golden`; `QUELL_BLESS=1 cargo test` renews the files, and git shows
//! what changed.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines shown around a difference.
const CONTEXT: usize = 3;

/// `text` is what `tests/golden/PATH` holds.
#[track_caller]
pub fn golden(path: &str, text: &str) {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(path);
    if std::env::var_os("QUELL_BLESS").is_some_and(|value| value == "1") {
        return bless(&at, text);
    }
    if let Err(difference) = compare(&at, text) {
        panic!("tests/golden/{path}: {difference}");
    }
}

fn bless(at: &PathBuf, text: &str) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, text).unwrap();
}

fn compare(at: &PathBuf, text: &str) -> Result<(), String> {
    let expected =
        fs::read_to_string(at).map_err(|error| format!("{error}; QUELL_BLESS=1 writes it:\n{text}"))?;
    if expected == text {
        return Ok(());
    }
    Err(format!("differs (- expected, + said; QUELL_BLESS=1 renews it)\n{}", diff(&expected, text)))
}

/// Both texts as one list of lines, the unchanged ones only near a change.
fn diff(expected: &str, said: &str) -> String {
    let (old, new) = (split(expected), split(said));
    let lines = merge(&old, &new);
    let near = |index: usize| {
        let around = index.saturating_sub(CONTEXT)..lines.len().min(index + CONTEXT + 1);
        lines[around].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut text = String::new();
    let mut shown = true;
    for (index, (mark, line)) in lines.iter().enumerate() {
        if near(index) {
            writeln!(text, "{mark} {line}").unwrap();
        } else if shown {
            text.push_str("  …\n");
        }
        shown = near(index);
    }
    text
}

/// Keeps `\r` and a missing last line end visible.
fn split(text: &str) -> Vec<String> {
    let lines = text.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
        Some(line) => line.replace('\r', "\\r"),
        None => format!("{line} (no line end)"),
    });
    lines.collect()
}

/// The lines of both, in order, marked by whose they are; the longest common part is written once. Quadratic
/// in the lines, which are those of a help text or a plan.
fn merge<'a>(old: &'a [String], new: &'a [String]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1]; // of the texts from (i, j) on
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i].as_str()));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i].as_str()));
            i += 1;
        } else {
            lines.push(('+', new[j].as_str()));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: &str, said: &str, shown: &str) {
        assert_eq!(diff(expected, said), shown);
    }

    #[test]
    fn differences_are_shown_near_their_place() {
        check("a\nb\nc\n", "a\nx\nc\n", "  a\n- b\n+ x\n  c\n");
        check("", "a\n", "+ a\n");
        check("a\n", "a", "- a\n+ a (no line end)\n");
        check("1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\n", "  …\n  3\n  4\n  5\n- 6\n");
        check("a\r\n", "a\n", "- a\\r\n+ a\n");
    }

    #[test]
    fn a_blessed_file_compares_equal_and_a_change_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("plans/balanced.txt");
        assert!(compare(&at, "plan\n").unwrap_err().contains("QUELL_BLESS=1"), "absent is not equal");
        bless(&at, "plan\n");
        assert_eq!(compare(&at, "plan\n"), Ok(()));
        assert!(compare(&at, "plot\n").unwrap_err().ends_with("- plan\n+ plot\n"));
    }
}
