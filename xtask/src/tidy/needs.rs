//! Programs that tests ask for by `require("…")` against the packages `cargo xtask test` provides, both ways.

use crate::debian::PACKAGES;
use crate::finding::Finding;
use crate::repo::Repo;

const TABLE: &str = "xtask/src/debian.rs";
const ASKS: &str = "require(\"";

/// Programs that no package provides, and packages that no test asks for.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let asked: Vec<(&str, usize, &str)> = repo
        .rust()
        .iter()
        .filter(|file| !file.path.starts_with("xtask/"))
        .flat_map(|file| asked(file.test_text()).map(|(line, program)| (file.path.as_str(), line, program)))
        .collect();
    let provided = |program: &str| PACKAGES.iter().any(|package| package.programs.contains(&program));
    let mut findings: Vec<Finding> = asked
        .iter()
        .filter(|(_, _, program)| !provided(program))
        .map(|(path, line, program)| {
            Finding::new(
                path,
                *line,
                format!("no package provides `{program}`"),
                format!("add its row to {TABLE}"),
            )
        })
        .collect();
    let is_asked = |programs: &[&str]| asked.iter().any(|(_, _, program)| programs.contains(program));
    findings.extend(PACKAGES.iter().filter(|package| !is_asked(package.programs)).map(|package| {
        Finding::new(TABLE, 1, format!("no test asks for `{}`", package.name), "remove the row")
    }));
    findings
}

fn asked(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let program = line.split_once(ASKS)?.1.split_once('"')?.0;
        Some((index + 1, program))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn both_ways() {
        let found = lines(&check(&Repo::of([(
            "tests/it/a.rs",
            "\nif !require(\"no-such-tool\") {\n    return;\n}\n",
        )])));
        assert_eq!(
            found[0],
            "tests/it/a.rs:2: no package provides `no-such-tool`, add its row to xtask/src/debian.rs"
        );
        assert_eq!(found.len(), 1 + PACKAGES.len(), "and nothing asks for the packages: {found:?}");

        let asking: String =
            PACKAGES.iter().map(|package| format!("require(\"{}\");\n", package.programs[0])).collect();
        assert_eq!(lines(&check(&Repo::of([("tests/it/a.rs", &asking)]))), [""; 0]);
    }
}
