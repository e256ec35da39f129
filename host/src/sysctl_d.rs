//! `sysctl.d`: which line sets a kernel setting at boot.
//!
//! As systemd-sysctl decides it. A later assignment of the same name replaces an earlier one. A name may be a pattern for
//! the files below `/proc/sys`; it loses against any line that names the setting itself, wherever that stands, and
//! `-name` without a value is such a line: it keeps patterns off. A pattern of its own, written later, wins over an earlier
//! one. Source: sysctl.d(5); systemd's `sysctl.c`.

use glob::{MatchOptions, Pattern};

use crate::conf_files::{self, ConfFile};
use crate::{Root, sysctl};

/// Where it is read from.
const KIND: &str = "sysctl.d";

/// As for paths: a star matches no slash.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A line that sets something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The file it stands in.
    pub file: String,
    /// Its line there.
    pub line: usize,
    /// The setting with slashes, as in `vm/swappiness`; perhaps a pattern.
    pub name: String,
    /// What is set; `None` where patterns are only kept off.
    pub value: Option<String>,
}

impl Assignment {
    fn is_pattern(&self) -> bool {
        self.name.contains(['*', '?', '['])
    }

    fn matches(&self, name: &str) -> bool {
        Pattern::new(&self.name).is_ok_and(|pattern| pattern.matches_with(name, MATCH))
    }
}

/// Everything that is set at boot, in the order in which it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignments {
    list: Vec<Assignment>,
}

impl Assignments {
    /// What this machine sets.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        Self::of(&conf_files::read(root, KIND, ".conf"))
    }

    /// What these files set, read in this order.
    #[must_use]
    pub fn of(files: &[ConfFile]) -> Self {
        let mut list: Vec<Assignment> = Vec::new();
        for file in files {
            for (index, line) in file.text.lines().enumerate() {
                let Some((name, value)) = parse(line) else { continue };
                let earlier = list.iter().position(|known| known.name == name);
                if let Some(earlier) = earlier {
                    if list[earlier].value == value {
                        continue; // said twice: the first stands
                    }
                    list.remove(earlier);
                }
                list.push(Assignment { file: file.path.clone(), line: index + 1, name, value });
            }
        }
        Self { list }
    }

    /// In the order in which they are set.
    pub fn iter(&self) -> impl Iterator<Item = &Assignment> {
        self.list.iter()
    }

    /// The line that decides what the file `path` below `/proc/sys` is set to at boot.
    #[must_use]
    pub fn deciding(&self, path: &str) -> Option<&Assignment> {
        let name = path.strip_prefix("/proc/sys/")?;
        match self.list.iter().find(|one| !one.is_pattern() && one.name == name) {
            Some(own) => own.value.is_some().then_some(own),
            None => {
                self.list.iter().rfind(|one| one.value.is_some() && one.is_pattern() && one.matches(name))
            }
        }
    }
}

/// A line's name and value; `None` for what sets nothing.
// Format: "vm.swappiness = 10", "-net.ipv4.conf.*.rp_filter = 1", "-net.ipv4.conf.all.rp_filter", "# a word"   (sysctl.d(5))
fn parse(line: &str) -> Option<(String, Option<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name.strip_prefix('-').unwrap_or(name), Some(value.trim().to_owned())),
        None => (line.strip_prefix('-')?, None),
    };
    Some((with_slashes(name.trim()), value))
}

/// The name as a path below `/proc/sys`: where its first separator is a dot, dots and slashes change places.
#[must_use]
pub fn with_slashes(name: &str) -> String {
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'.') => name.chars().map(swapped).collect(),
        _ => name.trim_start_matches('/').to_owned(),
    }
}

/// What the kernel itself was told to set when it booted, the last that is about the file `path`.
// Format: "quiet sysctl.vm.swappiness=10 ..."   (Documentation/admin-guide/kernel-parameters.txt, "sysctl.*=")
#[must_use]
pub fn on_command_line(line: &str, path: &str) -> Option<String> {
    let words = line.split_ascii_whitespace().take_while(|word| *word != "--");
    let named = words.filter_map(|word| word.strip_prefix("sysctl.").or(word.strip_prefix("sysctl/")));
    let is_it = |name: &str| sysctl::path(name).is_ok_and(|named| named == path);
    let settings = named.filter_map(|word| word.split_once('=')).filter(|(name, _)| is_it(name));
    settings.last().map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line that decides about `/proc/sys/NAME` as `file:line value`.
    #[track_caller]
    fn check(files: &[&str], name: &str, expected: Option<&str>) {
        let file =
            |(index, text): (usize, &&str)| ConfFile { path: index.to_string(), text: (*text).to_owned() };
        let files: Vec<ConfFile> = files.iter().enumerate().map(file).collect();
        let assignments = Assignments::of(&files);
        let deciding = assignments.deciding(&format!("/proc/sys/{name}"));
        let told = deciding
            .map(|one| format!("{}:{} {}", one.file, one.line, one.value.clone().unwrap_or_default()));
        assert_eq!(told.as_deref(), expected);
    }

    #[test]
    fn the_last_line_decides() {
        check(&["# vm.swappiness = 1\n\nvm.swappiness = 10\n"], "vm/swappiness", Some("0:3 10"));
        check(&["vm.swappiness=10", "vm/swappiness = 20"], "vm/swappiness", Some("1:1 20"));
        check(&["vm.swappiness=10", "vm.swappiness=10"], "vm/swappiness", Some("0:1 10"));
        check(&["-vm.swappiness = 10"], "vm/swappiness", Some("0:1 10")); // a failure would not matter
        check(&["vm.swappiness 10"], "vm/swappiness", None); // no assignment
        check(&["; vm.swappiness = 10", ""], "vm/swappiness", None);
        check(&["net.ipv4.conf.eth0/1.rp_filter = 2"], "net/ipv4/conf/eth0.1/rp_filter", Some("0:1 2"));
        check(&["net/ipv4/conf/eth0.1/rp_filter = 2"], "net/ipv4/conf/eth0.1/rp_filter", Some("0:1 2"));
        check(&["/vm/swappiness = 3"], "vm/swappiness", Some("0:1 3"));
    }

    #[test]
    fn a_name_wins_over_a_pattern() {
        let all = "net.ipv4.conf.*.rp_filter = 2";
        let filter = "net/ipv4/conf/eth0/rp_filter";
        check(&[all], filter, Some("0:1 2"));
        check(&["net.ipv4.conf.eth0.rp_filter = 1", all], filter, Some("0:1 1"));
        check(&[all, "-net.ipv4.conf.eth0.rp_filter"], filter, None); // kept off
        check(&[all, "net.ipv4.conf.*.rp_filter = 0"], filter, Some("1:1 0"));
        check(&[all, "net.ipv4.conf.eth[0-9].rp_filter = 0"], filter, Some("1:1 0"));
        check(&[all], "net/ipv4/conf/a/b/rp_filter", None); // a star ends at a slash
    }

    #[test]
    fn the_command_line_sets_too() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(on_command_line(line, "/proc/sys/vm/swappiness").as_deref(), expected, "{line}");
        };
        check("quiet sysctl.vm.swappiness=10 ro", Some("10"));
        check("sysctl.vm.swappiness=10 sysctl/vm/swappiness=20", Some("20"));
        check("vm.swappiness=10 sysctl.vm.dirty_ratio=3", None);
        check("quiet -- sysctl.vm.swappiness=10", None); // that is for init
    }
}
