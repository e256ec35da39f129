//! README.md and .ci/run name the same test command, and .ci/run leaves nothing of `cargo xtask ci` out.

use crate::finding::Finding;
use crate::repo::Repo;

/// What must be in which file, as a whole line or in back quotes.
const COMMANDS: [(&str, &str); 3] =
    [("README.md", "cargo xtask test"), (".ci/run", "cargo xtask check"), (".ci/run", "cargo xtask test")];

/// Commands that a file does not hold.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let missing =
        COMMANDS.iter().filter(|(path, command)| !repo.text(path).is_some_and(|text| holds(text, command)));
    missing
        .map(|(path, command)| {
            Finding::new(path, 1, format!("does not call `{command}`"), "use exactly that line")
        })
        .collect()
}

fn holds(text: &str, command: &str) -> bool {
    text.lines()
        .any(|line| line.trim().trim_start_matches("$ ") == command || line.contains(&format!("`{command}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn the_commands_are_there() {
        let script = "cargo xtask check\ncargo xtask test\n";
        let repo = Repo::of([("README.md", "    cargo xtask test\n"), (".ci/run", script)]);
        assert_eq!(lines(&check(&repo)), [""; 0]);
    }

    #[test]
    fn other_commands_are_found() {
        let repo = Repo::of([
            ("README.md", "cargo test\n"),
            (".ci/run", "cargo xtask check\ncargo xtask test --fast\n"),
        ]);
        assert_eq!(
            lines(&check(&repo)),
            [
                "README.md:1: does not call `cargo xtask test`, use exactly that line",
                ".ci/run:1: does not call `cargo xtask test`, use exactly that line",
            ]
        );
    }
}
