//! Huge pages taken while the machine boots, when memory is not in pieces yet.
//!
//! The only way to many pages of 1 GiB. A request beyond the memory stops the machine before the first process starts
//! ("System is deadlocked on memory"), so it is held against the node's memory with the same floor as at run time. Source:
//! Documentation/admin-guide/mm/hugetlbpage.rst (hugepages=, the form by node from Linux 5.16 on).

use host::Root;
use host::hugepages::PageSize;
use host::numa::{Node, NodeId};

use crate::boot::contribute;
use crate::declared;
use crate::draft::{Draft, Scope};
use crate::headroom::Floor;
use crate::knobs::boot_line;
use crate::profile::{Setting, Value, Wanted};
use crate::registry::{Attribute, Blast, Group, Home, Kind, Knob, Needs, Sign, Topic, When};

/// As at run time: beyond it is a slip.
const PAGES_MAX: i64 = 4 << 20;

pub(crate) static KNOB: Knob = Knob {
    id: "mem.hugeboot",
    group: Group::Memory,
    doc: "pages taken at boot are there, however long the machine runs: later memory is in pieces",
    attributes: &[
        Attribute::new("2M", Kind::Nodes { max: PAGES_MAX }, "pages of 2 MiB to take on each node at boot"),
        Attribute::new("1G", Kind::Nodes { max: PAGES_MAX }, "pages of 1 GiB to take on each node at boot"),
        Attribute::at(
            "default_size",
            Kind::Choice(&["2M", "1G"]),
            "the size that programs get which ask for huge pages without saying which: default_hugepagesz=",
            Home::Argument("default_hugepagesz"),
        )
        .seen(Sign::Told(default_size)),
    ],
    source: "as the application needs: cluster-node-tuning-operator (hugepages of the performance profile)",
    needs: Needs::Root,
    when: When::Boot,
    blast: Blast::Memory,
    absence: boot_line::ABSENCE,
    effect: "each node's count is at least what was asked for, and the boot log holds no shortfall",
    undo: boot_line::UNDO,
    paths: boot_line::PATHS,
    side_effects: &[],
    reads: &[Topic::Nodes, Topic::Boot],
    wish,
    locate: |_, _, _| None,
};

// Format: "Hugepagesize:       2048 kB"   (Documentation/filesystems/proc.rst, meminfo)
fn default_size(root: &Root, value: &str) -> Option<(String, bool)> {
    let asked: PageSize = value.parse().ok()?;
    let text = root.read_lossy("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some((format!("{kib} KiB"), kib * 1024 == asked.bytes()))
}

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    declared::wish(scope, wanted, draft);
    let mut asked = Vec::new();
    for (name, setting) in &wanted.settings {
        let (Ok(size), Value::Nodes(counts)) = (name.parse::<PageSize>(), &setting.value) else { continue };
        if !scope.facts.page_sizes.contains(&size) {
            draft.not_applicable(wanted, format!("this machine has no huge pages of {size}"));
            continue;
        }
        asked.extend(counts.iter().map(|(node, pages)| Asked { node: *node, size, pages: *pages, setting }));
    }
    let known: Vec<NodeId> = scope.facts.nodes.iter().map(|node| node.id).collect();
    if let Some(unknown) = asked.iter().find(|asked| !known.contains(&asked.node)) {
        return draft
            .mistake(unknown.setting, &format!("mem.hugeboot: {} does not exist here", unknown.node));
    }
    let mut refused =
        scope.facts.nodes.iter().filter_map(|node| refusal(node, scope.facts.floor, &asked)).peekable();
    if refused.peek().is_some() {
        return refused.for_each(|reason| draft.danger(KNOB.id, false, reason));
    }
    for size in [PageSize::M2, PageSize::G1] {
        let counts = asked.iter().filter(|asked| asked.size == size && asked.pages > 0);
        let counts: Vec<String> = counts.map(|asked| format!("{}:{}", asked.node.0, asked.pages)).collect();
        if !counts.is_empty() {
            let argument = format!("hugepagesz={size} hugepages={}", counts.join(","));
            contribute(scope, wanted, draft, &size.to_string(), argument);
        }
    }
}

/// One number of a profile.
struct Asked<'w> {
    node: NodeId,
    size: PageSize,
    pages: u64,
    setting: &'w Setting,
}

/// Why the node has not this much memory, with the arithmetic.
fn refusal(node: &Node, floor: Floor, asked: &[Asked<'_>]) -> Option<String> {
    let of_node: Vec<&Asked<'_>> = asked.iter().filter(|asked| asked.node == node.id).collect();
    let bytes = of_node.iter().map(|asked| asked.pages.saturating_mul(asked.size.bytes()));
    let (wanted, kept) = (bytes.fold(0, u64::saturating_add), floor.of(node.total_bytes));
    let most = node.total_bytes.saturating_sub(kept);
    if wanted <= most {
        return None;
    }
    let pages: Vec<String> =
        of_node.iter().map(|asked| format!("{} × {}", asked.pages, asked.size)).collect();
    Some(format!(
        "{}: {} at boot are {} MiB; the node has {} MiB, {} MiB of them stay ({} %, at least 1 GiB), so at most {} MiB \
         can be taken: with more the kernel may find no memory to start in",
        node.id,
        pages.join(" and "),
        wanted >> 20,
        node.total_bytes >> 20,
        kept >> 20,
        floor.percent,
        most >> 20
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::CpuSet;

    #[track_caller]
    fn check(total: u64, pages: u64, size: PageSize, expected: Option<&str>) {
        let (id, free_bytes) = (NodeId(0), 0); // what is free now says nothing about the next boot
        let node = Node {
            id,
            cpus: CpuSet::empty(),
            total_bytes: total << 20,
            free_bytes,
            clean_cache_bytes: 0,
            distances: Vec::new(),
        };
        let setting = Setting { value: Value::Nodes(Vec::new()), place: String::new() };
        let refused = refusal(&node, Floor::default(), &[Asked { node: id, size, pages, setting: &setting }]);
        assert_eq!(refused.as_deref(), expected);
    }

    #[test]
    fn the_budget() {
        check(20_480, 9_216, PageSize::M2, None); // 18 GiB of 20: exactly down to the tenth
        check(
            20_480,
            9_217,
            PageSize::M2,
            Some(
                "node0: 9217 × 2M at boot are 18434 MiB; the node has 20480 MiB, 2048 MiB of them stay (10 %, at least \
                 1 GiB), so at most 18432 MiB can be taken: with more the kernel may find no memory to start in",
            ),
        );
        check(
            512,
            240,
            PageSize::M2, // what stopped a guest of 512 MiB
            Some(
                "node0: 240 × 2M at boot are 480 MiB; the node has 512 MiB, 1024 MiB of them stay (10 %, at least \
                 1 GiB), so at most 0 MiB can be taken: with more the kernel may find no memory to start in",
            ),
        );
        check(2_048, 1, PageSize::G1, None);
        check(2_047, 0, PageSize::G1, None);
    }
}
