//! Looking at a machine with a profile in hand: everything that planning and verifying need, read and not yet judged.

use std::io;
use std::sync::Arc;

use host::{Error as HostError, Root};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use units::CpuSet;

use crate::Error;
use crate::assertions::{self, Machine};
use crate::boot;
use crate::cell::{Cell, Form, Reading};
use crate::draft::{Contradiction, Draft, Scope, Wish};
use crate::error::ProfileMistakes;
use crate::facts::Facts;
use crate::guard;
use crate::knobs::network::link;
use crate::lint::{self, View};
use crate::profile::Profile;
use crate::registry::Topic;
use crate::roles::Roles;
use crate::status::Status;
use crate::surroundings::Surroundings;

/// What was seen.
pub(crate) struct Survey {
    pub facts: Facts,
    pub roles: Roles,
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
        let mut facts = Facts { floor: profile.floor, ..Facts::read(root, profile.knobs()) };
        let roles = Roles::divide(&facts, &profile.isolated, profile.own_partition());
        facts.read_siblings(root, if asks_for_cores(profile) { &roles.online } else { &roles.isolated });
        let fenced = fenced(&roles, profile);
        if !fenced.is_empty() {
            facts.read_tasks(root, &fenced);
        }
        for wanted in &profile.wanted {
            if let Some(aspect) = link::aspect(wanted.knob.id) {
                facts.network.ask(root, aspect, &link::choice(wanted));
            }
            match wanted.knob.id {
                "net.flow" => facts.network.ask_steering(root, &link::choice(wanted)),
                "net.fw" => facts.network.ask_firmware(root, &link::choice(wanted)),
                _ => {}
            }
        }
        let mut draft = draft(&facts, &roles, profile);
        if !profile.assertions.is_empty() {
            let machine = Machine::read(root);
            draft.dangers.extend(assertions::broken(&profile.assertions, &machine, &facts, &roles));
        }
        if !draft.mistakes.is_empty() {
            return Err(Error::Profile(ProfileMistakes(draft.mistakes)));
        }
        let seen = std::mem::take(&mut draft.wishes).into_iter().map(|wish| look(root, wish)).collect();
        Ok(Self { facts, roles, draft, seen })
    }
}

impl Survey {
    /// What works against what.
    pub fn contradictions(&self, profile: &Profile, surroundings: &Surroundings) -> Vec<Contradiction> {
        let wishes = self.seen.iter().map(|seen| &seen.wish);
        let found = lint::contradictions(&View {
            profile,
            facts: &self.facts,
            roles: &self.roles,
            surroundings,
            wishes: wishes.filter_map(|wish| Some((wish.cell.path.as_str(), wish.to.as_deref()?))).collect(),
            arguments: self.draft.arguments.iter().map(|asked| asked.argument.as_str()).collect(),
        });
        self.draft.contradictions.iter().cloned().chain(found).collect()
    }
}

/// Whether it matters of any CPU, and not only of isolated ones, who shares its core.
fn asks_for_cores(profile: &Profile) -> bool {
    profile.wanted.iter().any(|wanted| wanted.knob.reads(Topic::Siblings))
        || assertions::ask_for_cores(&profile.assertions)
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
        // Nothing is written where all is well, which is nearly everywhere.
        Ok(Reading::Value { text, .. })
            if wish.to.as_ref().is_some_and(|to| wish.cell.satisfies(text, to)) =>
        {
            None
        }
        _ => unwritable(root, &wish.cell),
    };
    Seen { wish, reading, unwritable }
}

/// Asks the system, not the kernel attribute: a file's rights and its file system's state.
fn unwritable(root: &Root, cell: &Cell) -> Option<Errno> {
    if (cell.is_fleeting() || matches!(cell.form, Form::SwapArea { .. })) && root.is_system() {
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
    guard::division(facts, roles, profile, &mut draft);
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
    draft.settle_side_effects();
    guard::memory(&scope, profile, &mut draft);
    guard::swapped(&scope, profile, &mut draft);
    guard::offline(&scope, &mut draft);
    boot::compose(&scope, &mut draft);
    draft
}

/// The reason for which a file cannot be written.
pub(crate) fn unwritable_reason(errno: Errno) -> String {
    io::Error::from(errno).to_string()
}
