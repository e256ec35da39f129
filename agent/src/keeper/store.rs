//! Descriptors of kernel events in the service manager's store, under names that say all that is needed to go on.
//!
//! A name is `ring-CPU-POINT-NUMBER-NAME`, the last two where the fields stand or `x`. The manager must not watch what it
//! keeps (`FDPOLL=0`): an event that nobody maps looks hung up, and would be thrown out just while the agent is away.
//! Source: sd_notify(3), sd_pid_notify_with_fds(3).

use std::collections::BTreeMap;

use host::inherited::Inherited;
use host::perf::{self, Handle, Layout, Point};
use std::os::fd::AsFd;
use units::CpuId;

use crate::notify;

/// What names of ours begin with.
const PREFIX: &str = "ring-";

/// Whether the name is one of ours, well-formed or not.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Puts the events of `cpu` into the store, all of them or as many as the manager takes without being waited for twice.
pub fn put(cpu: CpuId, handles: &[Handle]) {
    for handle in handles {
        let words = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={}", name(cpu, handle.point, handle.layout));
        if !notify::hand_over(&words, handle.as_fd()) {
            break;
        }
    }
}

/// Takes the events of `cpu` out of the store.
pub fn remove(cpu: CpuId, handles: &[Handle]) {
    for handle in handles {
        forget(&name(cpu, handle.point, handle.layout));
    }
}

/// The events that an agent before us put there, by their CPUs. What is none, or is there twice, is taken out.
pub fn restore(stored: Vec<Inherited>) -> BTreeMap<CpuId, Vec<Handle>> {
    let mut events: BTreeMap<CpuId, Vec<Handle>> = BTreeMap::new();
    for Inherited { name, fd } in stored {
        let known = parse(&name).filter(|_| perf::is_event(fd.as_fd()));
        let Some((cpu, point, layout)) = known else {
            tracing::warn!(name, "the service manager kept something under our name that is no kernel event");
            forget(&name);
            continue;
        };
        let of_cpu = events.entry(cpu).or_default();
        if of_cpu.iter().all(|handle| handle.point != point) {
            of_cpu.push(Handle { point, layout, fd });
        }
    }
    events
}

fn forget(name: &str) {
    notify::tell_plainly(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
}

fn name(cpu: CpuId, point: Point, layout: Layout) -> String {
    let place = |at: Option<u16>| at.map_or_else(|| "x".to_owned(), |at| at.to_string());
    format!("{PREFIX}{cpu}-{}-{}-{}", point.number(), place(layout.number), place(layout.name))
}

fn parse(name: &str) -> Option<(CpuId, Point, Layout)> {
    let place = |text: &str| match text {
        "x" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let parts: Vec<&str> = name.strip_prefix(PREFIX)?.split('-').collect();
    let [cpu, point, number, name] = parts[..] else { return None };
    let layout = Layout { number: place(number)?, name: place(name)? };
    Some((CpuId(cpu.parse().ok()?), Point::of(point.parse().ok()?)?, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_stand_for() {
        let layouts = [
            (Point::Switch, Layout { number: Some(56), name: Some(40) }, "ring-3-0-56-40"),
            (Point::SoftirqExit, Layout { number: Some(8), name: None }, "ring-3-4-8-x"),
            (Point::PageFault, Layout::default(), "ring-3-14-x-x"),
        ];
        for (point, layout, expected) in layouts {
            assert_eq!(name(CpuId(3), point, layout), expected);
            assert_eq!(parse(expected), Some((CpuId(3), point, layout)));
        }
        for bad in
            ["ring-", "ring-3", "ring-3-0-56", "ring-3-99-x-x", "ring-3-0-y-x", "ring-x-0-x-x", "report"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_event_is_not_restored() {
        let file = |name: &str| Inherited { name: name.to_owned(), fd: tempfile::tempfile().unwrap().into() };
        assert!(restore(vec![file("ring-0-0-56-40"), file("ring-nonsense")]).is_empty());
    }
}
