//! Huge pages held in the kernel's pools, for the machine and for each memory node.
//!
//! The write to `nr_hugepages` succeeds even when the kernel found fewer pages, and one write that asks too much can
//! take the machine down; callers budget first, and read back. A write to a node changes the machine's count and the
//! reverse. Sources: Documentation/admin-guide/mm/hugetlbpage.rst; Documentation/ABI/testing/sysfs-kernel-mm-hugepages.

use std::fmt;
use std::str::FromStr;

use crate::numa::NodeId;
use crate::{Error, Root, if_present, text};

const DIR: &str = "/sys/kernel/mm/hugepages";

/// The size of one huge page; written `2M` or `1G`, as in profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize {
    kib: u64,
}

impl PageSize {
    /// Two mebibytes.
    pub const M2: Self = Self { kib: 2 << 10 };
    /// One gibibyte.
    pub const G1: Self = Self { kib: 1 << 20 };

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.kib * 1024
    }

    fn from_kib(digits: &str, kib_per_unit: u64) -> Option<Self> {
        let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let kib = digits?.parse::<u64>().ok()?.checked_mul(kib_per_unit)?;
        (kib.is_power_of_two() && kib <= KIB_MAX).then_some(Self { kib })
    }

    /// From a directory name in sysfs.
    // Format: "hugepages-2048kB"   (Documentation/admin-guide/mm/hugetlbpage.rst)
    fn from_dir_name(name: &str) -> Option<Self> {
        Self::from_kib(name.strip_prefix("hugepages-")?.strip_suffix("kB")?, 1)
    }
}

/// 16 GiB, the largest huge page of any architecture Linux runs on.
const KIB_MAX: u64 = 16 << 20;

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.kib {
            kib if kib.is_multiple_of(1 << 20) => format!("{}G", kib >> 20),
            kib if kib.is_multiple_of(1 << 10) => format!("{}M", kib >> 10),
            kib => format!("{kib}K"),
        })
    }
}

impl FromStr for PageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("K", 1), ("M", 1 << 10), ("G", 1 << 20)];
        units
            .iter()
            .find_map(|(unit, kib)| Self::from_kib(text.strip_suffix(unit)?, *kib))
            .ok_or_else(|| format!("{text:?} is no huge page size, as in 2M or 1G"))
    }
}

/// One pool of huge pages, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Persistent pages, used or not.
    pub nr: u64,
    /// Of these, in nobody's mapping; pages promised to a mapping and not yet touched are among them.
    pub free: u64,
    /// Pages beyond `nr` that go away when they are freed; shrinking below what is in use makes them.
    pub surplus: u64,
    /// Promised to mappings and not yet touched; the kernel counts them for the machine only.
    pub reserved: Option<u64>,
}

/// The sizes this kernel has pools for, smallest first; empty where it has no huge pages.
///
/// # Errors
/// [`Error::Read`].
pub fn sizes(root: &Root) -> Result<Vec<PageSize>, Error> {
    let names = if_present(root.list(DIR))?.unwrap_or_default();
    let mut sizes: Vec<PageSize> = names.iter().filter_map(|name| PageSize::from_dir_name(name)).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

/// The pool of `size` pages: of one node, or of the whole machine.
///
/// # Errors
/// [`Error::Absent`] where there is no such pool, [`Error::Read`], [`Error::Format`].
pub fn pool(root: &Root, node: Option<NodeId>, size: PageSize) -> Result<Pool, Error> {
    let count = |name: &str| root.parse(&format!("{}/{name}", dir(node, size)), text::number);
    Ok(Pool {
        nr: count("nr_hugepages")?,
        free: count("free_hugepages")?,
        surplus: count("surplus_hugepages")?,
        reserved: if_present(count("resv_hugepages"))?,
    })
}

/// The attribute that sets the number of persistent pages of a pool.
#[must_use]
pub fn nr_path(node: Option<NodeId>, size: PageSize) -> String {
    format!("{}/nr_hugepages", dir(node, size))
}

fn dir(node: Option<NodeId>, size: PageSize) -> String {
    let parent = node.map_or_else(|| DIR.to_owned(), |node| format!("{}/hugepages", node.dir()));
    format!("{parent}/hugepages-{}kB", size.kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, bytes: Option<u64>) {
        let size = text.parse::<PageSize>();
        assert_eq!(size.as_ref().ok().map(|size| size.bytes()), bytes, "{text:?}");
        assert!(size.is_err() || size == Ok(size.clone().unwrap().to_string().parse().unwrap()));
    }

    #[test]
    fn sizes_of_pages() {
        check("2M", Some(2 << 20));
        check("1G", Some(1 << 30));
        check("64K", Some(64 << 10));
        check("3M", None); // no power of two
        check("0M", None);
        check("2", None);
        check("2m", None);
        check("-2M", None);
        check("99999999999999999999G", None);
        check("18014398509481984G", None); // wraps when multiplied
    }

    #[test]
    fn a_pool_has_one_place() {
        assert_eq!(nr_path(None, PageSize::G1), "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages");
        assert_eq!(
            nr_path(Some(NodeId(1)), PageSize::M2),
            "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
        );
    }
}
