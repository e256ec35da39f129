//! Programs that tests ask for by `require("…")` against the packages `cargo xtask test` provides, both ways.
//!
//! A bench may start a peer by `Command::new("…")` and thereby also keep the peer's package in the table, as may a
//! task that builds what tests run on, by a step named after the program.

use crate::debian::PACKAGES;
use crate::finding::Finding;
use crate::repo::Repo;
use crate::rust::RustFile;

const TABLE: &str = "xtask/src/debian.rs";
const ASKS: &str = "require(";
const STARTS: &str = "Command::new(";
const STEPS: &str = "Step::new(";

/// Programs that no package provides, and packages that no test or bench uses.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let files = || repo.rust().iter().filter(|file| file.krate() != "xtask");
    let uses =
        |program: &str| files().any(|file| [ASKS, STARTS].iter().any(|call| names(file, call, program)));
    let builds = |program: &str| {
        let step = format!("{STEPS}\"{program}\"");
        repo.rust().iter().any(|file| file.krate() == "xtask" && file.text.contains(&step))
    };
    let dead = PACKAGES
        .iter()
        .filter(|package| !package.programs.iter().any(|program| uses(program) || builds(program)));
    let dead = dead.map(|package| {
        Finding::new(TABLE, 1, format!("no test or bench uses `{}`", package.name), "remove the row")
    });
    files().flat_map(unprovided).chain(dead).collect()
}

fn unprovided(file: &RustFile) -> Vec<Finding> {
    let provided = |program: &str| PACKAGES.iter().any(|package| package.programs.contains(&program));
    let asked = calls(file, ASKS).filter(|(_, program)| !provided(program));
    let remedy = format!("add its row to {TABLE}");
    asked
        .map(|(line, program)| {
            Finding::new(&file.path, line, format!("no package provides `{program}`"), &remedy)
        })
        .collect()
}

fn names(file: &RustFile, call: &str, program: &str) -> bool {
    calls(file, call).any(|(_, named)| named == program)
}

/// The literals that test code passes to `call`, with their lines.
fn calls<'a>(file: &'a RustFile, call: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    file.test_lines().flat_map(move |(line, text, code)| {
        let arguments = code.match_indices(call).map(|(at, _)| &text[at + call.len()..]);
        arguments.filter_map(move |argument| Some((line, argument.strip_prefix('"')?.split_once('"')?.0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn what_is_asked_for_is_provided() {
        let text = "// require(\"in-a-comment\")\nlet here = require(name) && require(\"no-such-tool\");\n";
        let found = lines(&check(&Repo::of([("tests/it/a.rs", text)])));
        assert_eq!(
            found[0],
            "tests/it/a.rs:2: no package provides `no-such-tool`, add its row to xtask/src/debian.rs"
        );
        assert_eq!(found.len(), 1 + PACKAGES.len(), "and nothing asks for the packages: {found:?}");
    }

    #[test]
    fn what_is_provided_is_asked_for() {
        let calling = |call: &str| {
            let calls = PACKAGES.iter().map(|package| format!("{call}\"{}\");\n", package.programs[0]));
            let text: String = calls.collect();
            lines(&check(&Repo::of([("benches/benches/a.rs", &text)])))
        };
        assert_eq!(calling(ASKS), [""; 0]);
        assert_eq!(calling(STARTS), [""; 0]);
        assert_eq!(calling("start(").len(), PACKAGES.len());
        let steps: String =
            PACKAGES.iter().map(|package| format!("{STEPS}\"{}\");\n", package.programs[0])).collect();
        assert_eq!(lines(&check(&Repo::of([("xtask/src/a.rs", &steps)]))), [""; 0]);
    }
}
