//! Which ways of the shared cache whose work may fill.
//!
//! A control group has CPUs and, for each cache, a mask of ways. Whoever is in no other group is in the root. The kernel
//! answers a mask it does not like with EINVAL and says why in `info/last_cmd_status`; what it will not like can be told
//! before: too few ways, ways that are not next to each other, ways that somebody locked or holds alone. Ways that
//! hardware beside the processor fills too are shared whatever a mask says. Source: Documentation/filesystems/resctrl.rst
//! (Documentation/arch/x86/resctrl.rst before Linux 6.16).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::str::FromStr;

use units::{CpuId, CpuSet};

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

/// Where it is mounted.
pub const DIR: &str = "/sys/fs/resctrl";

/// Ways of one cache, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ways(pub u64);

impl Ways {
    /// How many.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether they are next to each other.
    #[must_use]
    pub fn is_contiguous(self) -> bool {
        let from_lowest = self.0.checked_shr(self.0.trailing_zeros()).unwrap_or(0);
        from_lowest & from_lowest.wrapping_add(1) == 0
    }

    /// The highest `count` of them.
    #[must_use]
    pub fn highest(self, count: u32) -> Self {
        let mut left = self.0;
        while left.count_ones() > count {
            left &= left - 1; // without its lowest
        }
        Self(left)
    }

    /// Those of `self` that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn shared_with(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// As the kernel writes and takes them, without its leading zeros.
impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl FromStr for Ways {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim();
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let parsed = u64::from_str_radix(digits, 16).ok().filter(|_| plain);
        parsed.map(Self).ok_or_else(|| format!("{text:?} is no mask of cache ways, as in 7ff"))
    }
}

/// The ways of every cache of one level, by the cache's number: one line of a group's `schemata`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masks(pub BTreeMap<u32, Ways>);

/// Behind the level's name.
// Format: "0=7ff;1=7ff"   (Documentation/filesystems/resctrl.rst, "L3 schemata file details")
impl fmt::Display for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(cache, ways)| format!("{cache}={ways}")).collect();
        f.write_str(&parts.join(";"))
    }
}

impl FromStr for Masks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let (cache, ways) = part.split_once('=').ok_or_else(|| format!("{part:?} is not as in 0=7ff"))?;
            let cache = cache.trim().parse().map_err(|_| format!("{cache:?} is no number of a cache"))?;
            Ok((cache, ways.parse()?))
        };
        text.trim().split(';').map(part).collect::<Result<_, String>>().map(Self)
    }
}

/// What the kernel says of caches of level 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level3 {
    /// All ways there are.
    pub all: Ways,
    /// The fewest ways of a mask.
    pub ways_min: u32,
    /// Groups there can be, the root counted.
    pub groups_max: u32,
    /// Ways that other hardware fills too, such as devices writing into the cache.
    pub shared_with_hardware: Ways,
    /// Whether the ways of a mask may be apart; not told before Linux 6.7.
    pub may_be_apart: Option<bool>,
    /// Of each cache, ways that a group holds alone (`E`) or that are locked (`P`).
    pub taken: BTreeMap<u32, Ways>,
}

/// What can be said of a machine's caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocation {
    /// Nothing.
    None {
        /// Why, with what to do about it.
        reason: String,
    },
    /// Caches of level 3 have ways that can be given out.
    Level3(Level3),
}

/// Whether caches of level 3 can be divided here.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn allocation(root: &Root) -> Result<Allocation, Error> {
    let none = |reason: &str| Ok(Allocation::None { reason: reason.to_owned() });
    if !root.exists(DIR) {
        return none(
            "this kernel or processor does not divide its caches (no /sys/fs/resctrl; virtual machines have none)",
        );
    }
    if !root.exists(&format!("{DIR}/schemata")) {
        return none("resctrl is not mounted: mount -t resctrl resctrl /sys/fs/resctrl");
    }
    if root.exists(&format!("{DIR}/info/L3CODE")) {
        return none("resctrl is mounted with code and data apart (cdp): mount it without that option");
    }
    let level3 = if_present(level3(root))?;
    let other = "resctrl divides no cache of level 3 here (no info/L3)".to_owned();
    Ok(level3.map_or(Allocation::None { reason: other }, Allocation::Level3))
}

// Format: "fffff\n", "2\n", "16\n", "c0000\n", "0\n"   (Documentation/filesystems/resctrl.rst, "Cache resource(L3/L2)")
fn level3(root: &Root) -> Result<Level3, Error> {
    let file = |name: &str| format!("{DIR}/info/L3/{name}");
    let ways = |name: &str| root.parse(&file(name), parse_ways);
    let apart: Option<u8> = if_present(root.parse(&file("sparse_masks"), text::number))?;
    Ok(Level3 {
        all: ways("cbm_mask")?,
        ways_min: root.parse(&file("min_cbm_bits"), text::number)?,
        groups_max: root.parse(&file("num_closids"), text::number)?,
        shared_with_hardware: if_present(ways("shareable_bits"))?.unwrap_or(Ways(0)),
        may_be_apart: apart.map(|number| number != 0),
        taken: if_present(root.parse(&file("bit_usage"), parse_usage))?.unwrap_or_default(),
    })
}

fn parse_ways(text: &str) -> Result<Ways, Malformed> {
    text.parse().map_err(|problem: String| Malformed::new(text, problem))
}

// Format: "0=SSSSSSSSSSSSSSSSSSHH;1=PPPPSSSSSSSSSSSSSSXX\n": a letter a way, the highest first
//         (Documentation/filesystems/resctrl.rst, bit_usage)
fn parse_usage(text: &str) -> Result<BTreeMap<u32, Ways>, Malformed> {
    let wrong = || Malformed::new(text, "not as in 0=SSSS;1=SSHH");
    let cache = |part: &str| {
        let (cache, letters) = part.split_once('=').ok_or_else(wrong)?;
        if letters.len() > 64 {
            return Err(wrong());
        }
        let taken = letters.chars().fold(0, |mask, letter| mask << 1 | u64::from("EP".contains(letter)));
        Ok((text::number(cache)?, Ways(taken)))
    };
    text.trim().split(';').map(cache).collect()
}

impl Level3 {
    /// Why the kernel would refuse `ways` of `cache`, with what it says in such a case.
    #[must_use]
    pub fn objection(&self, cache: u32, ways: Ways) -> Option<String> {
        let taken = self.taken.get(&cache).copied().unwrap_or(Ways(0)).shared_with(ways);
        let beyond = ways.without(self.all);
        if beyond != Ways(0) {
            return Some(format!("{ways} has ways that cache {cache} does not have: it has {}", self.all));
        }
        if ways.count() < self.ways_min {
            return Some(format!("{ways} has {} ways; the least is {}", ways.count(), self.ways_min));
        }
        if !ways.is_contiguous() && self.may_be_apart != Some(true) {
            return Some(format!("the ways of {ways} are not next to each other"));
        }
        let told =
            format!("ways {taken} of cache {cache} are locked, or held by another group alone (bit_usage)");
        (taken != Ways(0)).then_some(told)
    }
}

/// A group's directory.
#[must_use]
pub fn group_dir(group: &str) -> String {
    if group.is_empty() { DIR.to_owned() } else { format!("{DIR}/{group}") }
}

/// A group's masks of all levels.
#[must_use]
pub fn schemata_path(group: &str) -> String {
    format!("{}/schemata", group_dir(group))
}

/// A group's CPUs.
#[must_use]
pub fn cpus_path(group: &str) -> String {
    format!("{}/cpus_list", group_dir(group))
}

/// A group as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its directory below [`DIR`]; empty for the root.
    pub name: String,
    /// Its masks.
    pub masks: Masks,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// `shareable`, `exclusive`, `pseudo-locksetup` or `pseudo-locked`; not told by old kernels.
    pub mode: Option<String>,
}

/// Every group with its masks of level 3, the root first.
///
/// # Errors
/// [`Error::Absent`] where it is not mounted, [`Error::Read`], [`Error::Format`].
pub fn groups(root: &Root) -> Result<Vec<Group>, Error> {
    let mut groups = vec![group(root, "")?];
    for name in root.list(DIR)? {
        // "info", "mon_data" and "mon_groups" have no masks.
        groups.extend(if_present(group(root, &name))?);
    }
    Ok(groups)
}

fn group(root: &Root, name: &str) -> Result<Group, Error> {
    Ok(Group {
        name: name.to_owned(),
        masks: root.parse(&schemata_path(name), |text| {
            masks(text).map_err(|problem| Malformed::new(text, problem))
        })?,
        cpus: root.parse(&cpus_path(name), text::cpulist)?,
        mode: if_present(root.parse(&format!("{}/mode", group_dir(name)), text::line))?,
    })
}

/// The masks of level 3 in a `schemata` text.
///
/// # Errors
/// What is not as the kernel documents it.
// Format: "    L3:0=7ff;1=7ff\n    MB:0= 100;1= 100\n"   (Documentation/filesystems/resctrl.rst, "Schemata files")
pub fn masks(schemata: &str) -> Result<Masks, String> {
    let line = schemata.lines().find_map(|line| line.trim().strip_prefix("L3:"));
    line.ok_or_else(|| "there is no line L3:".to_owned())?.parse()
}

/// What the kernel says of the last command it was given: `ok`, or why it refused.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`].
pub fn last_status(root: &Root) -> Result<String, Error> {
    root.read_lossy(&format!("{DIR}/info/last_cmd_status")).map(|text| text.trim().replace('\n', "; "))
}

/// A refusal with what the kernel says about it beside the number.
#[must_use]
pub fn explained(root: &Root, error: Error) -> Error {
    match (error, last_status(root)) {
        (Error::Write { path, value, cause }, Ok(status)) if status != "ok" => {
            let cause = io::Error::new(cause.kind(), format!("{cause}; the kernel says: {status}"));
            Error::Write { path, value, cause }
        }
        (error, _) => error,
    }
}

/// The number of the cache of level 3 that `cpu` uses; `None` where the kernel does not tell, as of a CPU that is off
/// line.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "3\n" and "0\n"   (Documentation/filesystems/resctrl.rst, "Cache IDs")
pub fn cache_of(root: &Root, cpu: CpuId) -> Result<Option<u32>, Error> {
    let dir = format!("/sys/devices/system/cpu/cpu{cpu}/cache");
    for index in if_present(root.list(&dir))?.unwrap_or_default() {
        let level: Option<u32> = if_present(root.parse(&format!("{dir}/{index}/level"), text::number))?;
        if level == Some(3) {
            return if_present(root.parse(&format!("{dir}/{index}/id"), text::number));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Tree;

    /// Two sockets with eleven ways each, the two highest filled by devices too, as the documentation describes them.
    fn tree() -> Tree {
        Tree::of(&[
            ("/sys/fs/resctrl/schemata", "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n"),
            ("/sys/fs/resctrl/cpus_list", "0-7\n"),
            ("/sys/fs/resctrl/mode", "shareable\n"),
            ("/sys/fs/resctrl/info/last_cmd_status", "ok\n"),
            ("/sys/fs/resctrl/info/L3/cbm_mask", "7ff\n"),
            ("/sys/fs/resctrl/info/L3/min_cbm_bits", "2\n"),
            ("/sys/fs/resctrl/info/L3/num_closids", "16\n"),
            ("/sys/fs/resctrl/info/L3/shareable_bits", "600\n"),
            ("/sys/fs/resctrl/info/L3/bit_usage", "0=XXSSSSSSSSS;1=XXSSSSSPPPS\n"),
            ("/sys/devices/system/cpu/cpu1/cache/index0/level", "1\n"),
            ("/sys/devices/system/cpu/cpu1/cache/index3/level", "3\n"),
            ("/sys/devices/system/cpu/cpu1/cache/index3/id", "1\n"),
        ])
    }

    fn level3(tree: &Tree) -> Level3 {
        match allocation(&tree.root).unwrap() {
            Allocation::Level3(level3) => level3,
            Allocation::None { reason } => panic!("{reason}"),
        }
    }

    #[test]
    fn a_machine_with_ways_to_give() {
        let tree = tree();
        let level = level3(&tree);
        assert_eq!((level.all, level.ways_min, level.groups_max), (Ways(0x7ff), 2, 16));
        assert_eq!((level.shared_with_hardware, level.may_be_apart), (Ways(0x600), None));
        assert_eq!((level.taken[&0], level.taken[&1]), (Ways(0), Ways(0b1110)));
        assert_eq!(cache_of(&tree.root, CpuId(1)).unwrap(), Some(1));
        assert_eq!(cache_of(&tree.root, CpuId(0)).unwrap(), None);
        tree.put("/sys/fs/resctrl/quell/schemata", "L3:0=3;1=7f0\n");
        tree.put("/sys/fs/resctrl/quell/cpus_list", "2-3\n");
        let found = groups(&tree.root).unwrap();
        let told: Vec<_> = found.iter().map(|g| format!("{} {} {}", g.name, g.masks, g.cpus)).collect();
        assert_eq!(told, [" 0=7ff;1=7ff 0-7", "quell 0=3;1=7f0 2-3"]);
        assert_eq!((found[0].mode.as_deref(), found[1].mode.as_deref()), (Some("shareable"), None));
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str) {
        match allocation(&Tree::of(files).root).unwrap() {
            Allocation::None { reason } => assert!(reason.contains(expected), "{reason}"),
            Allocation::Level3(level3) => panic!("{level3:?}"),
        }
    }

    #[test]
    fn why_there_is_nothing_to_divide() {
        check(&[], "does not divide its caches");
        check(&[("/sys/fs/resctrl/.keep", "")], "mount -t resctrl resctrl /sys/fs/resctrl");
        let mounted = ("/sys/fs/resctrl/schemata", "MB:0=100\n");
        check(&[mounted], "no cache of level 3");
        check(&[mounted, ("/sys/fs/resctrl/info/L3CODE/cbm_mask", "7ff\n")], "without that option");
    }

    #[track_caller]
    fn check_objection(may_be_apart: Option<bool>, mask: &str, expected: Option<&str>) {
        let level = Level3 { may_be_apart, ..level3(&tree()) };
        let objection = level.objection(1, mask.parse().unwrap());
        match expected {
            None => assert_eq!(objection, None, "{mask}"),
            Some(part) => {
                assert!(objection.as_ref().is_some_and(|told| told.contains(part)), "{objection:?}");
            }
        }
    }

    #[test]
    fn what_the_kernel_would_refuse() {
        check_objection(None, "7f0", None);
        check_objection(None, "810", Some("does not have: it has 7ff"));
        check_objection(None, "0", Some("0 ways; the least is 2"));
        check_objection(None, "10", Some("1 ways; the least is 2"));
        check_objection(None, "510", Some("not next to each other"));
        check_objection(Some(false), "510", Some("not next to each other"));
        check_objection(Some(true), "510", None);
        check_objection(None, "3c", Some("ways c of cache 1 are locked"));
    }

    #[test]
    fn a_refusal_is_told_with_what_the_kernel_says_of_it() {
        let tree = tree();
        let refused = || Error::Write {
            path: "/sys/fs/resctrl/quell/schemata".into(),
            value: "L3:0=5".into(),
            cause: io::Error::from_raw_os_error(libc::EINVAL),
        };
        assert!(!explained(&tree.root, refused()).to_string().contains("the kernel says"));
        tree.put("/sys/fs/resctrl/info/last_cmd_status", "Mask 5 has non-consecutive 1-bits\n");
        let told = explained(&tree.root, refused()).to_string();
        assert!(told.ends_with("; the kernel says: Mask 5 has non-consecutive 1-bits"), "{told}");
    }

    #[test]
    fn masks_are_read_as_they_are_written() {
        assert_eq!(masks("    L3:0=007ff;1=3\n").unwrap().to_string(), "0=7ff;1=3");
        for bad in ["", "L3:\n", "L3:0\n", "L3:x=1\n", "L3:0=-1\n", "L3:0=+1\n", "L2:0=1\n"] {
            assert!(masks(bad).is_err(), "{bad:?}");
        }
        assert!(parse_usage(&format!("0={}\n", "S".repeat(65))).is_err());
    }

    #[test]
    fn the_highest_ways() {
        assert_eq!(Ways(0x7ff).highest(4), Ways(0x780));
        assert_eq!((Ways(0x7ff).highest(99), Ways(0x7ff).highest(0)), (Ways(0x7ff), Ways(0)));
        assert!(Ways(0).is_contiguous() && Ways(u64::MAX).is_contiguous() && Ways(1 << 63).is_contiguous());
        assert!(!Ways(1 << 63 | 1).is_contiguous());
    }
}
