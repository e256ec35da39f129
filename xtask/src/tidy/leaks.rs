//! Traces of the machine the work was done on: its paths, and numbers that mean something only beside it.

use crate::finding::Finding;
use crate::repo::{Repo, is_captured};

// Joined from halves: this file is read like any other.
/// Paths of one person's machine.
const PLACES: [&str; 3] = [concat!("/wo", "rk"), concat!("/tmp", "/x"), concat!("/ro", "ot/.cargo")];

/// Paths and numbers that a stranger cannot follow.
pub fn check(repo: &Repo) -> Vec<Finding> {
    repo.texts().flat_map(|(path, text)| leaks(path, text)).collect()
}

fn leaks(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(place) = PLACES.iter().find(|place| is_at_root(line, place)) {
            findings.push(Finding::new(
                path,
                index + 1,
                format!("the path {place}"),
                "use one below the repository, or a temporary one",
            ));
        }
        if !is_captured(path) && numbers_an_issue(line) {
            findings.push(Finding::new(path, index + 1, "the number of an issue", "write the reason itself"));
        }
    }
    findings
}

/// Whether `place` starts a path and ends a name in it, as the same letters further down a path do not.
fn is_at_root(line: &str, place: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let continues = |c: char| is_name(c) || matches!(c, '}' | '~' | '/');
    line.match_indices(place)
        .any(|(at, _)| !line[..at].ends_with(continues) && !line[at + place.len()..].starts_with(is_name))
}

/// The word with a number behind it, `#` or not. Those of other projects are written `project#7`.
fn numbers_an_issue(line: &str) -> bool {
    let line = line.to_lowercase();
    let numbered = |rest: &str| {
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        rest.strip_prefix('#').unwrap_or(rest).starts_with(|c: char| c.is_ascii_digit())
    };
    line.match_indices("issue").any(|(at, word)| numbered(&line[at + word.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[track_caller]
    fn check_line(line: &str, expected: bool) {
        let found = lines(&check(&Repo::of([("docs/a.md", &format!("first\n{line}\n"))])));
        assert_eq!(!found.is_empty(), expected, "{line}: {found:?}");
        assert!(found.iter().all(|finding| finding.starts_with("docs/a.md:2: ")), "{found:?}");
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for place in PLACES {
            check_line(&format!("see {place}/notes"), true);
            check_line(&format!("\"{place}\""), true);
            check_line(&format!("/sys/devices{place}/state"), false);
            check_line(&format!("a longer {place}yz"), false);
        }
        check_line("the work/ folder", false);
    }

    #[test]
    fn numbers_of_issues_are_found() {
        check_line(concat!("as Iss", "ue #2 says"), true);
        check_line(concat!("(iss", "ue 14)"), true);
        check_line("netdata#4680 has the same issue", false);
        check_line("issued 3 times", false);
    }
}
