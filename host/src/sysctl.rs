//! Settings below `/proc/sys`, by the dotted names people use.
//!
//! A name is checked component by component before it becomes a path, so that it cannot climb or hide a slash. As in
//! sysctl(8), a name whose first separator is a slash may carry dots inside a component (`net/ipv4/conf/eth0.1/mtu`).
//! Source: Documentation/admin-guide/sysctl/index.rst.

use crate::{Error, Root};

/// The file of the setting `name`: `vm.dirty_ratio` is `/proc/sys/vm/dirty_ratio`.
///
/// # Errors
/// [`Error::Path`] for an empty component, one of dots, or a character no setting has.
pub fn path(name: &str) -> Result<String, Error> {
    let separator = name.chars().find(|c| matches!(c, '.' | '/')).unwrap_or('.');
    let refused = |problem| Error::Path { path: name.to_owned(), problem };
    for component in name.split(separator) {
        if component.is_empty() || component.bytes().all(|b| b == b'.') {
            return Err(refused("a component of the name is empty or only dots, not as in vm.swappiness"));
        }
        if !component.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:@".contains(&b)) {
            return Err(refused(
                "a setting's name is made of letters, digits, _ - . : and @, as in vm.swappiness",
            ));
        }
    }
    Ok(format!("/proc/sys/{}", name.replace(separator, "/")))
}

/// The value of the setting `name`, without its final newline and otherwise as the kernel writes it.
///
/// # Errors
/// [`Error::Absent`] where this kernel has no such setting, [`Error::Read`], [`Error::Path`].
// Format: "60\n", "4096\t131072\t6291456\n"   (Documentation/admin-guide/sysctl/vm.rst, net.rst)
pub fn read(root: &Root, name: &str) -> Result<String, Error> {
    let mut text = root.read(&path(name)?)?;
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text)
}

/// Whether two texts are the same value: the same words, whatever blanks stand between them. The kernel answers tabs to
/// what was written with spaces.
#[must_use]
pub fn same_value(one: &str, other: &str) -> bool {
    one.split_ascii_whitespace().eq(other.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(path(name).ok().as_deref(), expected, "{name:?}");
    }

    #[test]
    fn names_become_paths() {
        check("vm.swappiness", Some("/proc/sys/vm/swappiness"));
        check("vm/swappiness", Some("/proc/sys/vm/swappiness"));
        check("net.ipv4.tcp_rmem", Some("/proc/sys/net/ipv4/tcp_rmem"));
        check("net/ipv4/conf/eth0.1/rp_filter", Some("/proc/sys/net/ipv4/conf/eth0.1/rp_filter"));
        for bad in ["", ".", "..", "vm..swappiness", ".vm", "vm.", "/etc/passwd", "vm/../kernel/core_pattern"]
        {
            check(bad, None);
        }
        for bad in ["vm.swap/../../x", "vm.swap piness", "vm.\n", "vm.\0", "vm.ä", "vm/..", "a/./b"] {
            check(bad, None);
        }
    }

    #[test]
    fn blanks_do_not_make_a_difference() {
        assert!(same_value("4096\t131072\t6291456\n", "4096 131072  6291456"));
        assert!(!same_value("4096 131072", "4096 131072 6291456"));
        assert!(!same_value("60", "6 0"));
    }
}
