//! The orders: what the agent may ask for, and nothing else.

use std::fmt;

use units::CpuId;
use units::limits::CPUS_MAX;

use crate::Malformed;
use crate::text::{ID_BYTES, Text};
use crate::wire::{In, Out};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Say who you are: the first order of a connection.
    Hello {
        /// The agent's version, for the keeper's log.
        version: Text<ID_BYTES>,
    },
    /// Say how the host stands against its profile.
    Status,
    /// Hand over one tracepoint's events on one CPU; as many orders as there are tracepoints make a ring.
    Rings {
        /// The CPU.
        cpu: CpuId,
        /// The tracepoint, by its number in the fixed set.
        point: u8,
    },
    /// The next drift event with a number above this one; numbers begin with 1.
    Drift {
        /// The last number the agent has seen; 0 at first.
        after: u64,
    },
    /// Put one knob back to what the profile wants.
    Repair {
        /// Its id in the registry.
        knob: Text<ID_BYTES>,
    },
    /// Compare everything with the profile again.
    Reverify,
    /// Apply again what keeps strangers off the isolated CPUs.
    Evacuate {
        /// Which strangers.
        what: Evacuate,
    },
    /// Raise the fence: orders that carry a lower one are refused from now on.
    Fence {
        /// The new one; it never goes down.
        to: u64,
    },
}

/// What is to leave the isolated CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evacuate {
    /// Interrupts.
    Irqs,
    /// The kernel's workqueues.
    Workqueues,
    /// Tasks.
    Tasks,
}

impl Evacuate {
    fn code(self) -> u8 {
        match self {
            Self::Irqs => 1,
            Self::Workqueues => 2,
            Self::Tasks => 3,
        }
    }

    fn of(code: u8) -> Result<Self, Malformed> {
        let all = [Self::Irqs, Self::Workqueues, Self::Tasks];
        all.into_iter().find(|what| what.code() == code).ok_or(Malformed::Field("what to evacuate"))
    }
}

/// Which order, without what it carries: for policies, answers and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Order::Hello`].
    Hello = 1,
    /// [`Order::Status`].
    Status = 2,
    /// [`Order::Rings`].
    Rings = 3,
    /// [`Order::Drift`].
    Drift = 4,
    /// [`Order::Repair`].
    Repair = 5,
    /// [`Order::Reverify`].
    Reverify = 6,
    /// [`Order::Evacuate`].
    Evacuate = 7,
    /// [`Order::Fence`].
    Fence = 8,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Hello,
        Self::Status,
        Self::Rings,
        Self::Drift,
        Self::Repair,
        Self::Reverify,
        Self::Evacuate,
        Self::Fence,
    ];

    /// As policies and logs name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Status => "status",
            Self::Rings => "rings",
            Self::Drift => "drift",
            Self::Repair => "repair",
            Self::Reverify => "reverify",
            Self::Evacuate => "evacuate",
            Self::Fence => "fence",
        }
    }

    /// Whether it only looks: such orders need no leave of the policy.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::Hello | Self::Status | Self::Drift | Self::Reverify)
    }

    /// Whether it may change a setting, or what later orders may: those come no faster than the keeper's measure.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(self, Self::Repair | Self::Evacuate | Self::Fence)
    }

    pub(crate) fn of(code: u8) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|kind| kind.code() == code).ok_or(Malformed::Kind(code))
    }

    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            match units::nearest(word, words) {
                Some(known) => format!("{word:?} is no order; did you mean {known:?}?"),
                None => format!("{word:?} is no order; there are {}", words.join(", ")),
            }
        })
    }
}

impl Order {
    /// Which it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello { .. } => Kind::Hello,
            Self::Status => Kind::Status,
            Self::Rings { .. } => Kind::Rings,
            Self::Drift { .. } => Kind::Drift,
            Self::Repair { .. } => Kind::Repair,
            Self::Reverify => Kind::Reverify,
            Self::Evacuate { .. } => Kind::Evacuate,
            Self::Fence { .. } => Kind::Fence,
        }
    }

    pub(crate) fn put(&self, out: &mut Out<'_>) {
        match self {
            Self::Hello { version } => version.put(out),
            Self::Status | Self::Reverify => {}
            Self::Rings { cpu, point } => {
                out.u32(cpu.0.into());
                out.u8(*point);
            }
            Self::Drift { after } => out.u64(*after),
            Self::Repair { knob } => knob.put(out),
            Self::Evacuate { what } => out.u8(what.code()),
            Self::Fence { to } => out.u64(*to),
        }
    }

    pub(crate) fn take(kind: Kind, from: &mut In<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            Kind::Hello => Self::Hello { version: Text::take(from, "the agent's version")? },
            Kind::Status => Self::Status,
            Kind::Rings => Self::Rings { cpu: cpu(from.u32())?, point: from.u8() },
            Kind::Drift => Self::Drift { after: from.u64() },
            Kind::Repair => Self::Repair { knob: Text::take(from, "the knob's id")? },
            Kind::Reverify => Self::Reverify,
            Kind::Evacuate => Self::Evacuate { what: Evacuate::of(from.u8())? },
            Kind::Fence => Self::Fence { to: from.u64() },
        })
    }
}

pub(crate) fn cpu(number: u32) -> Result<CpuId, Malformed> {
    let known = u16::try_from(number).ok().map(CpuId).filter(|cpu| cpu.index() < CPUS_MAX);
    known.ok_or(Malformed::Field("the CPU"))
}
