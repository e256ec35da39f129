//! Looking at a machine with a profile in hand: everything that planning and verifying need, read and not yet judged.

use std::io;
use std::sync::Arc;

use host::{Error as HostError, Root};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use units::CpuSet;

use crate::Error;
use crate::boot;
use crate::cell::{Cell, Form, Reading};
use crate::draft::{Danger, Draft, Scope, Wish};
use crate::error::ProfileMistakes;
use crate::facts::{DeviceNode, Facts};
use crate::profile::Profile;
use crate::registry::Topic;
use crate::roles::{Isolated, Roles, unknown_cpu};
use crate::status::Status;

/// What was seen.
pub(crate) struct Survey {
    pub facts: Facts,
    pub draft: Draft,
    /// One a wish of the draft.
    pub seen: Vec<Seen>,
}

/// One wish's cell as it is.
pub(crate) struct Seen {
    pub wish: Wish,
    pub reading: Result<Reading, HostError>,
    /// Why it cannot be written, apart from what the kernel thinks of the value.
    pub unwritable: Option<Errno>,
}

impl Survey {
    /// Looks at the machine.
    ///
    /// # Errors
    /// [`Error::Profile`] for what this machine cannot be asked for.
    pub fn take(root: &Arc<Root>, profile: &Profile) -> Result<Self, Error> {
        let mut facts = Facts::read(root, profile.knobs());
        let roles = Roles::divide(&facts, &profile.isolated);
        let fenced = fenced(&roles, profile);
        if !fenced.is_empty() {
            facts.read_tasks(root, &fenced);
        }
        let mut draft = draft(&facts, &roles, profile);
        if !draft.mistakes.is_empty() {
            return Err(Error::Profile(ProfileMistakes(draft.mistakes)));
        }
        let seen = std::mem::take(&mut draft.wishes).into_iter().map(|wish| look(root, wish)).collect();
        Ok(Self { facts, draft, seen })
    }
}

/// The CPUs that some threads are to be kept off.
fn fenced(roles: &Roles, profile: &Profile) -> CpuSet {
    let settings = profile.wanted.iter().filter(|wanted| wanted.knob.reads(Topic::Tasks));
    let choices = settings.filter_map(|wanted| wanted.setting("cpus")?.value.as_cpus());
    choices.fold(CpuSet::empty(), |fenced, choice| {
        fenced.union(&roles.online.difference(&roles.resolve(choice)))
    })
}

fn look(root: &Root, wish: Wish) -> Seen {
    let reading = wish.cell.read(root);
    let unwritable = match &reading {
        Ok(Reading::Absent) if wish.cell.form != Form::Directory => None,
        _ => unwritable(root, &wish.cell),
    };
    Seen { wish, reading, unwritable }
}

/// Asks the system, not the kernel attribute: a file's rights and its file system's state.
fn unwritable(root: &Root, cell: &Cell) -> Option<Errno> {
    if cell.is_thread() && root.is_system() {
        // A system call, not a file. Root is who has the capability for other people's threads, as far as can be told.
        return (!host::own::user().is_root()).then_some(Errno::EPERM);
    }
    let path = match cell.form {
        Form::Directory => cell.path.rsplit_once('/').map_or("/", |(parent, _)| parent),
        _ => &cell.path,
    };
    access(root.display(path).as_str(), AccessFlags::W_OK).err().filter(|errno| *errno != Errno::ENOENT)
}

/// What the profile's knobs come to on these facts. Pure.
pub(crate) fn draft(facts: &Facts, roles: &Roles, profile: &Profile) -> Draft {
    let mut draft = Draft::default();
    division(facts, roles, profile, &mut draft);
    let scope = Scope { facts, roles };
    for wanted in &profile.wanted {
        match facts.problem(wanted.knob) {
            Some(problem) => draft.skip(wanted, "", Status::Failed, problem),
            None => {
                (wanted.knob.wish)(&scope, wanted, &mut draft);
                draft.remember_side_effects(&scope, wanted.knob);
            }
        }
    }
    boot::compose(&scope, &mut draft);
    draft
}

/// What is wrong with how the profile divides the CPUs.
fn division(facts: &Facts, roles: &Roles, profile: &Profile, draft: &mut Draft) {
    if let Isolated::List(cpus) = &profile.isolated
        && let Some(problem) = unknown_cpu(facts, cpus)
    {
        draft.mistakes.push(format!("{}: cpus.isolated: {problem}", profile.isolated_place));
        return;
    }
    if roles.online.is_empty() || roles.isolated.is_empty() {
        return;
    }
    if roles.housekeeping.is_empty() {
        let reason = format!(
            "CPU {} are isolated, which leaves no housekeeping CPU to interrupts, the kernel's work and everybody else",
            roles.isolated
        );
        draft.danger("cpus", false, reason);
    } else if roles.isolated.first().is_some_and(|cpu| cpu.index() == 0) {
        let reason = "CPU 0 is isolated; the kernel keeps work there that cannot be moved".to_owned();
        draft.danger("cpus", true, reason);
    }
    for node in &facts.device_nodes {
        draft.dangers.extend(without_housekeeping(roles, node));
    }
    for group in &facts.sibling_groups {
        let inside = group.intersection(&roles.isolated);
        if !inside.is_empty() && inside != *group {
            let reason = format!(
                "CPU {inside} is isolated and shares its core with CPU {}, which is not",
                group.difference(&inside)
            );
            draft.contradiction("siblings-split", reason);
        }
    }
}

/// Interrupts of a node's devices, and the kernel's work for them, need a CPU that is near and not the application's.
fn without_housekeeping(roles: &Roles, node: &DeviceNode) -> Option<Danger> {
    let is_bare = !node.cpus.is_empty() && node.cpus.intersection(&roles.housekeeping).is_empty();
    (is_bare && !roles.housekeeping.is_empty()).then(|| Danger {
        knob: "cpus",
        reason: format!(
            "{} has {} devices and CPU {}, all of them isolated: their interrupts and the kernel's work for them would \
             cross to CPU {}; leave one of the node to housekeeping",
            node.id, node.devices, node.cpus, roles.housekeeping
        ),
        may_be_accepted: true,
    })
}

/// The reason for which a file cannot be written.
pub(crate) fn unwritable_reason(errno: Errno) -> String {
    io::Error::from(errno).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::cpus::Cpus;
    use host::numa::NodeId;
    use proptest::prelude::*;

    /// CPUs of a random machine: to each its node, whether that has devices, and whether the CPU is isolated.
    fn machine() -> impl Strategy<Value = (Vec<u16>, Vec<bool>, Vec<bool>)> {
        (1usize..5, 1usize..65).prop_flat_map(|(nodes, cpus)| {
            let node = 0..u16::try_from(nodes).unwrap();
            (
                prop::collection::vec(node, cpus),
                prop::collection::vec(any::<bool>(), nodes),
                prop::collection::vec(any::<bool>(), cpus),
            )
        })
    }

    fn cpus(which: impl Fn(usize) -> bool, count: usize) -> CpuSet {
        (0..count).filter(|cpu| which(*cpu)).map(|cpu| units::CpuId(u16::try_from(cpu).unwrap())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// No division passes without a danger that leaves a node with devices, or the machine, without housekeeping.
        #[test]
        fn every_node_with_devices_keeps_a_housekeeping_cpu((nodes, devices, isolated) in machine()) {
            let count = nodes.len();
            let online = cpus(|_| true, count);
            let device_nodes: Vec<DeviceNode> = (0..devices.len())
                .filter(|node| devices[*node])
                .map(|node| DeviceNode {
                    id: NodeId(u16::try_from(node).unwrap()),
                    devices: 1,
                    cpus: cpus(|cpu| usize::from(nodes[cpu]) == node, count),
                })
                .collect();
            let none = CpuSet::empty;
            let facts = Facts {
                cpus: Some(Cpus {
                    possible: online.clone(),
                    present: online.clone(),
                    online: online.clone(),
                    offline: none(),
                    isolated: none(),
                    nohz_full: None,
                }),
                device_nodes,
                ..Facts::default()
            };
            let isolated = cpus(|cpu| isolated[cpu], count);
            let text = format!("schema = \"quell.profile/1\"\n[cpus]\nisolated = \"{isolated}\"");
            let profile = Profile::parse("test.toml", &text).unwrap();
            let roles = Roles::divide(&facts, &profile.isolated);
            let draft = draft(&facts, &roles, &profile);
            let is_refused = draft.dangers.iter().any(|danger| danger.knob == "cpus");
            let housekeeping = online.difference(&isolated);
            let is_bare = facts.device_nodes.iter().any(|node| {
                !node.cpus.is_empty() && node.cpus.intersection(&housekeeping).is_empty()
            });
            let takes_the_first = isolated.contains(units::CpuId(0));
            let must_be = !isolated.is_empty() && (housekeeping.is_empty() || is_bare || takes_the_first);
            prop_assert_eq!(is_refused, must_be, "{} of {:?}", isolated, nodes);
        }
    }
}
