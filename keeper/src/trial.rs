//! The trial of this boot's command line: judged once, when the host has come up and settled.
//!
//! A boot that got this far, and whose kernel accepted every argument, makes the line the one that every boot has; what
//! was refused, or cannot be seen, is told. Without a trial nothing is opened and nothing is written.

use std::os::fd::BorrowedFd;

use sys_tuning::Error;
use sys_tuning::boot::{Confirm, Judged, Settled, Verdict};
use units::Nanos;

use crate::audit::{Entry, Level};
use crate::duty::Duty;
use crate::moment::Moment;
use crate::source::Source;

/// Between two attempts while another engine holds the lock.
const RETRY: Nanos = Nanos::from_secs(1);

/// The judgement that is due.
#[derive(Debug)]
pub struct Trial {
    due: Option<Nanos>,
}

impl Trial {
    /// Due at `due`, by CLOCK_MONOTONIC.
    #[must_use]
    pub const fn due_at(due: Nanos) -> Self {
        Self { due: Some(due) }
    }
}

impl Source for Trial {
    fn descriptors<'s>(&'s self, _: &mut Vec<BorrowedFd<'s>>) {}

    fn deadline(&self) -> Option<Nanos> {
        self.due
    }

    fn on_ready(&mut self, now: Moment, duty: &mut Duty) {
        self.due = None;
        let entry = match duty.engine.settle_boot(Confirm::ByEvidence) {
            Ok(Settled::Nothing) => return,
            Err(Error::Busy { .. }) => {
                self.due = Some(now.monotonic + RETRY);
                return;
            }
            Ok(settled) => told(&settled),
            Err(error) => Entry::new(Level::Error, "boot-line").text("reason", &error.to_string()),
        };
        duty.audit.tell(now.wall, &entry);
    }
}

fn told(settled: &Settled) -> Entry {
    let entry = |level, outcome: &str, arguments: &str| {
        Entry::new(level, "boot-line").text("outcome", outcome).text("arguments", arguments)
    };
    let reason = |judged: &[Judged], verdict| {
        let told = judged.iter().filter(|one| one.verdict == verdict);
        told.map(|one| format!("{}: {}", one.argument, one.reason)).collect::<Vec<_>>().join("; ")
    };
    match settled {
        Settled::Nothing => entry(Level::Info, "no trial", ""),
        Settled::Kept { line, .. } => entry(Level::Notice, "kept", &line.arguments),
        Settled::Refused { line, judged } => entry(Level::Error, "refused by the kernel", &line.arguments)
            .text("reason", &reason(judged, Verdict::Refused)),
        Settled::PassedOver { line, is_armed_again: true } => {
            entry(Level::Warning, "passed over by another entry; the next boot tries it", &line.arguments)
        }
        Settled::PassedOver { line, .. } => entry(
            Level::Error,
            "passed over twice; not tried again (quell tune boot forget)",
            &line.arguments,
        ),
        Settled::NotTaken { line } => entry(
            Level::Error,
            "left armed by GRUB: it cannot write its block, or was not asked (quell tune boot forget)",
            &line.arguments,
        ),
        Settled::Undecided { line, judged } => {
            entry(Level::Warning, "to be confirmed (quell tune boot confirm)", &line.arguments)
                .text("reason", &reason(judged, Verdict::Unknown))
        }
    }
}
