//! What files will set below `/proc/sys` at the next boot, or whenever somebody has them read again.
//!
//! A later file wins, by its name and not by its directory; a file hides one of the same name in a directory further back.
//! Lines with patterns (`net.ipv4.conf.*.rp_filter`) are left out: what they name depends on the moment. Source:
//! sysctl.d(5); sysctl(8), --system.

use std::collections::BTreeMap;

use crate::{Error, Root, if_present, sysctl};

/// The directories, those first that hide others.
const DIRS: [&str; 4] = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];

/// Read after everything else.
const LAST: &str = "/etc/sysctl.conf";

/// One setting that a file makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The setting's file below `/proc/sys`.
    pub path: String,
    /// The value.
    pub value: String,
    /// The file that says so.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
}

/// Of each setting the line that wins, in the order of the settings' paths.
///
/// # Errors
/// [`Error::Read`]. A file that may not be read is left out, because anybody may plan.
pub fn lines(root: &Root) -> Result<Vec<Line>, Error> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for dir in DIRS {
        for name in if_present(root.list(dir))?.unwrap_or_default() {
            if name.ends_with(".conf") {
                files.entry(name.clone()).or_insert_with(|| format!("{dir}/{name}"));
            }
        }
    }
    let mut last: BTreeMap<String, Line> = BTreeMap::new();
    for file in files.into_values().chain([LAST.to_owned()]) {
        let text = match root.read_lossy(&file) {
            Err(error) if error.is_absent() || error.is_permission() => continue,
            text => text?,
        };
        last.extend(parse(&text, &file).map(|line| (line.path.clone(), line)));
    }
    Ok(last.into_values().collect())
}

// Format: "vm.swappiness = 10", "-net/core/x=1" (a failure is no matter), "# …" and "; …"   (sysctl.d(5))
fn parse<'t>(text: &'t str, file: &'t str) -> impl Iterator<Item = Line> + 't {
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
        let path = sysctl::path(key.trim().trim_start_matches('-')).ok()?;
        Some(Line { path, value: value.trim().to_owned(), file: file.to_owned(), line: index + 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings that these files make, each as path, value and place.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let told = |line: Line| format!("{} {} {}:{}", line.path, line.value, line.file, line.line);
        let lines: Vec<String> = lines(&Root::at(dir.path())).unwrap().into_iter().map(told).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_line_that_wins() {
        let swap = "/proc/sys/vm/swappiness";
        check(&[], &[]);
        check(
            &[("etc/sysctl.d/a.conf", "# no\n; no\n\nvm.swappiness=60\n")],
            &[&format!("{swap} 60 /etc/sysctl.d/a.conf:4")],
        );
        let later = ("usr/lib/sysctl.d/b.conf", "-vm/swappiness = 1\nnet.ipv4.tcp_rmem = 4 5\t6\n");
        check(
            &[("etc/sysctl.d/a.conf", "vm.swappiness=60"), later],
            &[
                "/proc/sys/net/ipv4/tcp_rmem 4 5\t6 /usr/lib/sysctl.d/b.conf:2",
                &format!("{swap} 1 /usr/lib/sysctl.d/b.conf:1"),
            ],
        );
        check(&[("etc/sysctl.d/b.conf", ""), later], &[]); // hidden by one of its name
        check(
            &[("etc/sysctl.conf", "vm.swappiness=5"), later],
            &[
                "/proc/sys/net/ipv4/tcp_rmem 4 5\t6 /usr/lib/sysctl.d/b.conf:2",
                &format!("{swap} 5 /etc/sysctl.conf:1"),
            ],
        );
        check(&[("etc/sysctl.d/a", "vm.swappiness=60"), ("etc/sysctl.d/c.conf", "net.*.x=1\nvm\n")], &[]);
    }
}
