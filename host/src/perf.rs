//! Kernel events of one CPU in a ring that only has to be looked at: tracepoints through perf_event_open(2).
//!
//! Whoever may (root, CAP_PERFMON) finds the tracepoints of this kernel ([`Catalogue`]) and [opens](open) one event for
//! each on a CPU. The descriptors can be handed to a process without any right, which maps the first one and sends the
//! others' records into the same ring ([`Ring`]). An event lives as long as one of its descriptors is open, wherever.
//!
//! What it costs the CPU that is watched: one inter-processor interrupt for each event at opening and at the last close,
//! and a rewriting of the kernel's code on all CPUs when a tracepoint is first used; then only the events themselves.
//! Nobody is woken, so nothing is sent anywhere, but for one thing that the kernel does not let us switch off: each time
//! a whole ring's worth of bytes was written it queues one piece of work on that CPU for itself (an `irq-work`
//! interrupt, seen here as such). Reading costs the watched CPU nothing; a *counter* of another CPU must never be read,
//! because each read interrupts it.
//!
//! Time stamps are CLOCK_MONOTONIC_RAW, because the ring's own clock cannot be converted in virtual machines. Sources:
//! perf_event_open(2); Documentation/trace/events.rst.

mod catalogue;
mod ring;
mod sys;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use units::CpuId;

pub use catalogue::{Catalogue, Found};
pub use ring::{Drained, Event, Label, Ring};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The scheduler gave the CPU to another thread.
    Switch,
    /// A device's interrupt.
    Irq,
    /// Work that an interrupt put off.
    Softirq,
    /// The CPU's own timer.
    Timer,
    /// Another CPU asked this one to look at its run queue.
    Reschedule,
    /// Another CPU had this one call a function, together with others (TLB flushes, code patching).
    Call,
    /// Another CPU had this one alone call a function.
    CallSingle,
    /// Work that the kernel queued for interrupt context.
    IrqWork,
    /// A page that was not there when a program touched it.
    PageFault,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 9] = [
        Self::Switch,
        Self::Irq,
        Self::Softirq,
        Self::Timer,
        Self::Reschedule,
        Self::Call,
        Self::CallSingle,
        Self::IrqWork,
        Self::PageFault,
    ];

    /// The word for it in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "context-switch",
            Self::Irq => "irq",
            Self::Softirq => "softirq",
            Self::Timer => "local-timer",
            Self::Reschedule => "reschedule-ipi",
            Self::Call => "function-call-ipi",
            Self::CallSingle => "single-call-ipi",
            Self::IrqWork => "irq-work",
            Self::PageFault => "page-fault",
        }
    }

    /// Its place in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where in what it is about an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// It begins.
    Begin,
    /// It ends.
    End,
    /// It has no length.
    Instant,
}

/// Tracepoints of the fixed set, and so descriptors a CPU.
pub const POINTS: usize = 15;

/// One tracepoint of the fixed set; its number is its name between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// `sched:sched_switch`.
    Switch = 0,
    /// `irq:irq_handler_entry`.
    IrqEntry = 1,
    /// `irq:irq_handler_exit`.
    IrqExit = 2,
    /// `irq:softirq_entry`.
    SoftirqEntry = 3,
    /// `irq:softirq_exit`.
    SoftirqExit = 4,
    /// `irq_vectors:local_timer_entry`.
    TimerEntry = 5,
    /// `irq_vectors:local_timer_exit`.
    TimerExit = 6,
    /// `irq_vectors:reschedule_entry`.
    RescheduleEntry = 7,
    /// `irq_vectors:reschedule_exit`.
    RescheduleExit = 8,
    /// `irq_vectors:call_function_entry`.
    CallEntry = 9,
    /// `irq_vectors:call_function_exit`.
    CallExit = 10,
    /// `irq_vectors:call_function_single_entry`.
    CallSingleEntry = 11,
    /// `irq_vectors:call_function_single_exit`.
    CallSingleExit = 12,
    /// `irq_vectors:irq_work_entry`. Its end may not be recorded: the kernel refuses it, because recording may itself
    /// queue such work.
    IrqWork = 13,
    /// `exceptions:page_fault_user`.
    PageFault = 14,
}

impl Point {
    /// Every tracepoint, in the order of their numbers.
    pub const ALL: [Self; POINTS] = [
        Self::Switch,
        Self::IrqEntry,
        Self::IrqExit,
        Self::SoftirqEntry,
        Self::SoftirqExit,
        Self::TimerEntry,
        Self::TimerExit,
        Self::RescheduleEntry,
        Self::RescheduleExit,
        Self::CallEntry,
        Self::CallExit,
        Self::CallSingleEntry,
        Self::CallSingleExit,
        Self::IrqWork,
        Self::PageFault,
    ];

    /// The one with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its group and its name in tracefs.
    #[must_use]
    pub const fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Switch => ("sched", "sched_switch"),
            Self::IrqEntry => ("irq", "irq_handler_entry"),
            Self::IrqExit => ("irq", "irq_handler_exit"),
            Self::SoftirqEntry => ("irq", "softirq_entry"),
            Self::SoftirqExit => ("irq", "softirq_exit"),
            Self::TimerEntry => ("irq_vectors", "local_timer_entry"),
            Self::TimerExit => ("irq_vectors", "local_timer_exit"),
            Self::RescheduleEntry => ("irq_vectors", "reschedule_entry"),
            Self::RescheduleExit => ("irq_vectors", "reschedule_exit"),
            Self::CallEntry => ("irq_vectors", "call_function_entry"),
            Self::CallExit => ("irq_vectors", "call_function_exit"),
            Self::CallSingleEntry => ("irq_vectors", "call_function_single_entry"),
            Self::CallSingleExit => ("irq_vectors", "call_function_single_exit"),
            Self::IrqWork => ("irq_vectors", "irq_work_entry"),
            Self::PageFault => ("exceptions", "page_fault_user"),
        }
    }

    /// What it is about, and whether that begins or ends with it.
    #[must_use]
    pub const fn meaning(self) -> (Class, Edge) {
        match self {
            Self::Switch => (Class::Switch, Edge::Instant),
            Self::IrqEntry => (Class::Irq, Edge::Begin),
            Self::IrqExit => (Class::Irq, Edge::End),
            Self::SoftirqEntry => (Class::Softirq, Edge::Begin),
            Self::SoftirqExit => (Class::Softirq, Edge::End),
            Self::TimerEntry => (Class::Timer, Edge::Begin),
            Self::TimerExit => (Class::Timer, Edge::End),
            Self::RescheduleEntry => (Class::Reschedule, Edge::Begin),
            Self::RescheduleExit => (Class::Reschedule, Edge::End),
            Self::CallEntry => (Class::Call, Edge::Begin),
            Self::CallExit => (Class::Call, Edge::End),
            Self::CallSingleEntry => (Class::CallSingle, Edge::Begin),
            Self::CallSingleExit => (Class::CallSingle, Edge::End),
            Self::IrqWork => (Class::IrqWork, Edge::Instant),
            Self::PageFault => (Class::PageFault, Edge::Instant),
        }
    }

    /// The fields that are read of it: a number, and a name.
    const fn fields(self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Switch => (Some("next_pid"), Some("next_comm")),
            Self::IrqEntry => (Some("irq"), Some("name")),
            Self::IrqExit => (Some("irq"), None),
            Self::SoftirqEntry | Self::SoftirqExit => (Some("vec"), None),
            _ => (None, None),
        }
    }

    /// Whether its name stands where the field points to, rather than in the field (`__data_loc`).
    const fn points_to_name(self) -> bool {
        matches!(self, Self::IrqEntry)
    }
}

/// Where the fields of a tracepoint stand in its records, in bytes; a kernel with real-time patches has other places than
/// one without. It is what a process that cannot read tracefs has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Of the number, where there is one.
    pub number: Option<u16>,
    /// Of the name, where there is one.
    pub name: Option<u16>,
}

/// An open event: one tracepoint on one CPU.
#[derive(Debug)]
pub struct Handle {
    /// Which tracepoint.
    pub point: Point,
    /// Where its fields stand.
    pub layout: Layout,
    /// The event, for as long as this or a duplicate of it is open.
    pub fd: OwnedFd,
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens `found` on `cpu`, recording from the moment when somebody maps a ring for it. Interrupts that CPU once.
///
/// # Errors
/// EACCES without CAP_PERFMON (or root, as `perf_event_paranoid` has it); ENODEV or EINVAL for a CPU that is not on line;
/// EMFILE.
pub fn open(found: &Found, cpu: CpuId) -> io::Result<Handle> {
    let fd = sys::open(found.id, cpu)?;
    Ok(Handle { point: found.point, layout: found.layout, fd })
}

/// Whether `fd` is a perf event at all: what came from another process is looked at before it is used.
#[must_use]
pub fn is_event(fd: BorrowedFd<'_>) -> bool {
    sys::is_event(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_classes_stand_at_their_numbers() {
        for (number, point) in (0..).zip(Point::ALL) {
            assert_eq!((point.number(), Point::of(number)), (number, Some(point)));
        }
        assert_eq!(Point::of(15), None);
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
            let edges: Vec<Edge> = Point::ALL
                .into_iter()
                .map(Point::meaning)
                .filter(|(c, _)| *c == class)
                .map(|(_, e)| e)
                .collect();
            assert!(matches!(edges[..], [Edge::Instant] | [Edge::Begin, Edge::End]), "{class}: {edges:?}");
        }
    }
}
