//! Manifests: one place for versions and lints, no row that nobody uses, no package that is banned.
//!
//! The banned list is the one in deny.toml, read here too, so that it is told at once and without a network.

use toml::{Table, Value};

use crate::finding::Finding;
use crate::manifest::{Dependency, Manifest};
use crate::repo::Repo;
use crate::rust::has_word;

/// Keys every crate takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Everything below.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let crates: Vec<Manifest<'_>> = repo.manifests().collect();
    let mut findings: Vec<Finding> = crates.iter().flat_map(inheritance).collect();
    findings.extend(crates.iter().flat_map(|manifest| unused(repo, manifest)));
    findings.extend(dead_rows(repo, &crates));
    findings.extend(banned(repo));
    findings
}

fn inheritance(manifest: &Manifest<'_>) -> Vec<Finding> {
    let inherits = |keys: &[&str]| manifest.at(keys).and_then(Value::as_bool) == Some(true);
    let mut findings = Vec::new();
    if !inherits(&["lints", "workspace"]) {
        findings.push(Finding::new(manifest.path, 1, "own lints", "use `[lints] workspace = true`"));
    }
    for key in INHERITED.into_iter().filter(|key| !inherits(&["package", key, "workspace"])) {
        let line = manifest.line_of(key);
        findings.push(Finding::new(
            manifest.path,
            line,
            format!("own `{key}`"),
            format!("use `{key}.workspace = true`"),
        ));
    }
    if manifest.at(&["package", "description"]).is_none() {
        findings.push(Finding::new(
            manifest.path,
            1,
            "no description",
            "write what the crate is for in a line",
        ));
    }
    for row in manifest.dependencies().into_iter().filter(|row| !row.inherits) {
        let remedy = "use `.workspace = true` and put the version into the root's [workspace.dependencies]";
        findings.push(Finding::new(
            manifest.path,
            row.line,
            format!("`{}` has its own version", row.key),
            remedy,
        ));
    }
    findings
}

/// Rows of a crate that none of its sources mention. A package that is there for its features only has no
/// place in a crate's manifest: the feature belongs to the row of whoever uses it.
fn unused(repo: &Repo, manifest: &Manifest<'_>) -> Vec<Finding> {
    let sources = sources_of(repo, manifest);
    let mentioned = |row: &Dependency| sources.iter().any(|code| has_word(code, &row.key.replace('-', "_")));
    let rows = manifest.dependencies().into_iter().filter(|row| !mentioned(row));
    rows.map(|row| {
        Finding::new(manifest.path, row.line, format!("`{}` is used nowhere", row.key), "remove the row")
    })
    .collect()
}

/// The code of a crate: its folder, and the integration tests attached to it by path.
fn sources_of<'a>(repo: &'a Repo, manifest: &Manifest<'_>) -> Vec<&'a str> {
    let attached = ["it", "vm"].map(|name| {
        let folder = format!("tests/{name}/");
        manifest.text.contains(&format!("\"../{folder}main.rs\"")).then_some(folder)
    });
    let ours = |path: &str| {
        path.strip_prefix(manifest.folder).is_some_and(|rest| rest.starts_with('/'))
            || attached.iter().flatten().any(|folder| path.starts_with(folder))
    };
    repo.rust().iter().filter(|file| ours(&file.path)).map(|file| file.code.as_str()).collect()
}

fn dead_rows(repo: &Repo, crates: &[Manifest<'_>]) -> Vec<Finding> {
    let Some(root) = repo.root_manifest() else { return Vec::new() };
    let used = |row: &Dependency| {
        crates.iter().any(|manifest| manifest.dependencies().iter().any(|other| other.key == row.key))
    };
    // A crate of ours that nobody uses yet is the top of the house, not a dead row.
    let rows = root.workspace_dependencies().into_iter().filter(|row| !used(row));
    rows.map(|row| {
        Finding::new("Cargo.toml", row.line, format!("no crate uses `{}`", row.key), "remove the row")
    })
    .collect()
}

fn banned(repo: &Repo) -> Vec<Finding> {
    let banned = banned_packages(repo.text("deny.toml").unwrap_or_default());
    let mut findings = Vec::new();
    if banned.is_empty() {
        findings.push(Finding::new("deny.toml", 1, "no banned packages", "list them under [bans] deny"));
    }
    let rows = repo.root_manifest().map(|root| root.workspace_dependencies()).unwrap_or_default();
    for row in rows.iter().filter(|row| banned.contains(&row.package)) {
        findings.push(banned_at("Cargo.toml", row.line, &row.package));
    }
    for (index, line) in repo.text("Cargo.lock").unwrap_or_default().lines().enumerate() {
        let name = line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(name) = name.filter(|name| banned.iter().any(|banned| banned == name)) {
            findings.push(banned_at("Cargo.lock", index + 1, name));
        }
    }
    findings
}

fn banned_at(path: &str, line: usize, package: &str) -> Finding {
    Finding::new(path, line, format!("`{package}` is banned"), "use what its row in deny.toml says instead")
}

/// The packages under `[bans] deny` of deny.toml.
fn banned_packages(text: &str) -> Vec<String> {
    let table: Table = text.parse().unwrap_or_default();
    let rows = table.get("bans").and_then(|bans| bans.get("deny")).and_then(Value::as_array);
    let names = rows.into_iter().flatten().filter_map(|row| row.get("crate").and_then(Value::as_str));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    const INHERITS: &str = "[package]\nname = \"clock\"\ndescription = \"Time\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        publish.workspace = true\n\
        [lints]\nworkspace = true\n";
    const DENY: &str = "[bans]\ndeny = [{ crate = \"bincode\", reason = \"unmaintained\" }]\n";

    #[track_caller]
    fn check_manifest(text: &str, expected: &[&str]) {
        let repo = Repo::of([
            ("deny.toml", DENY),
            ("clock/Cargo.toml", text),
            ("clock/src/lib.rs", "use nix::time;"),
        ]);
        assert_eq!(lines(&check(&repo)), expected);
    }

    #[test]
    fn crates_inherit() {
        check_manifest(INHERITS, &[]);
        check_manifest(
            &INHERITS.replace("[lints]\nworkspace = true\n", ""),
            &["clock/Cargo.toml:1: own lints, use `[lints] workspace = true`"],
        );
        check_manifest(
            &INHERITS.replace("edition.workspace = true", "edition = \"2021\""),
            &["clock/Cargo.toml:5: own `edition`, use `edition.workspace = true`"],
        );
        check_manifest(
            &INHERITS.replace("description = \"Time\"\n", ""),
            &["clock/Cargo.toml:1: no description, write what the crate is for in a line"],
        );
        check_manifest(
            &format!("{INHERITS}[dependencies]\nnix = \"0.31\"\n"),
            &["clock/Cargo.toml:12: `nix` has its own version, \
               use `.workspace = true` and put the version into the root's [workspace.dependencies]"],
        );
    }

    #[test]
    fn rows_are_used() {
        check_manifest(&format!("{INHERITS}[dependencies]\nnix.workspace = true\n"), &[]);
        check_manifest(
            &format!("{INHERITS}[dependencies]\ncrossbeam-channel.workspace = true\n"),
            &["clock/Cargo.toml:12: `crossbeam-channel` is used nowhere, remove the row"],
        );
        let root = "[workspace.dependencies]\n# why\nlibc = \"0.2\"\n";
        let repo = Repo::of([("deny.toml", DENY), ("Cargo.toml", root)]);
        assert_eq!(lines(&check(&repo)), ["Cargo.toml:3: no crate uses `libc`, remove the row"]);
    }

    #[test]
    fn banned_packages_are_found_in_manifest_and_lock() {
        let root = "[workspace.dependencies]\nbincode = \"1\"\n";
        let lock = "[[package]]\nname = \"bincode\"\n";
        let repo = Repo::of([("deny.toml", DENY), ("Cargo.toml", root), ("Cargo.lock", lock)]);
        let found = lines(&check(&repo));
        for place in ["Cargo.toml:2", "Cargo.lock:2"] {
            let expected =
                format!("{place}: `bincode` is banned, use what its row in deny.toml says instead");
            assert!(found.contains(&expected), "{found:?}");
        }
    }

    #[test]
    fn an_empty_ban_list_is_no_list() {
        let found = lines(&check(&Repo::of([("deny.toml", "[bans]\n")])));
        assert_eq!(found, ["deny.toml:1: no banned packages, list them under [bans] deny"]);
    }

    #[test]
    fn the_project_bans_what_is_unmaintained() {
        let text = std::fs::read_to_string(crate::repo::root().join("deny.toml")).unwrap();
        let banned = banned_packages(&text);
        for package in ["bincode", "paste", "rustls-pemfile", "async-std", "yaml-rust"] {
            assert!(banned.iter().any(|name| name == package), "{package}");
        }
    }
}
