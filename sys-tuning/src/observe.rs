//! Effects that only a window shows: counters that stay as they are while a value holds.
//!
//! `observe` waits once for all of them; what it saw is kept in the state directory, so that a later verify can tell it with
//! its age. A look counts only in the boot in which it was taken, and only for the value that stood there all the time. It
//! never repairs a verdict: what does not read back is not looked at.

use std::collections::BTreeMap;

use host::threads::{monotonic_now, sleep_until};
use host::{Error as HostError, Root};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use units::Nanos;

use crate::Error;
use crate::cell::{Cell, Effect, Form, Reading};
use crate::engine::Engine;
use crate::profile::Profile;
use crate::registry::Sign;
use crate::state::StateDir;
use crate::status::Status;
use crate::survey::{Seen, Survey};
use crate::verify::{Verified, Verifying};

/// The counter of system management interrupts, which is a register of the processor.
pub(crate) const SMI_COUNTER: &str = "smi";

/// Where looks are kept.
const FILE: &str = "looks";

/// One effect, watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    knob: String,
    attribute: String,
    identity: String,
    /// What stood there all the time.
    value: String,
    boot: String,
    /// When it ended, in nanoseconds since that boot.
    ended_ns: u64,
    window_ns: u64,
    /// The counters that moved, and by how much.
    grew: BTreeMap<String, u64>,
    /// Those that say that something else moved the others.
    besides: BTreeMap<String, u64>,
}

impl Engine {
    /// Watches the counters of `profile`'s effects for `window`, and verifies. What was seen is kept where the state
    /// directory is there and may be written, and otherwise said not to be.
    ///
    /// # Errors
    /// As [`Engine::verify`].
    pub fn observe(&self, profile: &Profile, window: Nanos) -> Result<Verified, Error> {
        let before = Survey::take(&self.root, profile)?;
        let watched: Vec<(&Seen, Watch)> =
            before.seen.iter().filter_map(|seen| Some((seen, flat(seen)?))).collect();
        let (started, counted) = (monotonic_now(), count(&self.root, &watched));
        sleep_until(Nanos(started.0.saturating_add(window.0)));
        let (again, ended) = (count(&self.root, &watched), monotonic_now());
        let grown = |names: &[String]| -> BTreeMap<String, u64> {
            let one = |name: &String| {
                let grown = again.get(name)?.saturating_sub(*counted.get(name)?);
                (grown > 0).then(|| (name.clone(), grown))
            };
            names.iter().filter_map(one).collect()
        };
        let boot = self.boot_id()?;
        let look = |(seen, watch): &(&Seen, Watch)| {
            let is_counted =
                watch.counters.iter().any(|name| counted.contains_key(name) && again.contains_key(name));
            let wish = &seen.wish;
            let value = wish.to.clone()?;
            let still = wish.cell.read(&self.root).is_ok_and(|now| now.text() == value);
            (is_counted && still).then(|| Look {
                knob: wish.knob.id.to_owned(),
                attribute: wish.attribute.clone(),
                identity: wish.identity.clone(),
                value,
                boot: boot.clone(),
                ended_ns: ended.0,
                window_ns: (ended - started).0,
                grew: grown(&watch.counters),
                besides: grown(&watch.unless),
            })
        };
        let looks: Vec<Look> = watched.iter().filter_map(look).collect();
        let kept = self.keep(&looks);
        let mut verified = self.verify_with(profile, &looks)?;
        verified.notes.extend(kept.err().map(|why| format!("what was watched is not kept: {why}")));
        Ok(verified)
    }

    /// Keeps the looks, with what is known of other attributes.
    fn keep(&self, looks: &[Look]) -> Result<(), String> {
        let dir = StateDir::open(&self.state_dir).map_err(|error| error.to_string())?;
        let dir = dir.ok_or("nothing was ever applied here, so there is no state directory")?;
        let is_new = |old: &Look| {
            let same = |new: &&Look| {
                (&new.knob, &new.attribute, &new.identity) == (&old.knob, &old.attribute, &old.identity)
            };
            !looks.iter().any(|new| same(&new))
        };
        let old = self.looks().into_iter().filter(is_new);
        let all: Vec<Look> = old.chain(looks.iter().cloned()).collect();
        let text = serde_json::to_vec(&all).map_err(|error| error.to_string())?;
        dir.replace(FILE, &text).map_err(|error| error.to_string())
    }

    /// What was seen in this boot; nothing where it cannot be read: a look that is not there is no verdict.
    pub(crate) fn looks(&self) -> Vec<Look> {
        let read = || -> Option<Vec<Look>> {
            let dir = StateDir::open(&self.state_dir).ok()??;
            let mut file = dir.file(FILE, OFlag::O_RDONLY, "read it").ok()??;
            let mut text = String::new();
            std::io::Read::read_to_string(&mut file, &mut text).ok()?;
            serde_json::from_str(&text).ok()
        };
        let Ok(boot) = self.boot_id() else { return Vec::new() };
        let mut looks = read().unwrap_or_default();
        looks.retain(|look| look.boot == boot);
        looks
    }
}

/// What has to stay flat of one wish, when its value stands there.
fn flat(seen: &Seen) -> Option<Watch> {
    let want = seen.wish.to.as_deref()?;
    let holds =
        matches!(&seen.reading, Ok(Reading::Value { text, .. }) if seen.wish.cell.satisfies(text, want));
    watch_of(&seen.wish.cell, want).filter(|_| holds)
}

/// Counters to watch, and those that say that something else moved them.
struct Watch {
    counters: Vec<String>,
    unless: Vec<String>,
}

fn watch_of(cell: &Cell, want: &str) -> Option<Watch> {
    let attribute = match &cell.effect {
        Effect::Declared { attribute, .. } => attribute,
        // An idle state that is forbidden is entered no more.
        Effect::Unused(usage) if want == "1" => {
            return Some(Watch { counters: vec![usage.clone()], unless: Vec::new() });
        }
        _ => return None,
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let signs: &[Sign] = if let Sign::All(signs) = attribute.sign { signs } else { &[attribute.sign] };
    signs.iter().find_map(|sign| match sign {
        Sign::Flat(flat) if flat.of.contains(&want) => {
            Some(Watch { counters: named(flat.counters), unless: named(flat.unless) })
        }
        _ => None,
    })
}

/// The counters there are.
fn count(root: &Root, watched: &[(&Seen, Watch)]) -> BTreeMap<String, u64> {
    let vmstat = root.read_lossy("/proc/vmstat").unwrap_or_default();
    let of_kernel: BTreeMap<&str, u64> = vmstat
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, n)| Some((name, n.parse().ok()?)))
        .collect();
    let number =
        |path: &str| -> Result<Option<u64>, HostError> { Ok(root.read_lossy(path)?.trim().parse().ok()) };
    let read = |name: &str| match name {
        SMI_COUNTER => host::msr::smis(root).ok(),
        path if path.starts_with('/') => number(path).ok().flatten(),
        _ => of_kernel.get(name).copied(),
    };
    let names = watched.iter().flat_map(|(_, watch)| watch.counters.iter().chain(&watch.unless));
    names.filter_map(|name| Some((name.clone(), read(name)?))).collect()
}

/// Adds to a row that is fine what a window showed.
pub(crate) fn judge(row: Verifying, cell: &Cell, looks: &[Look]) -> Verifying {
    let want = row.want.clone().unwrap_or_default();
    if row.status != Status::Ok || watch_of(cell, &want).is_none() {
        return row;
    }
    let is_of = |look: &&Look| {
        (look.knob.as_str(), &look.attribute, &look.identity, &look.value)
            == (row.knob, &row.attribute, &row.identity, &want)
    };
    let Some(look) = looks.iter().find(is_of) else {
        let reason = "only a window shows it: `quell tune verify --observe 10s`".to_owned();
        return match cell.form {
            Form::Inferred(_) => Verifying { status: Status::Pending, reason, ..row }, // nothing else speaks for it
            _ => row,
        };
    };
    let told = |counters: &BTreeMap<String, u64>| {
        counters.iter().map(|(name, by)| format!("{name} by {by}")).collect::<Vec<_>>().join(", ")
    };
    let age = Nanos(monotonic_now().0.saturating_sub(look.ended_ns));
    let row = Verifying {
        observed_for_s: Some(Nanos(look.window_ns).as_secs_f64()),
        observed_ago_s: Some(age.as_secs_f64()),
        ..row
    };
    match (look.grew.is_empty(), look.besides.is_empty()) {
        (true, _) => row,
        (false, true) => {
            let reason = format!("it reads {want}, and its effect goes on: {} grew", told(&look.grew));
            Verifying { status: Status::Failed, reason, ..row }
        }
        (false, false) => {
            let (grew, besides) = (told(&look.grew), told(&look.besides));
            let reason =
                format!("cannot be told: {grew} grew, but so did {besides}, which moves it too; watch again");
            Verifying { status: Status::Pending, reason, ..row }
        }
    }
}
