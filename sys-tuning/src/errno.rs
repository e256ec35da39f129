//! What the kernel's refusals mean, as one table.
//!
//! The same number means different things to different knobs, and some of them are no failure at all: an interrupt that
//! belongs to its driver is not applicable, whichever number the kernel's version says it with.

use host::Error;
use nix::libc::{
    EACCES, EAGAIN, EBUSY, EINTR, EINVAL, EIO, ENOMEM, ENOSPC, ENOTEMPTY, EOPNOTSUPP, EPERM, EROFS,
};

use crate::knobs;
use crate::status::Status;

/// A refusal, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: Status,
    pub reason: String,
    /// As long as this boot lasts the answer will be the same.
    pub for_good: bool,
}

/// What to do about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Nothing to do here, ever.
    NotApplicable,
    /// It may work in a moment.
    Again,
    /// It will not work.
    Failed,
}

/// For which knob (empty: any), which number, what it means. The first row that fits counts.
const TABLE: &[(&str, i32, Meaning, &str)] = &[
    ("irq.aff", EPERM, Meaning::NotApplicable, knobs::interrupts::irq_aff::MANAGED), // Linux 6.12 and later
    ("irq.aff", EIO, Meaning::NotApplicable, knobs::interrupts::irq_aff::MANAGED),   // before
    ("irq.aff", ENOSPC, Meaning::Failed, "the CPUs have no free interrupt vector left; allow more CPUs"),
    ("irq.aff", EINVAL, Meaning::Failed, "no CPU of the list is on line"),
    ("iso.cpuset1", EBUSY, Meaning::Failed, "the group still has tasks; move them away first"),
    ("iso.cpuset2", EBUSY, Meaning::Failed, "the group still has tasks; move them away first"),
    ("iso.cpuset1", ENOTEMPTY, Meaning::Failed, "the group has groups below it; remove them first"),
    ("iso.cpuset2", ENOTEMPTY, Meaning::Failed, "the group has groups below it; remove them first"),
    ("cpu.boost", EPERM, Meaning::NotApplicable, "the firmware has turbo frequencies switched off"),
    ("cpu.boost", EINVAL, Meaning::Failed, "a policy's boost is refused while the machine's is off"),
    ("cpu.epp", EBUSY, Meaning::Failed, knobs::power::preference::UNDER_PERFORMANCE),
    ("iso.watchdog", EPERM, Meaning::NotApplicable, knobs::isolation::watchdog::NO_COUNTER),
    ("iso.watchdog", EACCES, Meaning::NotApplicable, knobs::isolation::watchdog::NO_COUNTER),
    (
        "mem.swapoff",
        EPERM,
        Meaning::Failed,
        "it takes CAP_SYS_ADMIN, which the keeper does not have; `quell tune apply` by root has",
    ),
    ("mem.swapoff", ENOMEM, Meaning::Failed, "what is swapped out does not fit into memory"),
    ("mem.swapoff", EINVAL, Meaning::Failed, "there is no area to swap to any more"),
    (
        "net.flow",
        EOPNOTSUPP,
        Meaning::Failed,
        "its driver takes no such rule; most want net.offload ntuple on first",
    ),
    ("net.flow", ENOSPC, Meaning::Failed, "the card has no place left for a rule"),
    ("iso.smt", EBUSY, Meaning::Failed, "the kernel has switching of hardware threads disabled for now"),
    (
        "iso.offline",
        EBUSY,
        Meaning::Failed,
        "the kernel needs this CPU: it may be the last that serves some device",
    ),
    ("mem.cat", EBUSY, Meaning::Failed, "the processor has no class of service left for another group"),
    ("mem.cat", ENOSPC, Meaning::Failed, "the processor has no class of service left for another group"),
    ("", EOPNOTSUPP, Meaning::NotApplicable, "its driver cannot set this"),
    ("", EINTR, Meaning::Again, "interrupted"),
    ("", EAGAIN, Meaning::Again, "the kernel was busy with it"),
    ("", EBUSY, Meaning::Again, "the kernel was busy with it"),
    ("", ENOMEM, Meaning::Failed, "the kernel had no memory for it"),
    ("", EINVAL, Meaning::Failed, "the kernel refuses this value here"),
    ("", EROFS, Meaning::Failed, "mounted read-only (a container, or a protected kernel)"),
    ("", EACCES, Meaning::Failed, "no right to write it; run as root"),
    ("", EPERM, Meaning::Failed, "not permitted (a capability is missing, or the kernel is locked down)"),
];

fn row(knob: &str, error: &Error) -> Option<(Meaning, &'static str)> {
    let number = error.errno()?;
    let fits =
        |(of, errno, ..): &&(&str, i32, Meaning, &str)| (of.is_empty() || *of == knob) && *errno == number;
    TABLE.iter().find(fits).map(|(_, _, meaning, words)| (*meaning, *words))
}

/// Whether the same write may work in a moment.
pub(crate) fn is_transient(knob: &str, error: &Error) -> bool {
    matches!(row(knob, error), Some((Meaning::Again, _)))
}

/// What the kernel's refusal of a write means.
pub(crate) fn refusal(knob: &str, error: &Error) -> Refusal {
    match row(knob, error) {
        Some((Meaning::NotApplicable, words)) => {
            Refusal { status: Status::NotApplicable, reason: words.to_owned(), for_good: true }
        }
        Some((_, words)) => {
            Refusal { status: Status::Failed, reason: format!("{error} ({words})"), for_good: false }
        }
        None => Refusal { status: Status::Failed, reason: error.to_string(), for_good: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(knob: &str, errno: i32, expected: &str) {
        let cause = std::io::Error::from_raw_os_error(errno);
        let error = Error::Write { path: "/f".into(), value: "1".into(), cause };
        let Refusal { status, for_good, .. } = refusal(knob, &error);
        let again = if is_transient(knob, &error) { ", again" } else { "" };
        let lasting = if for_good { ", for good" } else { "" };
        assert_eq!(format!("{status}{again}{lasting}"), expected);
    }

    #[test]
    fn refusals() {
        check("irq.aff", EPERM, "not-applicable, for good");
        check("irq.aff", EIO, "not-applicable, for good");
        check("irq.aff", ENOSPC, "failed");
        check("irq.aff", EBUSY, "failed, again");
        check("mem.swap", EPERM, "failed");
        check("mem.swap", EIO, "failed");
        check("mem.swap", EINVAL, "failed");
        check("mem.swap", EROFS, "failed");
        check("iso.cpuset1", EBUSY, "failed"); // tasks do not leave by themselves
        check("", EAGAIN, "failed, again");
        check("", EINTR, "failed, again");
        check("", nix::libc::ENODEV, "failed"); // in no row
    }
}
