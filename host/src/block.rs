//! What stands behind a block device: a disk, or several behind a driver that maps them.
//!
//! A boot loader reads through such mappings but does not write to them. Sources:
//! Documentation/ABI/testing/sysfs-block-dm; Documentation/admin-guide/md.rst; drivers/base/core.c (uevent).

use std::fmt;

use crate::{Error, Root, if_present, text};

/// The nature of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk or a partition of one.
    Disk,
    /// Device mapper: LVM, encryption, multipath.
    Mapped,
    /// Software RAID.
    Raid,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disk => "a disk",
            Self::Mapped => "LVM or another mapping",
            Self::Raid => "software RAID",
        })
    }
}

/// The nature of the device `major:minor`; `None` when the kernel shows no such block device.
///
/// # Errors
/// [`Error::Read`], [`Error::Path`].
// Format of uevent: "MAJOR=9\nMINOR=1\nDEVNAME=md0p1\nDEVTYPE=partition\n"   (drivers/base/core.c)
pub fn kind(root: &Root, device: &str) -> Result<Option<Kind>, Error> {
    let dir = format!("/sys/dev/block/{device}");
    let Some(event) = if_present(root.read_lossy(&format!("{dir}/uevent")))? else { return Ok(None) };
    // A partition of a RAID has no directory of its own for it, but the name.
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME=")).unwrap_or_default();
    Ok(Some(match () {
        () if root.exists(&format!("{dir}/dm")) => Kind::Mapped,
        () if root.exists(&format!("{dir}/md")) || name.starts_with("md") => Kind::Raid,
        () => Kind::Disk,
    }))
}

/// The label that device mapper gives a device (`vg0-root`), for messages.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "vg0-root\n"   (Documentation/ABI/testing/sysfs-block-dm)
pub fn mapped_name(root: &Root, device: &str) -> Result<Option<String>, Error> {
    if_present(root.parse(&format!("/sys/dev/block/{device}/dm/name"), text::line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Option<Kind>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sys")).unwrap();
        for (path, text) in files {
            let path = dir.path().join("sys/dev/block/9:1").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(kind(&Root::at(dir.path()), "9:1").unwrap(), expected);
    }

    #[test]
    fn mappings_are_told_from_disks() {
        check(&[("uevent", "DEVNAME=vda1\nDEVTYPE=partition\n")], Some(Kind::Disk));
        check(&[("uevent", "DEVNAME=dm-0\n"), ("dm/name", "vg0-root\n")], Some(Kind::Mapped));
        check(&[("uevent", "DEVNAME=md0\n"), ("md/level", "raid1\n")], Some(Kind::Raid));
        check(&[("uevent", "DEVNAME=md0p1\nDEVTYPE=partition\n")], Some(Kind::Raid));
        check(&[], None);
    }
}
