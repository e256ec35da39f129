//! The rules no compiler checks, as `file:line: what, use what`.
//!
//! Each check is one file and one pure function of the repository. What a machine cannot decide (is this
//! comment a reason? is this function one thing?) is left to readers.

mod architecture;
mod ci_script;
mod dead_rows;
mod form;
mod leaks;
mod leftovers;
mod levels;
mod manifests;
mod names;
mod needs;
mod specification;
mod unsafe_homes;

use anyhow::bail;

use crate::finding::Finding;
use crate::repo::{self, Repo};

/// Every check.
const CHECKS: &[fn(&Repo) -> Vec<Finding>] = &[
    levels::check,
    manifests::check,
    names::check,
    form::check,
    leftovers::check,
    unsafe_homes::check,
    architecture::check,
    specification::check,
    dead_rows::check,
    needs::check,
    ci_script::check,
    leaks::check,
];

/// Prints the findings; any is a failure.
pub fn run() -> anyhow::Result<()> {
    let repo = Repo::load(&repo::root())?;
    let findings = findings(&repo);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} checks over {} files, nothing found", CHECKS.len(), repo.texts().count());
            Ok(())
        }
        found => bail!("tidy: {found} findings"),
    }
}

fn findings(repo: &Repo) -> Vec<Finding> {
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(repo)).collect();
    findings.sort();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_by_place() {
        let repo = Repo::of([("b.rs", "\t//! B.\n"), ("a.rs", "fn a() {} \n")]);
        let found = findings(&repo);
        let places: Vec<(&str, usize)> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(places.contains(&("a.rs", 1)) && places.contains(&("b.rs", 1)));
    }
}
