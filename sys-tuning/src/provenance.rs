//! Who else sets what quell tunes: the files and programs of this machine that are seen to write the same kernel files.
//!
//! Found are lines (`sysctl.d`, `tmpfiles.d`, udev's rules, TuneD's profiles, the kernel's command line) and irqbalance. A
//! line owns a value when the file holds just what the line sets; of several the one that acts last: irqbalance all the
//! time, TuneD whenever it starts, then tmpfiles.d, sysctl.d, udev and the command line in a boot. What nobody of these
//! says was written by somebody unknown. Read only when something is not as it was wanted; every list is bounded.

use std::cell::OnceCell;

use host::irqbalance::Irqbalance;
use host::tuned::Tuned;
use host::{Root, choice, sysctl, sysctl_d, tmpfiles_d, udev_rules};

use crate::cell::{Cell, Step};
use crate::drift::Drift;
use crate::engine::Engine;
use crate::facts::Facts;
use crate::plan::Plan;
use crate::registry;
use crate::status::Status;
use crate::verify::Verified;

impl Engine {
    /// Says of each attribute that is not as it is wanted who set what stands there, and what ends it. For a person who
    /// asks: it reads the configuration of other programs.
    pub fn name_owners(&self, verified: &mut Verified) {
        let is_asked = |status: Status| matches!(status, Status::Drifted | Status::Failed);
        let mut rows: Vec<_> = verified
            .knobs
            .iter_mut()
            .filter(|row| row.owner.is_none() && row.have.is_some() && is_asked(row.status))
            .collect();
        let facts = self.facts_of(rows.iter().map(|row| row.knob));
        let rivals = Rivals::of(self.root());
        for row in &mut rows {
            let Some(cell) = cell(&facts, row.knob, &row.attribute, &row.identity) else { continue };
            match rivals.owner(&cell.files()) {
                Some(claim) => {
                    let then = row.fix.take().map(|fix| format!("; then {fix}")).unwrap_or_default();
                    row.fix = Some(format!("{}{then}", claim.fix));
                    row.owner = Some(claim.who);
                }
                // What was never ours may be the kernel's own value.
                None => row.owner = (row.status == Status::Drifted).then(|| UNKNOWN.to_owned()),
            }
        }
    }

    /// Says of each value that drifted who set what stands there.
    pub fn name_writers(&self, drift: &mut Drift) {
        let is_asked = |status: Status| status == Status::Drifted;
        let mut rows: Vec<_> =
            drift.drifted.iter_mut().filter(|row| row.by.is_none() && is_asked(row.status)).collect();
        let facts = self.facts_of(rows.iter().map(|row| row.knob.as_str()));
        let rivals = Rivals::of(self.root());
        for row in &mut rows {
            let Some(cell) = cell(&facts, &row.knob, &row.attribute, &row.identity) else { continue };
            let owner = rivals.owner(&cell.files());
            row.by = Some(owner.map_or_else(|| UNKNOWN.to_owned(), |claim| claim.who));
        }
    }

    /// Says of each change who will undo it, at the next boot or before, unless that is among the plan's contradictions.
    pub fn name_rivals(&self, plan: &mut Plan) {
        let rivals = Rivals::of(self.root());
        let Plan { changes, contradictions, .. } = plan;
        let is_told =
            |who: &str| contradictions.iter().any(|told| told.reason.starts_with(&format!("{who} ")));
        for change in changes {
            let Some(claim) = rivals.undoing(&change.steps).filter(|claim| !is_told(&claim.who)) else {
                continue;
            };
            let does =
                claim.value.map_or("decides it anew".to_owned(), |value| format!("sets it to {value}"));
            let also = format!("{} {does}", claim.who);
            let also = if change.reason.is_empty() { also } else { format!("; {also}") };
            change.reason.push_str(&also);
        }
    }

    fn facts_of<'a>(&self, knobs: impl Iterator<Item = &'a str>) -> Facts {
        Facts::read(self.root(), knobs.filter_map(registry::find))
    }
}

fn cell(facts: &Facts, knob: &str, attribute: &str, identity: &str) -> Option<Cell> {
    registry::find(knob)?.cell(facts, attribute, identity)
}

/// Somebody who sets a kernel file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    /// Who, as a place to look at: `/etc/sysctl.d/60-x.conf:3`.
    who: String,
    /// What it sets; `None` for a program that decides anew each time.
    value: Option<String>,
    /// What ends it.
    fix: String,
}

/// Everybody who may set something.
struct Rivals<'a> {
    root: &'a Root,
    sources: OnceCell<Sources>,
}

struct Sources {
    irqbalance: Option<Irqbalance>,
    tuned: Option<Tuned>,
    tmpfiles: Vec<tmpfiles_d::Write>,
    sysctl: sysctl_d::Assignments,
    rules: Vec<udev_rules::Rule>,
    command_line: String,
}

/// What a value was set by that none of the known ones sets.
const UNKNOWN: &str = "unknown writer";

impl<'a> Rivals<'a> {
    /// Reads nothing yet.
    fn of(root: &'a Root) -> Self {
        Self { root, sources: OnceCell::new() }
    }

    /// Who set what the first of these files that has an owner holds.
    fn owner(&self, paths: &[&str]) -> Option<Claim> {
        paths.iter().find_map(|path| self.claims(path).into_iter().find(|claim| self.stands(claim, path)))
    }

    /// Who will undo these steps at the next boot, or before.
    fn undoing(&self, steps: &[Step]) -> Option<Claim> {
        steps.iter().find_map(|step| {
            let Step::Write { path, text } = step else { return None };
            let last = self.claims(path).into_iter().next()?;
            let agrees = last.value.as_deref().is_some_and(|value| sysctl::same_value(value, text));
            (!agrees).then_some(last)
        })
    }

    /// Everybody who sets `path`, whoever acts last first.
    fn claims(&self, path: &str) -> Vec<Claim> {
        let Sources { irqbalance, tuned, tmpfiles, sysctl, rules, command_line } =
            self.sources.get_or_init(|| Sources::read(self.root));
        let line = |file: &str, line: usize, value: &str, what: &str| Claim {
            who: format!("{file}:{line}"),
            value: Some(value.to_owned()),
            fix: format!("change or remove {file}:{line} ({what} sets {value} there)"),
        };
        let balanced =
            irqbalance.as_ref().filter(|balance| irq_of(path).is_some_and(|irq| balance.may_move(irq)));
        let balanced = balanced.map(|balance| Claim {
            who: format!("irqbalance (process {})", balance.pid),
            value: None,
            fix: "systemctl mask --now irqbalance, or ban the interrupt in its configuration".to_owned(),
        });
        let tuned = tuned.as_ref().and_then(|tuned| tuned.deciding(path).map(|setting| (tuned, setting)));
        let tuned = tuned.map(|(tuned, setting)| {
            let profile = tuned.profile.as_deref().unwrap_or("?");
            Claim {
                who: format!("TuneD, profile {profile} ({}:{})", setting.file, setting.line),
                value: Some(setting.value.clone()),
                fix: "tuned-adm off, or take the setting out of its profile".to_owned(),
            }
        });
        let written = tmpfiles_d::deciding(tmpfiles, path);
        let written = written.map(|one| line(&one.file, one.line, &one.value, "systemd-tmpfiles"));
        let assigned = sysctl.deciding(path).and_then(|one| Some((one, one.value.as_deref()?)));
        let assigned = assigned.map(|(one, value)| line(&one.file, one.line, value, "systemd-sysctl"));
        let ruled = udev_rules::deciding(rules, path);
        let ruled = ruled.map(|rule| line(&rule.file, rule.line, &rule.value, "udev"));
        let booted = sysctl_d::on_command_line(command_line, path).map(|value| Claim {
            who: format!("the kernel's command line (sysctl, {value})"),
            value: Some(value),
            fix: "take the sysctl. argument off the boot line".to_owned(),
        });
        [balanced, tuned, written, assigned, ruled, booted].into_iter().flatten().collect()
    }

    /// Whether the file holds what is claimed; a program that decides anew each time is taken to have.
    fn stands(&self, claim: &Claim, path: &str) -> bool {
        let Some(value) = &claim.value else { return true };
        let Ok(text) = self.root.read_lossy(path) else { return false };
        let now = choice::current(&text).unwrap_or(&text);
        sysctl::same_value(now, value)
    }
}

impl Sources {
    fn read(root: &Root) -> Self {
        Self {
            irqbalance: Irqbalance::read(root),
            tuned: Tuned::read(root),
            tmpfiles: tmpfiles_d::read(root),
            sysctl: sysctl_d::Assignments::read(root),
            rules: udev_rules::read(root),
            command_line: root.read_lossy("/proc/cmdline").unwrap_or_default(),
        }
    }
}

/// The interrupt whose CPUs the file is about.
fn irq_of(path: &str) -> Option<u32> {
    let (irq, file) = path.strip_prefix("/proc/irq/")?.split_once('/')?;
    file.starts_with("smp_affinity").then(|| irq.parse().ok()).flatten()
}
