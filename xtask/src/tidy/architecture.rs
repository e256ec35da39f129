//! ARCHITECTURE.md names every crate and every home of `unsafe`, in back quotes, and no folder that is gone.

use super::unsafe_homes::HOMES;
use crate::finding::Finding;
use crate::house::HOUSE;
use crate::repo::Repo;

const PATH: &str = "ARCHITECTURE.md";

/// What the page does not name.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let Some(text) = repo.text(PATH) else {
        return vec![Finding::new(
            PATH,
            1,
            "no such page",
            "write it: bird's eye, data flow, code map, invariants",
        )];
    };
    let names = |name: &str| text.contains(&format!("`{name}`")) || text.contains(&format!("`{name}/`"));
    let crates = HOUSE.iter().map(|row| ("crate", row.name));
    let missing = crates.chain(HOMES.map(|home| ("home of `unsafe`", home))).filter(|(_, name)| !names(name));
    let mut findings: Vec<Finding> = missing
        .map(|(what, name)| {
            Finding::new(PATH, 1, format!("does not name the {what} `{name}`"), "add it to the code map")
        })
        .collect();
    findings.extend(gone(repo, text));
    findings
}

/// Paths the page names (something with a slash and an extension in back quotes) that do not exist.
fn gone(repo: &Repo, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2);
        let paths = quoted.filter(|path| path.contains('/') && path.ends_with(".rs"));
        for path in paths.filter(|path| repo.text(path).is_none()) {
            findings.push(Finding::new(
                PATH,
                index + 1,
                format!("`{path}` is not there"),
                "name what stands in its place",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    fn page() -> String {
        let names = HOUSE.iter().map(|row| row.name).chain(HOMES);
        names.map(|name| format!("`{name}`\n")).collect()
    }

    fn homes(page: &str) -> Repo {
        let [a, b, c, d, e, f, g, h] = HOMES.map(|home| (home, ""));
        Repo::of([(PATH, page), a, b, c, d, e, f, g, h])
    }

    #[test]
    fn a_complete_page_passes() {
        assert_eq!(lines(&check(&homes(&page()))), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(lines(&check(&Repo::of([])))[0].starts_with("ARCHITECTURE.md:1: no such page"));
        let found = lines(&check(&homes(&page().replace("`latency`\n", "latency\n"))));
        assert_eq!(found, ["ARCHITECTURE.md:1: does not name the crate `latency`, add it to the code map"]);
        let found = lines(&check(&homes(&page().replace("`clock/src/tsc.rs`\n", ""))));
        assert_eq!(
            found,
            ["ARCHITECTURE.md:1: does not name the home of `unsafe` `clock/src/tsc.rs`, \
                 add it to the code map"]
        );
    }

    #[test]
    fn a_path_that_is_gone_is_found() {
        let page = format!("`agent/src/old.rs`\n{}", page());
        let found = lines(&check(&homes(&page)));
        assert_eq!(
            found,
            ["ARCHITECTURE.md:1: `agent/src/old.rs` is not there, name what stands in its place"]
        );
    }
}
