//! A part of the shared cache for the application alone.
//!
//! The application's CPUs get a group with ways of their own, and unless it is said otherwise everybody else loses them.
//! What the kernel would refuse is told before anything is written: too few ways, ways apart, ways that are locked or held
//! alone, no class of service left. Ways that devices fill too are given last. A group made by quell is removed by the
//! undo, and its CPUs go back to the root then; CPUs that were another group's are remembered with it. Source:
//! Documentation/filesystems/resctrl.rst; rigtorp.se, "most of the last-level cache to the application".

use std::collections::BTreeSet;

use host::resctrl::{self, Allocation, Level3, Masks, Ways};
use units::CpuSet;

use crate::cell::{Cell, Form, PRESENT};
use crate::draft::{Draft, Scope};
use crate::facts::{CacheFacts, Facts};
use crate::profile::{Value, Wanted};
use crate::registry::{Absence, Attribute, Group, Kind, Knob, PLAIN, Topic};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "mem.cat",
    group: Group::Memory,
    doc: "whoever runs on other cores of the socket throws the application's data out of the shared cache",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs of the application"),
        Attribute::new(
            "ways",
            Kind::Integer { min: 1, max: 63 },
            "ways of each cache of level 3 that these CPUs use",
        ),
        Attribute::new("alone", Kind::Flag, "whether everybody else loses these ways; unless said, true"),
        Attribute::new("group", Kind::Name, "the group's name; quell unless given"),
    ],
    source: "most of the last-level cache to the application: rigtorp.se",
    absence: Absence::NotApplicable("the group is not there"),
    effect: "the group's masks and CPUs read as written; a refusal is told with info/last_cmd_status",
    undo: "everybody else gets the ways back, then the group is removed if quell made it, else its masks and CPUs are \
           written",
    paths: &[
        "/sys/fs/resctrl/{group}",
        "/sys/fs/resctrl/{group}/schemata",
        "/sys/fs/resctrl/{group}/cpus_list",
        "/sys/fs/resctrl/schemata",
    ],
    reads: &[Topic::Cpus, Topic::Caches],
    wish,
    locate,
    ..PLAIN
};

/// The group, unless the profile names another.
const GROUP: &str = "quell";

/// Directories of the file system that are no groups.
const RESERVED: [&str; 3] = ["info", "mon_data", "mon_groups"];

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let (Some(count), Some(setting)) = (wanted.integer("ways"), wanted.setting("ways")) else { return };
    if wanted.setting("cpus").is_none() {
        return draft.mistake(setting, "mem.cat: cpus is missing; say which CPUs, as in cpus = \"isolated\"");
    }
    let Some(caches) = &scope.facts.caches else { return };
    let level = match &caches.allocation {
        Allocation::None { reason } => return draft.not_applicable(wanted, reason.as_str()),
        Allocation::Level3(level) => level,
    };
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    let group = wanted.text("group").unwrap_or_else(|| GROUP.to_owned());
    if RESERVED.contains(&group.as_str()) {
        return draft.mistake(setting, &format!("mem.cat.group: {group} is a directory of resctrl's own"));
    }
    let alone = wanted.setting("alone").is_none_or(|setting| setting.value == Value::Flag(true));
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    match Division::of(caches, level, &group, &cpus, count, alone) {
        Err(reason) => draft.skip(wanted, "", Status::Failed, reason),
        Ok(division) => {
            share_with_others(caches, draft, &group, &division);
            wish_division(scope, wanted, draft, &group, &cpus, &division);
        }
    }
}

fn wish_division(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    group: &str,
    cpus: &CpuSet,
    division: &Division,
) {
    draft.wish(scope, wanted, "group", group, PRESENT.to_owned());
    draft.wish(scope, wanted, "ways", group, division.ours.to_string());
    draft.wish(scope, wanted, "cpus", group, cpus.to_string());
    if let Some(others) = &division.others {
        draft.wish(scope, wanted, "ways", "", others.to_string());
    }
    let others = scope.facts.caches.iter().flat_map(|caches| &caches.groups);
    for other in others.filter(|other| !other.name.is_empty() && other.name != group) {
        if !other.cpus.intersection(cpus).is_empty() {
            draft.remember(scope, wanted, "cpus", &other.name);
        }
    }
}

/// Groups of others that may fill the same ways.
fn share_with_others(caches: &CacheFacts, draft: &mut Draft, group: &str, division: &Division) {
    for other in caches.groups.iter().filter(|other| !other.name.is_empty() && other.name != group) {
        let shared = division.given.0.iter().find(|(cache, ways)| {
            other.masks.0.get(cache).is_some_and(|theirs| theirs.shared_with(**ways) != Ways(0))
        });
        if let Some((cache, ways)) = shared {
            let reason = format!(
                "mem.cat gives ways {ways} of cache {cache}, and the group {} may fill some of them too",
                other.name
            );
            draft.contradiction("cache-ways-shared", reason);
        }
    }
}

/// Who may fill what.
#[derive(Debug, PartialEq, Eq)]
struct Division {
    /// The ways given, of the caches that the CPUs use.
    given: Masks,
    /// The group's masks of all caches.
    ours: Masks,
    /// The root's, where it loses the ways.
    others: Option<Masks>,
}

impl Division {
    fn of(
        caches: &CacheFacts,
        level: &Level3,
        group: &str,
        cpus: &CpuSet,
        count: u32,
        alone: bool,
    ) -> Result<Self, String> {
        let root = caches.group("").ok_or("the root group cannot be seen")?;
        let known = caches.group(group);
        let most = usize::try_from(level.groups_max).unwrap_or(usize::MAX);
        if known.is_none() && caches.groups.len() >= most {
            return Err(format!(
                "there are {most} classes of service, and as many groups: remove one of them"
            ));
        }
        if let Some(mode) = known.and_then(|known| known.mode.as_deref()).filter(|mode| *mode != "shareable")
        {
            return Err(format!(
                "the group {group} is {mode}: quell gives ways to a group that is shareable"
            ));
        }
        let used: BTreeSet<u32> = cpus.iter().filter_map(|cpu| caches.cache_of.get(&cpu).copied()).collect();
        if used.is_empty() {
            return Err(format!("the kernel does not tell which cache CPU {cpus} use"));
        }
        let mut given = Masks::default();
        let mut ours = known.map_or_else(|| root.masks.clone(), |known| known.masks.clone());
        let mut others = root.masks.clone();
        for cache in used {
            let ways = choose(level, cache, count)?;
            let rest = rest(level, others.0.get(&cache).copied().unwrap_or(level.all), ways);
            if let Some(objection) =
                Some(rest).filter(|_| alone).and_then(|rest| level.objection(cache, rest))
            {
                return Err(format!(
                    "{count} of {} ways leave everybody else too little: {objection}",
                    level.all.count()
                ));
            }
            given.0.insert(cache, ways);
            ours.0.insert(cache, ways);
            others.0.insert(cache, rest);
        }
        Ok(Self { given, ours, others: alone.then_some(others) })
    }
}

/// The highest ways next to each other that nobody holds, without those that devices fill while there are others.
fn choose(level: &Level3, cache: u32, count: u32) -> Result<Ways, String> {
    let taken = level.taken.get(&cache).copied().unwrap_or(Ways(0));
    let free = level.all.without(taken);
    let undisturbed = run(free.without(level.shared_with_hardware), count);
    let ways = undisturbed.or_else(|| run(free, count));
    let ways = ways.ok_or_else(|| {
        format!(
            "cache {cache} has no {count} ways next to each other to give: it has {}, of which {taken} are taken",
            level.all
        )
    })?;
    level.objection(cache, ways).map_or(Ok(ways), Err)
}

/// The highest `count` ways next to each other within `free`.
fn run(free: Ways, count: u32) -> Option<Ways> {
    let width = Some(count).filter(|count| (1..64).contains(count))?;
    let mask = (1u64 << width) - 1;
    (0..=64 - width).rev().map(|shift| Ways(mask << shift)).find(|ways| ways.without(free) == Ways(0))
}

/// What is left of a mask: all of it where ways may be apart, else its longest part.
fn rest(level: &Level3, mask: Ways, given: Ways) -> Ways {
    let left = mask.without(given);
    if level.may_be_apart == Some(true) {
        return left;
    }
    (1..=left.count()).rev().find_map(|count| run(left, count)).unwrap_or(left)
}

fn locate(facts: &Facts, attribute: &str, group: &str) -> Option<Cell> {
    let caches = facts.caches.as_ref()?;
    if !matches!(caches.allocation, Allocation::Level3(_)) {
        return None;
    }
    if group.is_empty() {
        return (attribute == "ways").then(|| Cell::plain(resctrl::schemata_path(""), Form::CacheWays));
    }
    let name: units::Name = group.parse().ok().filter(|_| !RESERVED.contains(&group))?;
    let dir = resctrl::group_dir(name.as_str());
    let inside = |path: String, form| Cell { lives_in: Some(dir.clone()), ..Cell::plain(path, form) };
    match attribute {
        "group" => Some(Cell::plain(dir, Form::Directory)),
        "ways" => Some(inside(resctrl::schemata_path(group), Form::CacheWays)),
        "cpus" => Some(inside(resctrl::cpus_path(group), Form::CpuList)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::resctrl::Group as CacheGroup;
    use std::collections::BTreeMap;
    use units::CpuId;

    /// Two sockets of two CPUs with eleven ways each, of which devices fill the two highest; of the second cache one is
    /// locked.
    fn caches(may_be_apart: Option<bool>) -> CacheFacts {
        let level = Level3 {
            all: Ways(0x7ff),
            ways_min: 2,
            groups_max: 3,
            shared_with_hardware: Ways(0x600),
            may_be_apart,
            taken: BTreeMap::from([(1, Ways(0x001))]),
        };
        CacheFacts {
            allocation: Allocation::Level3(level),
            groups: vec![group("", "0=7ff;1=7fe", "0-3")],
            cache_of: [(0, 0), (1, 0), (2, 1), (3, 1)].map(|(cpu, cache)| (CpuId(cpu), cache)).into(),
        }
    }

    fn group(name: &str, masks: &str, cpus: &str) -> CacheGroup {
        CacheGroup {
            name: name.to_owned(),
            masks: masks.parse().unwrap(),
            cpus: cpus.parse().unwrap(),
            mode: Some("shareable".to_owned()),
        }
    }

    #[track_caller]
    fn check(caches: &CacheFacts, cpus: &str, count: u32, alone: bool, expected: &str) {
        let Allocation::Level3(level) = &caches.allocation else { panic!("{caches:?}") };
        let told = match Division::of(caches, level, "quell", &cpus.parse().unwrap(), count, alone) {
            Err(reason) => format!("error: {reason}"),
            Ok(Division { ours, others, .. }) => {
                format!("{ours} {}", others.map_or_else(|| "-".to_owned(), |others| others.to_string()))
            }
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn who_may_fill_what() {
        let apart = caches(None);
        check(&apart, "1", 4, true, "0=1e0;1=7fe 0=1f;1=7fe"); // not the devices' ways; the rest next to each other
        check(&apart, "1", 4, false, "0=1e0;1=7fe -");
        check(&apart, "1-2", 4, true, "0=1e0;1=1e0 0=1f;1=1e");
        check(&apart, "1", 10, false, "0=7fe;1=7fe -"); // only with the devices' ways
        check(&caches(Some(true)), "1", 4, true, "0=1e0;1=7fe 0=61f;1=7fe");
    }

    #[test]
    fn what_the_kernel_would_refuse_is_told_before() {
        let caches = caches(None);
        check(&caches, "1", 1, true, "error: 1e0 has 1 ways; the least is 2".replace("1e0", "100").as_str());
        check(
            &caches,
            "1",
            10,
            true,
            "error: 10 of 11 ways leave everybody else too little: 1 has 1 ways; the least is 2",
        );
        check(
            &caches,
            "2",
            11,
            false,
            "error: cache 1 has no 11 ways next to each other to give: it has 7ff, of which 1 are taken",
        );
        let mut full = caches.clone();
        full.groups.extend([group("a", "0=3;1=6", ""), group("b", "0=3;1=6", "")]);
        check(
            &full,
            "1",
            4,
            true,
            "error: there are 3 classes of service, and as many groups: remove one of them",
        );
        full.groups[1] = CacheGroup { mode: Some("pseudo-locked".into()), ..group("quell", "0=3;1=6", "") };
        check(
            &full,
            "1",
            4,
            true,
            "error: the group quell is pseudo-locked: quell gives ways to a group that is shareable",
        );
        let blind = CacheFacts { cache_of: BTreeMap::new(), ..caches };
        check(&blind, "1", 4, true, "error: the kernel does not tell which cache CPU 1 use");
    }

    #[test]
    fn a_journal_cannot_name_another_directory() {
        let facts = Facts { caches: Some(caches(None)), ..Facts::default() };
        assert_eq!(locate(&facts, "ways", "quell").unwrap().path, "/sys/fs/resctrl/quell/schemata");
        assert_eq!(locate(&facts, "ways", "").unwrap().path, "/sys/fs/resctrl/schemata");
        for bad in ["info", "../cgroup", "a/b", "mon_groups"] {
            assert!(locate(&facts, "ways", bad).is_none() && locate(&facts, "group", bad).is_none(), "{bad}");
        }
        assert!(locate(&Facts::default(), "ways", "quell").is_none(), "nothing to divide");
    }
}
