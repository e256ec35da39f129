//! Profiles made of the registry alone, so that a knob that is added is tried without a word here; and what a plan comes
//! to on a kernel that does as it is told.

use std::collections::BTreeSet;

use host::threads::Policy;
use sys_tuning::registry::{self, Attribute, Kind, Knob, Sign};
use sys_tuning::{Change, Plan, Profile, Step};

use super::{Kernel, Truth, rules};
use crate::dice::Dice;

/// The head of a profile; `isolated` as in `[cpus]`.
pub fn profile(isolated: &str, knobs: &[(&Knob, String)]) -> String {
    let lines: Vec<String> =
        knobs.iter().map(|(knob, settings)| format!("{:?} = {settings}", knob.id)).collect();
    format!(
        "schema = \"quell.profile/1\"\n[cpus]\nisolated = \"{isolated}\"\n[knobs]\n{}\n",
        lines.join("\n")
    )
}

pub fn parse(text: &str) -> Profile {
    Profile::parse("wishes.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Values for every attribute of a knob, but for one of two that exclude each other.
pub fn settings(knob: &Knob, dice: &mut Dice) -> String {
    let mut given: Vec<(&str, String)> = Vec::new();
    for attribute in knob.attributes {
        let is_said = |name: &str| given.iter().any(|(other, _)| *other == name);
        let excluded = attribute.excludes.is_some_and(is_said)
            || knob.attributes.iter().any(|one| one.excludes == Some(attribute.name) && is_said(one.name));
        if excluded || attribute.excludes.is_some() && dice.once_in(2) && !is_last(knob, attribute) {
            continue;
        }
        if let Some(value) = value(attribute.kind, dice) {
            given.push((attribute.name, value));
        }
    }
    let given: Vec<String> = given.into_iter().map(|(name, value)| format!("{name:?} = {value}")).collect();
    format!("{{ {} }}", given.join(", "))
}

fn is_last(knob: &Knob, attribute: &Attribute) -> bool {
    knob.attributes.last().is_some_and(|last| last.name == attribute.name)
}

fn value(kind: Kind, dice: &mut Dice) -> Option<String> {
    Some(match kind {
        Kind::Integer { min, max } => {
            let near =
                [min, min.saturating_add(1), min.saturating_add(7), 1, 2, 5, 10, 100, 600, 16_384, max];
            let fitting: Vec<i64> = near.into_iter().filter(|n| (min..=max).contains(n)).collect();
            dice.pick(&fitting).to_string()
        }
        Kind::Choice(words) => format!("{:?}", dice.pick(words)),
        Kind::Flag => dice.once_in(2).to_string(),
        Kind::Cpus => format!("{:?}", dice.pick(&["housekeeping", "isolated", "0", "1", "0-1"])),
        Kind::Nodes { max } => {
            let pages = usize::try_from(max).unwrap_or(usize::MAX).min(9);
            format!("{{ node0 = {} }}", dice.below(pages + 1))
        }
        Kind::Latency => dice.pick(&["0", "20", "\"any\""]).to_string(),
        Kind::Group => "\"quell\"".to_owned(),
        _ => return None,
    })
}

/// What comes of a plan's steps, one change after the other.
pub struct Followed {
    pub kernel: Kernel,
    /// Of each change, the files and directories that it changes and that no later one changes again.
    pub touched: Vec<BTreeSet<String>>,
}

impl Followed {
    /// The plan carried out to the letter on a kernel like `base`.
    pub fn plan(base: &Kernel, plan: &Plan) -> Self {
        let mut followed = Self { kernel: base.clone(), touched: Vec::new() };
        for change in &plan.changes {
            let before = followed.kernel.truth();
            change.steps.iter().for_each(|step| follow(&mut followed.kernel, step));
            let after = followed.kernel.truth();
            let written = written(change);
            let made = change.steps.iter().filter_map(|step| match step {
                Step::MakeDir { path } => Some(path),
                _ => None,
            });
            let counts =
                |path: &String| written.contains(path) || is_effect(path) && before.contains_key(path);
            let mut touched: BTreeSet<String> = changed(&before, &after).into_iter().filter(counts).collect();
            touched.extend(made.cloned());
            followed.touched.iter_mut().for_each(|earlier| earlier.retain(|path| !touched.contains(path)));
            followed.touched.push(touched);
        }
        followed
    }

    /// Whether the change `index` is as it was to come.
    pub fn is_so(&self, index: usize, now: &Truth) -> bool {
        let wanted = self.kernel.truth();
        self.touched[index].iter().all(|path| now.get(path) == wanted.get(path))
    }
}

/// Whether a file shows what came of another one's value, rather than what happens beside it: the memory that a pool
/// leaves free is no effect of the pool.
pub fn is_effect(path: &str) -> bool {
    path.contains("effective")
        || path.ends_with("/cpuset.cpus.isolated")
        || path == rules::WORKQUEUE
        || is_shown(path)
}

/// Whether a row of the registry declares that it shows what came of another file.
fn is_shown(path: &str) -> bool {
    let is_it = |attribute: &Attribute| matches!(attribute.sign, Sign::Shown(shown) if alike(shown, path));
    registry::all().iter().any(|knob| knob.attributes.iter().any(is_it))
}

fn alike(pattern: &str, path: &str) -> bool {
    let (before, rest) = pattern.split_once('{').unwrap_or((pattern, ""));
    path.starts_with(before) && path.ends_with(rest.split_once('}').map_or("", |(_, after)| after))
}

fn changed(before: &Truth, after: &Truth) -> BTreeSet<String> {
    let paths = before.keys().chain(after.keys());
    paths.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// The files that a change writes itself.
pub fn written(change: &Change) -> Vec<String> {
    let path = |step: &Step| match step {
        Step::Write { path, .. } => Some(path.clone()),
        Step::Affinity { tid, .. } => Some(format!("{}/status", host::affinity::dir(*tid))),
        Step::Schedule { tid, .. } => Some(format!("{}/stat", host::affinity::dir(*tid))),
        _ => None,
    };
    let mut paths: Vec<String> = change.steps.iter().filter_map(path).collect();
    paths.dedup();
    paths
}

/// What the kernel refuses of a plan, it refuses here too.
fn follow(kernel: &mut Kernel, step: &Step) {
    let _ = match step {
        Step::Write { path, text } => rules::write(kernel, path, text.as_bytes()),
        Step::MakeDir { path } => kernel.make_dir(path),
        Step::RemoveDir { path } => kernel.remove_dir(path),
        Step::Affinity { tid, cpus, .. } => {
            let path = format!("{}/status", host::affinity::dir(*tid));
            rules::write(kernel, &path, format!("Cpus_allowed_list:\t{cpus}\n").as_bytes())
        }
        Step::Schedule { tid, policy, .. } => {
            let path = format!("{}/stat", host::affinity::dir(*tid));
            let stat = scheduled(kernel.text(&path), *policy);
            rules::write(kernel, &path, stat.as_bytes())
        }
        _ => Ok(()),
    };
}

/// A thread's stat(5) line once it is scheduled so. An ordinary thread's priority is 20 above its nice value.
// Format: "50 (irq/24-ACPI) S 2 ..."; counted from 1, field 18 is the priority, 19 the nice value, 40 the real-time
// priority and 41 the policy
fn scheduled(stat: &str, policy: Policy) -> String {
    let Some((name, rest)) = stat.rsplit_once(") ") else { return stat.to_owned() };
    let mut fields: Vec<String> = rest.split(' ').map(str::to_owned).collect();
    let nice: i64 = fields[19 - 3].parse().unwrap();
    let (priority, realtime, class) = match policy {
        Policy::Other => (20 + nice, 0, 0),
        Policy::Fifo(realtime) => (-1 - i64::from(realtime), realtime, 1),
    };
    fields[18 - 3] = priority.to_string();
    fields[40 - 3] = realtime.to_string();
    fields[41 - 3] = class.to_string();
    format!("{name}) {}", fields.join(" "))
}
