//! SPECIFICATION.md: numbered promises, each with its proof.
//!
//! The page is prose and tables; a promise is a table row of three cells:
//!
//! ```text
//! | S12 | what is promised                  | `latency/src/budget.rs::breach_needs_its_duration` |
//! | S13 | recording costs <= 25 ns a sample | `benches/benches/record.rs`, `agent/tests/hot.rs::no_alloc` |
//! | S14 | not proved by a machine           | [pending] needs a NIC |
//! ```
//!
//! A proof is `path::function` of a test, or the path of a bench alone; several are separated by commas.
//! Numbers are unique and rise; a withdrawn promise leaves a gap. `[pending]` is honest, and says why.

use crate::finding::Finding;
use crate::repo::Repo;

const PATH: &str = "SPECIFICATION.md";

/// A row of the page.
struct Promise<'a> {
    line: usize,
    id: &'a str,
    text: &'a str,
    proof: &'a str,
}

/// Rows that are not in form, not in order, or whose proof does not exist.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let Some(text) = repo.text(PATH) else {
        return vec![Finding::new(
            PATH,
            1,
            "no such page",
            "write it: numbered promises, each with its proof",
        )];
    };
    let promises: Vec<Promise<'_>> =
        text.lines().enumerate().filter_map(|(index, line)| row(index + 1, line)).collect();
    if promises.is_empty() {
        return vec![Finding::new(PATH, 1, "no promise", "write rows `| S1 | promise | `path::test` |`")];
    }
    let mut findings = numbering(&promises);
    for promise in &promises {
        findings.extend(faults(repo, promise).map(|(fault, remedy)| {
            Finding::new(PATH, promise.line, format!("{}: {fault}", promise.id), remedy)
        }));
    }
    findings
}

/// `None` for a line that is no promise: its first cell is not S and a number. `\|` does not end a cell.
fn row(line: usize, text: &str) -> Option<Promise<'_>> {
    let inner = text.trim().strip_prefix('|')?;
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let (id, rest) = inner.split_once('|')?;
    let (promise, proof) = rest.rsplit_once('|').unwrap_or((rest, ""));
    number(id.trim())?;
    Some(Promise { line, id: id.trim(), text: promise.trim(), proof: proof.trim() })
}

fn number(id: &str) -> Option<u32> {
    id.strip_prefix('S')?.parse().ok()
}

fn numbering(promises: &[Promise<'_>]) -> Vec<Finding> {
    let falls = promises.windows(2).filter(|pair| number(pair[1].id) <= number(pair[0].id));
    falls
        .map(|pair| {
            Finding::new(
                PATH,
                pair[1].line,
                format!("{} after {}", pair[1].id, pair[0].id),
                "give it the next free number",
            )
        })
        .collect()
}

fn faults<'a>(repo: &'a Repo, promise: &Promise<'a>) -> impl Iterator<Item = (String, &'static str)> {
    let empty = promise.text.is_empty().then(|| ("promises nothing".to_owned(), "write what is promised"));
    let proofs: Vec<&str> = promise.proof.split(',').map(str::trim).collect();
    let pending = promise.proof.starts_with("[pending]");
    let unproved = proofs.into_iter().filter(move |_| !pending).filter_map(|proof| proof_fault(repo, proof));
    empty.into_iter().chain(unproved)
}

fn proof_fault(repo: &Repo, proof: &str) -> Option<(String, &'static str)> {
    let Some(proof) = proof.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
        return Some((
            format!("{proof:?} is no proof"),
            "use `path::test` in back quotes, or [pending] and why",
        ));
    };
    let (path, name) = proof.split_once("::").map_or((proof, None), |(path, name)| (path, Some(name)));
    let Some(text) = repo.text(path) else {
        return Some((format!("`{path}` does not exist"), "name the file that holds the test"));
    };
    match name {
        None if path.starts_with("benches/") => None,
        None => Some((format!("`{path}` names no test"), "use `path::test`")),
        Some(name) if is_test(text, name.rsplit("::").next().unwrap_or(name)) => None,
        Some(name) => Some((format!("`{path}` has no test `{name}`"), "name the test that proves it")),
    }
}

/// Whether `text` defines the function `name` with a test attribute above it.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let defines = |line: &str| {
        let signature = line.split_once("fn ").map(|(_, rest)| rest);
        signature.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    lines.iter().enumerate().any(|(index, line)| {
        let attributes = lines[..index]
            .iter()
            .rev()
            .take_while(|above| above.starts_with("#[") || above.starts_with("//"));
        defines(line)
            && attributes.filter(|above| above.starts_with("#[")).any(|above| above.contains("test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    const TEST: &str =
        "#[test]\n/// Doc.\nfn holds() {}\nfn helper() {}\n#[tokio::test]\nasync fn waits() {}\n";

    #[track_caller]
    fn check_page(page: &str, expected: &[&str]) {
        let repo =
            Repo::of([(PATH, page), ("agent/src/a.rs", TEST), ("benches/benches/ring.rs", "fn main() {}")]);
        assert_eq!(lines(&check(&repo)), expected);
    }

    #[test]
    fn proofs_exist() {
        check_page(
            "# Promises\n\n| no | promise | proof |\n|---|---|---|\n| S1 | a | `agent/src/a.rs::holds` |\n",
            &[],
        );
        check_page("| S1 | a \\| b | `agent/src/a.rs::tests::waits`, `benches/benches/ring.rs` |\n", &[]);
        check_page("| S1 | a | [pending] needs a NIC, two hosts |\n", &[]);
    }

    #[test]
    fn missing_proofs_are_found() {
        check_page(
            "| S1 | a | `agent/src/b.rs::holds` |",
            &["SPECIFICATION.md:1: S1: `agent/src/b.rs` does not exist, name the file that holds the test"],
        );
        check_page(
            "| S1 | a | `agent/src/a.rs::hold` |",
            &["SPECIFICATION.md:1: S1: `agent/src/a.rs` has no test `hold`, name the test that proves it"],
        );
        check_page(
            "| S1 | a | `agent/src/a.rs::helper` |",
            &["SPECIFICATION.md:1: S1: `agent/src/a.rs` has no test `helper`, name the test that proves it"],
        );
        check_page(
            "| S1 | a | `agent/src/a.rs` |",
            &["SPECIFICATION.md:1: S1: `agent/src/a.rs` names no test, use `path::test`"],
        );
        check_page(
            "| S1 | a | believe us |",
            &["SPECIFICATION.md:1: S1: \"believe us\" is no proof, \
               use `path::test` in back quotes, or [pending] and why"],
        );
        check_page(
            "| S1 | a | |",
            &["SPECIFICATION.md:1: S1: \"\" is no proof, \
               use `path::test` in back quotes, or [pending] and why"],
        );
    }

    #[test]
    fn the_page_is_numbered() {
        check_page(
            "| S2 | a | [pending] x |\n| S2 | b | [pending] x |\n| S5 | | [pending] x |\n",
            &[
                "SPECIFICATION.md:2: S2 after S2, give it the next free number",
                "SPECIFICATION.md:3: S5: promises nothing, write what is promised",
            ],
        );
        check_page(
            "# Nothing\n",
            &["SPECIFICATION.md:1: no promise, write rows `| S1 | promise | `path::test` |`"],
        );
        assert!(lines(&check(&Repo::of([])))[0].starts_with("SPECIFICATION.md:1: no such page"));
    }
}
