//! TuneD, which sets what its active profile says and again whenever it starts.
//!
//! What it sets is in profiles that include one another and compute values; here is only whether it runs, which profile is
//! active, and which settings its profile's files name. Source: tuned.conf(5); `/etc/tuned/active_profile`.

use crate::Root;
use crate::conf_files;
use crate::tasks::{self, Pid};

/// TuneD as it is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuned {
    /// Its process; `None` while it does not run.
    pub pid: Option<Pid>,
    /// The active profile; several are layered.
    pub profile: Option<String>,
    /// What the profiles set, included ones first.
    pub settings: Vec<Setting>,
}

/// A line of a profile that sets a kernel setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The file it stands in.
    pub file: String,
    /// Its line there.
    pub line: usize,
    /// The file that is written, below `/proc/sys` or `/sys`.
    pub path: String,
    /// What is written; perhaps something that TuneD computes.
    pub value: String,
}

/// Profiles that are read at most, included ones among them.
const PROFILES_MAX: usize = 32;

impl Tuned {
    /// What is there; `None` where neither a process nor an active profile is.
    #[must_use]
    pub fn read(root: &Root) -> Option<Self> {
        let profile = conf_files::text(root, "/etc/tuned/active_profile").map(|text| text.trim().to_owned());
        let profile = profile.filter(|profile| !profile.is_empty());
        let pid = tasks::named(root, "tuned").ok().flatten();
        if pid.is_none() && profile.is_none() {
            return None;
        }
        let mut settings = Vec::new();
        let mut left = PROFILES_MAX;
        for name in profile.iter().flat_map(|names| names.split_ascii_whitespace()) {
            add(root, name, &mut left, &mut settings);
        }
        Some(Self { pid, profile, settings })
    }

    /// The line that is the last to set `path`.
    #[must_use]
    pub fn deciding(&self, path: &str) -> Option<&Setting> {
        self.settings.iter().rfind(|setting| setting.path == path)
    }
}

/// Adds what the profile and those it includes set.
fn add(root: &Root, name: &str, left: &mut usize, settings: &mut Vec<Setting>) {
    if *left == 0 || name.contains(['/', '\0']) || name.starts_with('.') {
        return;
    }
    *left -= 1;
    let places = ["/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned"];
    let files = places.map(|place| format!("{place}/{name}/tuned.conf"));
    let found = files.into_iter().find_map(|file| conf_files::text(root, &file).map(|text| (file, text)));
    let Some((file, text)) = found else { return };
    let (included, own) = parse(&file, &text);
    included.iter().for_each(|name| add(root, name, left, settings));
    settings.extend(own);
}

/// The profiles that a profile includes, and what it sets itself.
// Format: "[main]\ninclude=latency-performance\n[sysctl]\nvm.swappiness=10\n[vm]\ntransparent_hugepages=never\n"
// (tuned.conf(5))
fn parse(file: &str, text: &str) -> (Vec<String>, Vec<Setting>) {
    let (mut included, mut settings, mut section) = (Vec::new(), Vec::new(), String::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.to_owned();
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        let path = match (section.as_str(), key) {
            ("main", "include") => {
                included.extend(value.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned));
                continue;
            }
            ("sysctl", name) => format!("/proc/sys/{}", crate::sysctl_d::with_slashes(name)),
            ("sysfs", path) => path.to_owned(),
            ("vm", "transparent_hugepages" | "transparent_hugepage") => {
                "/sys/kernel/mm/transparent_hugepage/enabled".to_owned()
            }
            _ => continue,
        };
        settings.push(Setting { file: file.to_owned(), line: index + 1, path, value: value.to_owned() });
    }
    (included, settings)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_active_profile_and_what_it_includes() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let root = Root::at(dir.path());
        assert_eq!(Tuned::read(&root), None);
        put("etc/tuned/active_profile", "mine\n");
        put(
            "etc/tuned/mine/tuned.conf",
            "[main]\ninclude=base\n\n[sysctl]\nvm.swappiness = 7\n# vm.dirty_ratio=1\n",
        );
        let base = "[main]\ninclude=mine\n[sysctl]\nvm.swappiness=60\nvm.dirty_ratio=5\n[vm]\ntransparent_hugepages=never\n";
        put("usr/lib/tuned/base/tuned.conf", base); // a circle ends
        let tuned = Tuned::read(&root).unwrap();
        let told =
            |path: &str| tuned.deciding(path).map(|one| format!("{}:{} {}", one.file, one.line, one.value));
        assert_eq!((tuned.pid, tuned.profile.as_deref()), (None, Some("mine")));
        assert_eq!(told("/proc/sys/vm/swappiness").as_deref(), Some("/etc/tuned/mine/tuned.conf:5 7"));
        assert_eq!(told("/proc/sys/vm/dirty_ratio").as_deref(), Some("/usr/lib/tuned/base/tuned.conf:5 5"));
        assert_eq!(
            told("/sys/kernel/mm/transparent_hugepage/enabled").as_deref(),
            Some("/usr/lib/tuned/base/tuned.conf:7 never")
        );
        assert_eq!(told("/proc/sys/vm/stat_interval"), None);
    }
}
