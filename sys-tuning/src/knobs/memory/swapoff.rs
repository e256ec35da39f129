//! Areas to swap to, switched off: what was swapped out comes back into memory.
//!
//! Dangerous in its own way: the memory has to be there at that moment, or the kernel kills programs until it is. So the
//! plan adds what is swapped out to what huge pages take (`guard`), and the writer looks again before each area. It lasts as
//! long as the disk takes; a minute is waited for. Each area's size and priority are remembered, and it is switched on again
//! as it was, but for what `/etc/fstab` says of it beside its priority, which the kernel does not show. The next boot
//! switches it on again by itself where `/etc/fstab`, or a unit, says so. Source: swapon(2); mm/swapfile.c.

use host::swaps::{Area, is_plain};

use crate::cell::{Cell, Form, OFF};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, PLAIN, Topic};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "mem.swapoff",
    group: Group::Memory,
    doc: "where nothing is swapped to, no page of the application ever waits for a disk",
    attributes: &[Attribute::new(
        "areas",
        Kind::Choice(&["all"]),
        "all areas there are, each remembered with its priority",
    )],
    source: "off: rigtorp.se, Linux tuning checklist for HFT",
    needs: Needs::SysAdmin,
    blast: Blast::Memory,
    absence: Absence::Satisfied("this kernel cannot swap"),
    effect: "the kernel's own list of areas, /proc/swaps, has it no more",
    undo: "the area is switched on with the priority it had; what /etc/fstab says beside that (discard) comes with the next boot",
    paths: &["swap area {path}"],
    reads: &[Topic::Nodes, Topic::Swaps],
    wish,
    locate,
    ..PLAIN
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if wanted.setting("areas").is_none() {
        return;
    }
    match &scope.facts.swaps {
        None => {
            let (status, reason) = KNOB.absence.told();
            draft.skip_attribute(KNOB.id, "areas", status, reason);
        }
        Some(areas) if areas.is_empty() => {
            draft.skip_attribute(
                KNOB.id,
                "areas",
                Status::Ok,
                "already so: nothing is swapped to".to_owned(),
            );
        }
        Some(areas) => {
            // Taken back in the opposite order: where the kernel chooses priorities, the first to come gets the highest.
            let mut areas: Vec<&Area> = areas.iter().rev().collect();
            areas.sort_by_key(|area| area.state.priority.min(0));
            for area in areas {
                if is_plain(&area.path) {
                    draft.wish(scope, wanted, "areas", &area.path, OFF.to_owned());
                    continue;
                }
                let reason =
                    "its name could not be given to the kernel again; switch it off by hand".to_owned();
                draft.skip_one(wanted, "areas", &area.path, Status::Failed, reason);
            }
        }
    }
}

/// Also of an area that is off now: it is to be found again when it is switched on.
fn locate(facts: &Facts, attribute: &str, path: &str) -> Option<Cell> {
    let is_one = attribute == "areas" && is_plain(path);
    let form = || Form::SwapArea { area: path.to_owned(), floor: facts.floor };
    is_one.then(|| Cell::plain(format!("swap area {path}"), form()))
}
