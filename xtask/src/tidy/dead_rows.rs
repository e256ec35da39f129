//! Rows of tables that nothing reaches: limits nobody keeps, exit codes nobody returns, knobs nobody tests.

use crate::finding::Finding;
use crate::repo::Repo;
use crate::rust::has_word;

const LIMITS: &str = "units/src/limits.rs";
const EXITS: &str = "report/src/exit.rs";
/// Where knobs declare themselves, each with `id: "group.name"`.
const KNOBS: &str = "sys-tuning/src/";

/// Everything below.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let mut findings = limits(repo);
    findings.extend(exits(repo));
    findings.extend(knobs(repo));
    findings
}

/// A limit counts as kept where shipped code outside the table names it.
fn limits(repo: &Repo) -> Vec<Finding> {
    let constant = |line: &str| Some(line.strip_prefix("pub const ")?.split_once(':')?.0.to_owned());
    let dead = rows(repo, LIMITS, constant).into_iter().filter(|(_, name)| !ships(repo, LIMITS, name));
    dead.map(|(line, name)| {
        Finding::new(LIMITS, line, format!("nothing keeps to {name}"), "keep to it, or remove the row")
    })
    .collect()
}

/// A code counts as returned where shipped code outside the enum says `Exit::Variant`.
fn exits(repo: &Repo) -> Vec<Finding> {
    let variant = |line: &str| {
        let name = line.strip_prefix("    ")?.split_once(" = ")?.0;
        name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| name.to_owned())
    };
    let dead = rows(repo, EXITS, variant)
        .into_iter()
        .filter(|(_, name)| !ships(repo, EXITS, &format!("Exit::{name}")));
    dead.map(|(line, name)| {
        Finding::new(EXITS, line, format!("nothing exits as {name}"), "return it, or remove the row")
    })
    .collect()
}

/// A knob counts as tested where a test names its id.
fn knobs(repo: &Repo) -> Vec<Finding> {
    let id = |line: &str| Some(line.trim().strip_prefix("id: \"")?.split_once('"')?.0.to_owned());
    // In Rust between double quotes, in the TOML of a profile between single ones.
    let named =
        |text: &str, id: &str| ['"', '\''].iter().any(|quote| text.contains(&format!("{quote}{id}{quote}")));
    let tested = |id: &str| repo.rust().iter().any(|file| named(file.test_text(), id));
    let tables = repo.rust().iter().filter(|file| file.path.starts_with(KNOBS));
    let rows =
        tables.flat_map(|file| rows(repo, &file.path, id).into_iter().map(|row| (file.path.as_str(), row)));
    rows.filter(|(_, (_, id))| !tested(id))
        .map(|(path, (line, id))| {
            Finding::new(path, line, format!("no test names the knob {id}"), "add its row to a test")
        })
        .collect()
}

/// The named rows of the table at `path`, above its tests, each with its line.
fn rows(repo: &Repo, path: &str, name: impl Fn(&str) -> Option<String>) -> Vec<(usize, String)> {
    let Some(file) = repo.rust().iter().find(|file| file.path == path) else { return Vec::new() };
    let table = &file.text[..file.shipped().len()];
    table.lines().enumerate().filter_map(|(index, line)| Some((index + 1, name(line)?))).collect()
}

fn ships(repo: &Repo, table: &str, name: &str) -> bool {
    repo.rust().iter().any(|file| file.path != table && has_word(file.shipped(), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn limits_are_kept_by_code_that_ships() {
        let table =
            "/// Why.\npub const A_MAX: u8 = 1;\npub const B_MAX: u8 = 2;\npub const C_MAX: u8 = 3;\n";
        let user = "use limits::A_MAX;\n// B_MAX is only spoken of\n\
            #[cfg(test)]\nmod tests {\n    use limits::C_MAX;\n}\n";
        assert_eq!(
            lines(&check(&Repo::of([(LIMITS, table), ("agent/src/a.rs", user)]))),
            [
                "units/src/limits.rs:3: nothing keeps to B_MAX, keep to it, or remove the row",
                "units/src/limits.rs:4: nothing keeps to C_MAX, keep to it, or remove the row",
            ]
        );
    }

    #[test]
    fn exit_codes_are_returned() {
        let table = "pub enum Exit {\n    /// Yes.\n    Yes = 0,\n    /// No.\n    No = 3,\n}\n\
            fn f(e: Exit) { Exit::No; }\n";
        let user = "fn a() -> Exit { Exit::Yes }\nfn b() -> Exit { Exit::Nowhere }\n";
        assert_eq!(
            lines(&check(&Repo::of([(EXITS, table), ("quell/src/main.rs", user)]))),
            ["report/src/exit.rs:5: nothing exits as No, return it, or remove the row"]
        );
    }

    #[test]
    fn knobs_are_tested() {
        let table = "Knob {\n    id: \"vm.swap\",\n}\nKnob {\n    id: \"vm.dirty\",\n}\n";
        let test = "#[test]\nfn swap() { plan(\"vm.swap\"); }\n";
        let repo = Repo::of([("sys-tuning/src/knobs/vm.rs", table), ("sys-tuning/tests/rows.rs", test)]);
        assert_eq!(
            lines(&check(&repo)),
            ["sys-tuning/src/knobs/vm.rs:5: no test names the knob vm.dirty, add its row to a test"]
        );
    }
}
