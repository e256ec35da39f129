//! What is mounted where, as this process sees it.
//!
//! Only what decides whether a boot loader can write to a file: the type of its file system, the device below, and
//! whether it is mounted read-only. Source: Documentation/filesystems/proc.rst, 3.5 (mountinfo).

use crate::error::Malformed;
use crate::{Error, Root};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The directory it is mounted on.
    pub point: String,
    /// The device, as `major:minor`; a major of 0 has no block device.
    pub device: String,
    /// The file system's type.
    pub kind: String,
    /// What is mounted, as the file system calls it.
    pub source: String,
    /// Whether nothing below it can be written.
    pub is_read_only: bool,
}

/// The mount that `path` lies on; `None` where the table does not show it (a captured tree, a container).
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
pub fn of(root: &Root, path: &str) -> Result<Option<Mount>, Error> {
    let mounts = root.parse("/proc/self/mountinfo", parse)?;
    // Of two on one directory the later covers the earlier.
    Ok(mounts.into_iter().filter(|mount| holds(&mount.point, path)).max_by_key(|mount| mount.point.len()))
}

fn holds(point: &str, path: &str) -> bool {
    let below = path.strip_prefix(point.trim_end_matches('/'));
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

// Format: "26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro"
//         with any number of optional fields before the dash   (Documentation/filesystems/proc.rst, 3.5)
fn parse(text: &str) -> Result<Vec<Mount>, Malformed> {
    text.lines().map(|line| mount(line).ok_or_else(|| Malformed::new(line, EXPECTED))).collect()
}

const EXPECTED: &str = "expected \"id parent major:minor root point options ... - type source options\"";

fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(2);
    let (device, point, options) = (place.next()?, place.nth(1)?, place.next()?);
    let mut kind = kind.split(' ');
    let (kind, source) = (kind.next()?, kind.next()?);
    Some(Mount {
        point: unescape(point),
        device: device.to_owned(),
        kind: kind.to_owned(),
        source: unescape(source),
        is_read_only: options.split(',').any(|option| option == "ro"),
    })
}

/// The four characters that would break the line stand there in octal.
fn unescape(text: &str) -> String {
    let octal = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    octal.iter().fold(text.to_owned(), |text, (code, char)| text.replace(code, char))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                         23 22 0:21 / /proc rw,nosuid shared:12 master:1 - proc proc rw\n\
                         24 22 8:2 / /boot ro,relatime - xfs /dev/sda2 rw\n\
                         25 22 0:40 /@/b /mnt/a\\040b rw - btrfs /dev/sdb1 rw\n";

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let mounts = parse(TABLE).unwrap();
        let found =
            mounts.iter().filter(|mount| holds(&mount.point, path)).max_by_key(|mount| mount.point.len());
        let told = found.map(|mount| {
            let state = if mount.is_read_only { "ro" } else { "rw" };
            format!("{} {} {} {state}", mount.point, mount.kind, mount.device)
        });
        assert_eq!(told.unwrap_or_default(), expected);
    }

    #[test]
    fn the_deepest_mount_holds_a_path() {
        check("/etc/quell", "/ ext4 254:1 rw");
        check("/boot/grub", "/boot xfs 8:2 ro"); // the mount's own option, not the file system's
        check("/boots", "/ ext4 254:1 rw");
        check("/mnt/a b/c", "/mnt/a b btrfs 0:40 rw");
    }

    #[test]
    fn a_line_that_lacks_something_is_told() {
        assert!(parse("22 1 254:1 / / rw,relatime\n").is_err());
        assert!(parse("22 1 - ext4 /dev/vda1 rw\n").is_err());
    }
}
