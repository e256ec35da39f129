//! `tmpfiles.d`: which line writes a kernel file at boot.
//!
//! Of the line types only those that write into files that exist concern the kernel's: `w` and `w+`. Modifiers behind the
//! letter (`!` at boot only, `-` without complaint, and others) change nothing about what is written. Paths may be
//! patterns; every line that matches writes, in the order of the files, so that the last one decides. Source:
//! tmpfiles.d(5).

use glob::{MatchOptions, Pattern};

use crate::Root;
use crate::conf_files::{self, ConfFile};

/// Where it is read from.
const KIND: &str = "tmpfiles.d";

/// As glob(3) does it, which systemd-tmpfiles uses.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A line that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The file it stands in.
    pub file: String,
    /// Its line there.
    pub line: usize,
    /// What it writes to; perhaps a pattern.
    pub path: String,
    /// What it writes.
    pub value: String,
}

/// The lines of this machine that write.
#[must_use]
pub fn read(root: &Root) -> Vec<Write> {
    of(&conf_files::read(root, KIND, ".conf"))
}

/// The lines of these files that write, in the order in which they do.
#[must_use]
pub fn of(files: &[ConfFile]) -> Vec<Write> {
    let of_file = |file: &ConfFile| {
        let lines = file.text.lines().enumerate();
        let write = |(index, line)| {
            let (path, value) = parse(line)?;
            Some(Write { file: file.path.clone(), line: index + 1, path, value })
        };
        lines.filter_map(write).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}

/// The line that decides what `path` holds.
#[must_use]
pub fn deciding<'a>(writes: &'a [Write], path: &str) -> Option<&'a Write> {
    let is_it =
        |write: &&Write| Pattern::new(&write.path).is_ok_and(|pattern| pattern.matches_with(path, MATCH));
    writes.iter().rfind(is_it)
}

// Format: "w /sys/kernel/mm/transparent_hugepage/enabled - - - - never"
// (tmpfiles.d(5): type, path, mode, user, group, age, argument)
fn parse(line: &str) -> Option<(String, String)> {
    let (kind, rest) = word(line)?;
    if kind.trim_end_matches(['!', '-', '+', '=', '~', '^', '$', '?']) != "w" {
        return None;
    }
    let (path, mut rest) = word(rest)?;
    for _ in ["mode", "user", "group", "age"] {
        rest = word(rest)?.1;
    }
    let value = rest.trim();
    (!value.is_empty()).then(|| (unquoted(path), value.to_owned()))
}

/// The first word, and what follows it. A quoted word may hold blanks.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].find(quote)? + 2,
        _ => text.find(char::is_whitespace).unwrap_or(text.len()),
    };
    Some(text.split_at(end))
}

fn unquoted(word: &str) -> String {
    word.trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let file = ConfFile { path: "thp.conf".to_owned(), text: text.to_owned() };
        let writes = of(&[file]);
        let told =
            deciding(&writes, THP).map(|write| format!("{}:{} {}", write.file, write.line, write.value));
        assert_eq!(told.as_deref(), expected, "{text}");
    }

    #[test]
    fn lines_that_write_are_found() {
        check("w /sys/kernel/mm/transparent_hugepage/enabled - - - - never", Some("thp.conf:1 never"));
        check("#\nw+!- /sys/kernel/mm/*/enabled - - - -  madvise ", Some("thp.conf:2 madvise"));
        check("w \"/sys/kernel/mm/transparent_hugepage/enabled\" - - - - a b", Some("thp.conf:1 a b"));
        let twice = "w /sys/kernel/mm/transparent_hugepage/enabled - - - - never\nw /sys/kernel/*/*/enabled - - - - always";
        check(twice, Some("thp.conf:2 always"));
        for other in [
            "f /sys/kernel/mm/transparent_hugepage/enabled - - - - never", // makes files, and these exist
            "# w /sys/kernel/mm/transparent_hugepage/enabled - - - - never",
            "w /sys/kernel/mm/transparent_hugepage/enabled - - - -",
            "w /sys/kernel/mm/transparent_hugepage/enabled",
            "w /sys/kernel/*/enabled - - - - never", // a star ends at a slash
            "w \"/sys",
            "",
        ] {
            check(other, None);
        }
    }
}
