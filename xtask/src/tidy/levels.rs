//! Manifests and sources against the house: levels, foreign packages, words a crate never says.

use crate::finding::Finding;
use crate::house::{self, Crate, HOUSE, Outside};
use crate::manifest::{Dependency, Manifest};
use crate::repo::Repo;
use crate::rust::{RustFile, lines_with};

/// A dev-dependency that does not point down says why: `host.workspace = true # level: its fixtures are read
/// in tests`.
const REASON: &str = "level:";

/// Edges that point up or sideways, packages and paths that bring in forbidden knowledge, crates and rows
/// without each other.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in repo.manifests() {
        match house::find(manifest.name()) {
            Some(row) => findings.extend(edges(&manifest, row)),
            None => findings.push(homeless(&manifest)),
        }
    }
    findings.extend(
        HOUSE.iter().filter(|row| repo.text(&format!("{}/Cargo.toml", row.name)).is_none()).map(empty),
    );
    findings.extend(repo.rust().iter().flat_map(words));
    findings
}

fn homeless(manifest: &Manifest<'_>) -> Finding {
    let fault = format!("crate `{}` has no level", manifest.name());
    Finding::new(manifest.path, 1, fault, "add its row to xtask/src/house.rs and to ARCHITECTURE.md")
}

fn empty(row: &Crate) -> Finding {
    let fault = format!("row `{}` has no crate", row.name);
    Finding::new("xtask/src/house.rs", 1, fault, "remove the row until the crate comes")
}

fn edges(manifest: &Manifest<'_>, row: &Crate) -> Vec<Finding> {
    let fault = |dependency: &Dependency| match house::find(&dependency.package) {
        Some(other) => sideways(row, other, dependency),
        None => foreign(row, dependency),
    };
    let findings = manifest.dependencies().into_iter().filter_map(|dependency| {
        let (fault, remedy) = fault(&dependency)?;
        Some(Finding::new(manifest.path, dependency.line, fault, remedy))
    });
    findings.collect()
}

fn sideways(row: &Crate, other: &Crate, dependency: &Dependency) -> Option<(String, String)> {
    let reasoned = dependency.dev && dependency.comment.as_ref().is_some_and(|text| text.starts_with(REASON));
    (other.level >= row.level && !reasoned).then(|| {
        let fault =
            format!("`{}` (level {}) uses `{}` (level {})", row.name, row.level, other.name, other.level);
        let remedy = if dependency.dev {
            format!("move the test up, or write `# {REASON} why` beside the row")
        } else {
            "pass a value down, or move what is shared to a lower crate".to_owned()
        };
        (fault, remedy)
    })
}

fn foreign(row: &Crate, dependency: &Dependency) -> Option<(String, String)> {
    let package = dependency.package.as_str();
    let (refused, remedy) = match row.outside {
        Outside::Only(known) => (!known.contains(&package), format!("use only {}", known.join(", "))),
        // What tests use does not become knowledge of the crate.
        Outside::Never(unknown) => {
            (!dependency.dev && unknown.contains(&package), "do it one level up".to_owned())
        }
    };
    refused.then(|| (format!("`{}` must not know `{package}`", row.name), remedy))
}

fn words(file: &RustFile) -> Vec<Finding> {
    let Some(row) = house::find(file.krate()) else { return Vec::new() };
    let said = row.says_never.iter().flat_map(|word| {
        lines_with(file.shipped(), word).map(move |line| {
            let fault = format!("`{}` must not know `{word}`", row.name);
            Finding::new(&file.path, line, fault, "take the value as an argument")
        })
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[track_caller]
    fn check_crate(name: &str, dependencies: &str, expected: &[&str]) {
        let path = format!("{name}/Cargo.toml");
        let text = format!("[package]\nname = \"{name}\"\n{dependencies}\n");
        let repo = Repo::of([(path.as_str(), text.as_str())]);
        let found = lines(&check(&repo));
        let found: Vec<&str> =
            found.iter().map(String::as_str).filter(|line| !line.starts_with("xtask/")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn edges_point_down() {
        check_crate("clock", "[dependencies]\nunits.workspace = true", &[]);
        check_crate(
            "clock",
            "[dependencies]\nhost.workspace = true",
            &["clock/Cargo.toml:4: `clock` (level 1) uses `host` (level 1), \
               pass a value down, or move what is shared to a lower crate"],
        );
        check_crate(
            "units",
            "[dev-dependencies]\nagent.workspace = true",
            &["units/Cargo.toml:4: `units` (level 0) uses `agent` (level 3), \
               move the test up, or write `# level: why` beside the row"],
        );
        check_crate("clock", "[dev-dependencies]\nhost.workspace = true # level: compares with sysfs", &[]);
        check_crate(
            "clock",
            "[dependencies]\nhost.workspace = true # level: a reason saves tests only",
            &["clock/Cargo.toml:4: `clock` (level 1) uses `host` (level 1), \
               pass a value down, or move what is shared to a lower crate"],
        );
    }

    #[test]
    fn forbidden_knowledge_is_found() {
        check_crate("latency", "[dependencies]\nhdrhistogram.workspace = true", &[]);
        check_crate(
            "latency",
            "[dependencies]\nnix.workspace = true",
            &["latency/Cargo.toml:4: `latency` must not know `nix`, \
                 use only hdrhistogram, thiserror, fastrand, proptest"],
        );
        check_crate(
            "probes",
            "[dependencies]\nhistogram = { package = \"hdrhistogram\", version = \"7\" }",
            &["probes/Cargo.toml:4: `probes` must not know `hdrhistogram`, do it one level up"],
        );
        check_crate("probes", "[dev-dependencies]\nhdrhistogram.workspace = true", &[]);
    }

    #[test]
    fn crates_and_rows_belong_together() {
        check_crate(
            "stray",
            "",
            &["stray/Cargo.toml:1: crate `stray` has no level, \
               add its row to xtask/src/house.rs and to ARCHITECTURE.md"],
        );
        let found = lines(&check(&Repo::of([])));
        assert!(
            found.contains(
                &"xtask/src/house.rs:1: row `units` has no crate, remove the row until the crate comes"
                    .to_owned()
            )
        );
    }

    #[test]
    fn pure_crates_say_no_files() {
        let source =
            "//! Doc with std::fs.\nuse std::fs::File;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        let repo = Repo::of([("latency/src/window.rs", source), ("host/src/root.rs", source)]);
        let found = lines(&check(&repo));
        let found: Vec<&String> = found.iter().filter(|line| line.contains("std::fs")).collect();
        assert_eq!(
            found,
            ["latency/src/window.rs:2: `latency` must not know `std::fs`, take the value as an argument"]
        );
    }
}
