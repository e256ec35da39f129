//! Files that a machine has many of: a pattern with braces, and what stands in their place.
//!
//! A component with braces stands for every name that fits: `cpu{cpu}` for `cpu0`, `cpu1`; `{nic}` for any plain name.
//! The names of a file's components with braces, joined by slashes, are its identity: of
//! `/sys/devices/system/cpu/cpu{cpu}/cpuidle/state{state}/disable` that is "cpu0/state1".

use host::{Error, Root, if_present};
use units::limits::KNOB_FILES_MAX;

/// The identities of the files of this pattern that are there, in the order of their numbers.
pub(crate) fn find(root: &Root, pattern: &str) -> Result<Vec<String>, Error> {
    let mut found: Vec<(String, String)> = vec![(String::new(), String::new())];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        if !component.contains('{') {
            found.iter_mut().for_each(|(path, _)| *path = format!("{path}/{component}"));
            continue;
        }
        let mut next = Vec::new();
        for (path, identity) in found {
            let mut names = if_present(root.list(&path))?.unwrap_or_default();
            names.retain(|name| fits(component, name));
            names.sort_by_cached_key(|name| by_number(name));
            let longer = |name: String| match identity.as_str() {
                "" => (format!("{path}/{name}"), name),
                _ => (format!("{path}/{name}"), format!("{identity}/{name}")),
            };
            next.extend(names.into_iter().map(longer));
            next.truncate(KNOB_FILES_MAX);
        }
        found = next;
    }
    found.retain(|(path, _)| root.exists(path));
    Ok(found.into_iter().map(|(_, identity)| identity).collect())
}

/// The file of this identity; `None` where it does not fit the pattern.
pub(crate) fn path(pattern: &str, identity: &str) -> Option<String> {
    let mut names = identity.split('/').filter(|name| !name.is_empty());
    let mut path = String::new();
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        path.push('/');
        path.push_str(match component.contains('{') {
            true => names.next().filter(|name| fits(component, name))?,
            false => component,
        });
    }
    names.next().is_none().then_some(path)
}

/// Whether `name` can stand for the component. Names go into journals, reports and scripts: only plain characters.
fn fits(component: &str, name: &str) -> bool {
    let Some((before, rest)) = component.split_once('{') else { return false };
    let Some((_, after)) = rest.split_once('}') else { return false };
    let middle = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@:".contains(&b);
    middle.is_some_and(|middle| match before.is_empty() {
        false => !middle.is_empty() && middle.bytes().all(|b| b.is_ascii_digit()),
        true => !middle.is_empty() && !name.starts_with('.') && name.bytes().all(plain),
    })
}

/// cpu2 before cpu10.
fn by_number(name: &str) -> (String, u64, String) {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (word, number) = name.split_at(name.len() - digits);
    (word.to_owned(), number.parse().unwrap_or(0), number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_what_stands_in_the_braces_place() {
        #[track_caller]
        fn check(pattern: &str, identity: &str, expected: Option<&str>) {
            assert_eq!(path(pattern, identity).as_deref(), expected, "{identity:?}");
        }
        check("/sys/cpu{cpu}/online", "cpu3", Some("/sys/cpu3/online"));
        check("/sys/cpu{cpu}/online", "cpufreq", None);
        check("/sys/cpu{cpu}/online", "3", None);
        check("/sys/cpu{cpu}/online", "", None);
        check("/sys/cpu{cpu}/online", "cpu3/cpu4", None); // one name too many
        check("/sys/cpu{cpu}/state{state}/disable", "cpu0/state1", Some("/sys/cpu0/state1/disable"));
        check("/sys/net/{nic}/threaded", "eth0.100", Some("/sys/net/eth0.100/threaded"));
        check("/sys/net/{nic}/threaded", "..", None);
        check("/sys/net/{nic}/threaded", "a b", None);
    }

    #[test]
    fn files_are_found_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cpu0/x", "cpu10/x", "cpu2/x", "cpufreq/x", "cpu3/y", "cpux/x"] {
            let file = dir.path().join("sys").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::File::create(file).unwrap();
        }
        let root = Root::at(dir.path());
        assert_eq!(find(&root, "/sys/cpu{cpu}/x").unwrap(), ["cpu0", "cpu2", "cpu10"]);
        assert_eq!(find(&root, "/sys/{any}/y").unwrap(), ["cpu3"]);
        assert!(find(&root, "/sys/gone/cpu{cpu}/x").unwrap().is_empty());
    }
}
