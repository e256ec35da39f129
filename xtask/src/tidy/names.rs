//! Names of files and crates: a folder is its crate, and nothing is named after not knowing what it is.

use toml::Value;

use crate::finding::Finding;
use crate::manifest::Manifest;
use crate::repo::{Repo, is_captured};

/// Names that say nothing; what lands there has a better home.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "helpers", "helper", "misc", "stuff"];

/// Folders unlike their crates, members not in the root, empty names.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let mut findings: Vec<Finding> = repo.manifests().filter_map(|manifest| folder(&manifest)).collect();
    findings.extend(members(repo));
    findings.extend(repo.texts().filter_map(|(path, _)| empty_name(path)));
    findings
}

fn folder(manifest: &Manifest<'_>) -> Option<Finding> {
    (manifest.name() != manifest.folder).then(|| {
        let fault = format!("crate `{}` lives in `{}`", manifest.name(), manifest.folder);
        Finding::new(
            manifest.path,
            manifest.line_of("name"),
            fault,
            "use one name for both, directly below the root",
        )
    })
}

fn members(repo: &Repo) -> Vec<Finding> {
    let Some(root) = repo.root_manifest() else { return Vec::new() };
    let listed = root.at(&["workspace", "members"]).and_then(Value::as_array);
    let is_listed = |folder: &str| listed.into_iter().flatten().any(|member| member.as_str() == Some(folder));
    let strays = repo.manifests().filter(|manifest| !is_listed(manifest.folder));
    strays
        .map(|manifest| {
            Finding::new(manifest.path, 1, "not a member of the workspace", "list it in the root's members")
        })
        .collect()
}

fn empty_name(path: &str) -> Option<Finding> {
    let stem = |part: &str| part.split_once('.').map_or(part, |(stem, _)| stem).to_owned();
    let bad = path.split('/').map(stem).find(|part| EMPTY_NAMES.contains(&part.as_str()))?;
    let fault = format!("the name `{bad}` says nothing");
    (!is_captured(path)).then(|| Finding::new(path, 1, fault, "name it after the one thing it holds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[track_caller]
    fn check_file(path: &str, text: &str, expected: &[&str]) {
        let root = "[workspace]\nmembers = [\"clock\", \"timing\"]\n";
        assert_eq!(lines(&check(&Repo::of([("Cargo.toml", root), (path, text)]))), expected);
    }

    #[test]
    fn a_folder_is_its_crate() {
        check_file("clock/Cargo.toml", "[package]\nname = \"clock\"\n", &[]);
        check_file(
            "timing/Cargo.toml",
            "[package]\nname = \"clock\"\n",
            &["timing/Cargo.toml:2: crate `clock` lives in `timing`, \
               use one name for both, directly below the root"],
        );
        check_file(
            "stray/Cargo.toml",
            "[package]\nname = \"stray\"\n",
            &["stray/Cargo.toml:1: not a member of the workspace, list it in the root's members"],
        );
    }

    #[test]
    fn names_say_something() {
        check_file("host/src/irqs.rs", "", &[]);
        check_file("tests/fixtures/hosts/vm/sys/common/x", "", &[]); // the kernel's names are the kernel's
        check_file(
            "host/src/utils.rs",
            "",
            &["host/src/utils.rs:1: the name `utils` says nothing, name it after the one thing it holds"],
        );
        check_file(
            "common/notes.md",
            "",
            &["common/notes.md:1: the name `common` says nothing, name it after the one thing it holds"],
        );
    }
}
