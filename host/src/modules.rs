//! The kernel modules that are loaded. Source: Documentation/filesystems/proc.rst, 1.2 (modules).

use std::collections::BTreeSet;

use crate::{Error, Root, if_present};

/// Their names; none on a kernel without modules. What is built in is not among them.
///
/// # Errors
/// [`Error::Read`].
// Format: "sfc_char 135168 1 onload, Live 0x0000000000000000 (OE)"   (kernel/module/procfs.c)
pub fn loaded(root: &Root) -> Result<BTreeSet<String>, Error> {
    let text = if_present(root.read_lossy("/proc/modules"))?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(loaded(&Root::at(dir.path())).unwrap().is_empty());
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        let text = "sfc_char 135168 1 onload, Live 0x0000000000000000 (OE)\nnvme 49152 2 - Live 0x0000000000000000\n";
        std::fs::write(dir.path().join("proc/modules"), text).unwrap();
        let names = loaded(&Root::at(dir.path())).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["nvme", "sfc_char"]);
    }
}
