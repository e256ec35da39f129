//! udev rules: which line writes an attribute of a device when it comes.
//!
//! `ATTR{attribute}="value"` writes a file of the device that the rule's matches are about, `SYSCTL{name}="value"` one
//! below `/proc/sys`. Whether the matches hold for a device cannot be told without asking udev, so what is found is who
//! *may* have written: a line that assigns an attribute of this name. Files are read in the order of their names as
//! systemd-udevd does, a later line is said to decide. Source: udev(7).

use crate::Root;
use crate::conf_files::{self, ConfFile};
use crate::sysctl_d::with_slashes;

/// Where it is read from; `/lib` and `/usr/lib` hold the distribution's.
const KIND: &str = "udev/rules.d";

/// A line that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The file it stands in.
    pub file: String,
    /// The line in which it begins.
    pub line: usize,
    /// What it writes to, as the end of a path: `/queue/scheduler`, `/proc/sys/vm/swappiness`.
    pub path_end: String,
    /// What it writes.
    pub value: String,
    /// The subsystem that it is about, where it says so.
    pub subsystem: Option<String>,
}

/// The rules of this machine that write.
#[must_use]
pub fn read(root: &Root) -> Vec<Rule> {
    of(&conf_files::read(root, KIND, ".rules"))
}

/// The rules of these files that write, in the order in which they do.
#[must_use]
pub fn of(files: &[ConfFile]) -> Vec<Rule> {
    files
        .iter()
        .flat_map(|file| whole_lines(&file.text).flat_map(|(line, text)| rules(file, line, &text)))
        .collect()
}

/// The rule that is the last to write something at the end of `path`, on a device of its subsystem.
#[must_use]
pub fn deciding<'a>(rules: &'a [Rule], path: &str) -> Option<&'a Rule> {
    let of_subsystem = |rule: &&Rule| {
        let of_device = |name: &str| path.split('/').any(|part| part == name);
        match path.starts_with("/proc/") {
            true => rule.path_end == path,
            false => rule.subsystem.as_deref().is_none_or(of_device),
        }
    };
    rules.iter().rfind(|rule| path.ends_with(&rule.path_end) && of_subsystem(rule))
}

/// Lines with those joined that a backslash continues, each with the number of its first.
fn whole_lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (index, first) = lines.next()?;
        let mut whole = first.to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            match lines.next() {
                Some((_, next)) => whole.push_str(next),
                None => break,
            }
        }
        Some((index + 1, whole))
    })
}

// Format: `ACTION=="add", SUBSYSTEM=="block", KERNEL=="nvme*", ATTR{queue/scheduler}="none"`   (udev(7))
fn rules(file: &ConfFile, line: usize, text: &str) -> Vec<Rule> {
    if text.trim_start().starts_with('#') {
        return Vec::new();
    }
    let terms: Vec<(&str, &str, &str)> = text.split(',').filter_map(term).collect();
    let subsystem = terms.iter().find(|(key, operator, _)| *key == "SUBSYSTEM" && *operator == "==");
    let subsystem =
        subsystem.map(|(_, _, value)| *value).filter(|value| !value.contains(['*', '?', '[', '|']));
    let rule = |(key, operator, value): &(&str, &str, &str)| {
        let assigns = matches!(*operator, "=" | ":=");
        let path_end = match key.split_once('{')? {
            ("ATTR", rest) => format!("/{}", rest.strip_suffix('}')?),
            ("SYSCTL", rest) => format!("/proc/sys/{}", with_slashes(rest.strip_suffix('}')?)),
            _ => return None,
        };
        assigns.then(|| Rule {
            file: file.path.clone(),
            line,
            path_end,
            value: (*value).to_owned(),
            subsystem: subsystem.map(str::to_owned),
        })
    };
    terms.iter().filter_map(rule).collect()
}

/// Key, operator and value of one term.
fn term(text: &str) -> Option<(&str, &str, &str)> {
    let (head, value) = text.trim().split_once('"')?;
    let key = head.trim_end().trim_end_matches(['=', ':', '+', '-', '!']);
    let operator = head[key.len()..].trim();
    Some((key.trim(), operator, value.strip_suffix('"')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, path: &str, expected: Option<&str>) {
        let rules = of(&[ConfFile { path: "60.rules".to_owned(), text: text.to_owned() }]);
        let told = deciding(&rules, path).map(|rule| format!("{}:{} {}", rule.file, rule.line, rule.value));
        assert_eq!(told.as_deref(), expected, "{text}");
    }

    #[test]
    fn rules_that_write_are_found() {
        let scheduler = "/sys/block/nvme0n1/queue/scheduler";
        let block =
            "ACTION==\"add|change\", SUBSYSTEM==\"block\", KERNEL==\"nvme*\", ATTR{queue/scheduler}=\"none\"";
        check(block, scheduler, Some("60.rules:1 none"));
        check(&format!("# {block}"), scheduler, None);
        check("SUBSYSTEM==\"net\", ATTR{queue/scheduler}=\"none\"", scheduler, None); // of other devices
        check("ATTR{queue/scheduler}==\"none\", ENV{x}=\"1\"", scheduler, None); // asks, and writes nothing
        check("\nKERNEL==\"sd*\", \\\n  ATTR{queue/scheduler}:=\"bfq\"", scheduler, Some("60.rules:2 bfq"));
        check("SYSCTL{vm.swappiness}=\"7\"", "/proc/sys/vm/swappiness", Some("60.rules:1 7"));
        check("ATTR{swappiness}=\"7\"", "/proc/sys/vm/swappiness", None); // no device has it
    }
}
