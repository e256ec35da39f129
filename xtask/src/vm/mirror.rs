//! Where this machine has its Debian from, as its own apt says: no host name is known here.

use std::process::Command;

use anyhow::{Context, ensure};

/// The release of the guests.
pub const SUITE: &str = "bookworm";

/// The mirror this machine uses for [`SUITE`].
pub fn uri() -> anyhow::Result<String> {
    let output = apt("apt-get", &["indextargets", "Created-By: Packages", "Component: main"])?;
    uri_in(&output).with_context(|| {
        format!("apt knows no source of {SUITE} main: add one to /etc/apt/sources.list.d, the guests are made from it")
    })
}

/// How this machine reaches mirrors (a proxy, a clock that is off): what its apt sets below `Acquire`, in the form
/// of a configuration file.
pub fn acquire() -> anyhow::Result<String> {
    let dump = apt("apt-config", &["dump"])?;
    let set = dump.lines().filter(|line| line.starts_with("Acquire::") && !line.ends_with(" \"\";"));
    Ok(set.map(|line| format!("{line}\n")).collect())
}

// Format: paragraphs of "Release: bookworm" and "Repo-URI: http://mirror/debian/" (apt-get(8), indextargets). The
// security archive is one of `bookworm-security`, so the name alone tells them apart.
fn uri_in(targets: &str) -> Option<String> {
    let field = |paragraph: &str, name: &str| {
        paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    let ours =
        targets.split("\n\n").find(|part| field(part, "Release").is_some_and(|release| release == SUITE))?;
    field(ours, "Repo-URI").map(|uri| uri.trim_end_matches('/').to_owned())
}

fn apt(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output
        .with_context(|| format!("cannot run {program} (the guests are Debian's, by its own tools)"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_release() {
        let paragraph =
            |release: &str, uri: &str| format!("MetaKey: x\nRelease: {release}\nRepo-URI: {uri}\nSite: y\n");
        let targets = [
            paragraph("nodistro", "https://elsewhere/x"),
            paragraph("bookworm-security", "http://mirror/security/"),
            paragraph("bookworm", "http://mirror/debian/"),
        ];
        assert_eq!(uri_in(&targets.join("\n")).as_deref(), Some("http://mirror/debian"));
        assert_eq!(uri_in(&targets[..2].join("\n")), None);
    }
}
