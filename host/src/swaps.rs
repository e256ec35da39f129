//! The areas that the kernel swaps to.
//!
//! `/proc/swaps` lists them; two calls switch one on and off. Switching one off reads everything that was swapped to
//! it back into memory, and lasts as long as that takes. What `/etc/fstab` says of an area beside its priority
//! (`discard`) the kernel does not show, so it does not come back by these calls. Sources: proc(5), swapon(2);
//! mm/swapfile.c.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Root};

/// The list.
pub const SWAPS: &str = "/proc/swaps";

/// One area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// The device or file.
    pub path: String,
    /// How it is in use.
    pub state: State,
    /// What is swapped out to it.
    pub used_kib: u64,
}

/// How an area is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// A file in a file system, not a device.
    pub is_file: bool,
    /// How much it can hold.
    pub size_kib: u64,
    /// The higher, the earlier it is used; below zero the kernel chose it.
    pub priority: i32,
}

// Format: "partition, 1048572 KiB, priority -2"
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_file { "file" } else { "partition" };
        write!(f, "{kind}, {} KiB, priority {}", self.size_kib, self.priority)
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (kind, rest) = text.split_once(", ")?;
            let (size, priority) = rest.split_once(" KiB, priority ")?;
            let is_file = match kind {
                "file" => true,
                "partition" => false,
                _ => return None,
            };
            Some(Self { is_file, size_kib: size.parse().ok()?, priority: priority.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} does not say how an area is swapped to"))
    }
}

/// Whether an area of this name can be named to the kernel again: an absolute path of plain characters, not one that the
/// kernel had to rewrite, nor a file that was deleted meanwhile.
#[must_use]
pub fn is_plain(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\\"'`".contains(&b);
    path.starts_with('/') && !path.split('/').any(|part| part == "..") && path.bytes().all(plain)
}

/// Every area, in the order of the list.
///
/// # Errors
/// [`Error::Absent`] on a kernel that cannot swap; [`Error::Read`]; [`Error::Format`].
pub fn areas(root: &Root) -> Result<Vec<Area>, Error> {
    let text = root.read_lossy(SWAPS)?;
    let wrong = |line: &str| Error::Format {
        path: root.display(SWAPS),
        line: line.to_owned(),
        problem: "not a name, a type, a size, a use and a priority".to_owned(),
    };
    text.lines().skip(1).map(|line| parse(line).ok_or_else(|| wrong(line))).collect()
}

// Format: "Filename Type Size Used Priority", then "/dev/vda2 partition 1048572 0 -2"   (mm/swapfile.c, swap_show)
fn parse(line: &str) -> Option<Area> {
    let mut words = line.split_ascii_whitespace().rev();
    let priority = words.next()?.parse().ok()?;
    let used_kib = words.next()?.parse().ok()?;
    let size_kib = words.next()?.parse().ok()?;
    let is_file = match words.next()? {
        "file" => true,
        "partition" => false,
        _ => return None,
    };
    let path = words.next()?.to_owned(); // blanks in a name are shown as \040
    Some(Area { path, state: State { is_file, size_kib, priority }, used_kib })
}

/// A line of the list, as the kernel writes it.
#[must_use]
pub fn line(area: &Area) -> String {
    let kind = if area.state.is_file { "file\t" } else { "partition" };
    let (size, used) = (area.state.size_kib, area.used_kib);
    let tab = |number: u64| if number < 10_000_000 { "\t" } else { "" };
    let blanks = " ".repeat(if area.path.len() < 40 { 40 - area.path.len() } else { 1 });
    format!(
        "{}{blanks}{kind}\t{size}\t{}{used}\t{}{}\n",
        area.path,
        tab(size),
        tab(used),
        area.state.priority
    )
}

/// Reads back what is swapped to the area, and swaps to it no more. May take minutes.
///
/// # Errors
/// [`Error::Write`]: EPERM without CAP_SYS_ADMIN, ENOMEM when what is swapped out does not fit into memory, EINVAL
/// when it is not in use.
pub fn switch_off(root: &Root, path: &str) -> Result<(), Error> {
    root.count_write();
    call(root, path, |name| {
        // SAFETY: `name` is a string that ends in a zero and lives until the call returns; the kernel only reads it.
        #[expect(unsafe_code, reason = "nix 0.31 does not wrap swapoff")]
        let result = unsafe { libc::swapoff(name.as_ptr()) };
        result
    })
    .map_err(|cause| refused(path, "off", cause))
}

/// Swaps to the area again; below zero the kernel chooses the priority.
///
/// # Errors
/// [`Error::Write`]: EPERM without CAP_SYS_ADMIN, EINVAL when there is no area there, ENOENT, EBUSY when it is in use.
pub fn switch_on(root: &Root, path: &str, priority: i32) -> Result<(), Error> {
    let flags = if priority < 0 { 0 } else { SWAP_FLAG_PREFER | (priority & SWAP_FLAG_PRIO_MASK) };
    root.count_write();
    call(root, path, |name| {
        // SAFETY: as in `switch_off`.
        #[expect(unsafe_code, reason = "nix 0.31 does not wrap swapon")]
        let result = unsafe { libc::swapon(name.as_ptr(), flags) };
        result
    })
    .map_err(|cause| refused(path, "on", cause))
}

fn refused(path: &str, value: &str, cause: std::io::Error) -> Error {
    Error::Write { path: format!("swap area {path}"), value: value.to_owned(), cause }
}

/// Of swapon(2); the libc crate leaves them out.
const SWAP_FLAG_PREFER: i32 = 0x8000;
const SWAP_FLAG_PRIO_MASK: i32 = 0x7fff;

fn call(root: &Root, path: &str, make: impl FnOnce(&std::ffi::CStr) -> i32) -> std::io::Result<()> {
    // The call would reach an area of the running machine.
    if !root.is_system() || !is_plain(path) {
        return Err(std::io::Error::from_raw_os_error(libc::EINVAL));
    }
    let name = std::ffi::CString::new(path).map_err(std::io::Error::from)?;
    nix::errno::Errno::result(make(&name)).map(drop).map_err(std::io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn areas_are_read_and_written_as_the_kernel_shows_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        let root = Root::at(dir.path());
        assert!(areas(&root).unwrap_err().is_absent());
        let put = |text: &str| std::fs::write(dir.path().join("proc/swaps"), text).unwrap();
        put(HEAD);
        assert_eq!(areas(&root).unwrap(), []);
        // Captured with a swap partition and a file of 10 GiB.
        let lines = "/dev/vda2                               partition\t1048572\t\t512\t\t-2\n\
                     /var/a\\040b                             file\t\t10485756\t0\t\t5\n";
        put(&format!("{HEAD}{lines}"));
        let found = areas(&root).unwrap();
        assert_eq!(found.iter().map(line).collect::<String>(), lines);
        assert_eq!(found[0].state.to_string(), "partition, 1048572 KiB, priority -2");
        assert_eq!(found[1].state.to_string().parse(), Ok(found[1].state));
        assert!("partition, x KiB, priority -2".parse::<State>().is_err());
        assert_eq!([is_plain(&found[0].path), is_plain(&found[1].path)], [true, false]);
        put(&format!("{HEAD}garbage\n"));
        assert!(areas(&root).unwrap_err().to_string().contains("garbage"));
    }

    #[test]
    fn no_call_is_made_for_a_captured_tree_or_for_a_name_that_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let captured = switch_off(&Root::at(dir.path()), "/dev/vda2").unwrap_err();
        assert_eq!(captured.errno(), Some(libc::EINVAL), "{captured}");
        for path in ["dev/vda2", "/a b", "/a/../b", "/a\\040b"] {
            assert!(!is_plain(path), "{path}");
            assert_eq!(
                switch_on(&Root::system(), path, 1).unwrap_err().errno(),
                Some(libc::EINVAL),
                "{path}"
            );
        }
    }
}
