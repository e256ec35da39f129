//! The answers: one for every order, carried out or not.

use std::fmt;

use units::CpuId;

use crate::Malformed;
use crate::order::{Kind, cpu};
use crate::text::{ID_BYTES, Text, VALUE_BYTES};
use crate::wire::{In, Out};

/// Bytes of a profile's name: those of a checked name.
const NAME_BYTES: usize = units::limits::NAME_LEN_MAX;

/// Bytes of the sentence that says why an order was not carried out.
pub const REASON_BYTES: usize = 192;

/// Bytes of a thread's name, as the kernel keeps it (TASK_COMM_LEN).
pub const COMM_BYTES: usize = 16;

/// The states of a knob that [`Status::knobs`] counts, in its order.
pub const STATUS_WORDS: [&str; 8] =
    ["ok", "pending", "needs-reboot", "not-applicable", "drifted", "foreign", "blocked", "failed"];

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Carried out.
    Done(Answer),
    /// Not carried out, and asking again would not help.
    Refused {
        /// The order; `None` when what came was none.
        order: Option<Kind>,
        /// Why, for programs.
        why: Refusal,
        /// Why, in a sentence.
        reason: Text<REASON_BYTES>,
    },
    /// Attempted, and not achieved.
    Failed {
        /// The order.
        order: Kind,
        /// Why, in a sentence.
        reason: Text<REASON_BYTES>,
    },
}

/// What an order that was carried out brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// To [`crate::Order::Hello`].
    Hello(Hello),
    /// To [`crate::Order::Status`].
    Status(Status),
    /// To [`crate::Order::Rings`]; the message carries the event's descriptor.
    Ring(Ring),
    /// To [`crate::Order::Drift`]; `None` when there is no later one.
    Drift(Option<DriftEvent>),
    /// To [`crate::Order::Repair`].
    Repaired {
        /// Values that were written; 0 when everything stood as wanted.
        written: u32,
        /// The journal's transaction, when something was written.
        id: Option<u64>,
    },
    /// To [`crate::Order::Reverify`]: attributes by state, in the order of [`STATUS_WORDS`].
    Reverified([u32; STATUS_WORDS.len()]),
    /// To [`crate::Order::Evacuate`].
    Evacuated {
        /// Values that were written; 0 when everything stood as wanted.
        written: u32,
        /// The journal's transaction, when something was written.
        id: Option<u64>,
    },
    /// To [`crate::Order::Fence`]; the new fence stands in the answer's head.
    Fenced,
}

/// Why an order is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What came is no order.
    Malformed,
    /// The policy does not allow it.
    Policy,
    /// A later fence has outdated it.
    Fence,
    /// The hour's changes are used up.
    Ceiling,
    /// There is no such knob, or the profile wants nothing of it.
    Knob,
    /// No profile is held.
    NothingHeld,
    /// Another engine holds the lock, or there is too much to do at once.
    Busy,
    /// The host has no such thing (a CPU, an event).
    Absent,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The keeper's version.
    pub version: Text<ID_BYTES>,
    /// Whether it holds the host to a profile.
    pub holds: bool,
}

/// How the host stands against the profile it is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// The profile; empty when none is held.
    pub profile: Text<NAME_BYTES>,
    /// Attributes by state, in the order of [`STATUS_WORDS`].
    pub knobs: [u32; STATUS_WORDS.len()],
    /// Drift events since the keeper started.
    pub drifts: u64,
    /// Repairs since the keeper started.
    pub repairs: u64,
    /// Fights with another writer that were given up.
    pub fights: u64,
    /// The journal's last transaction.
    pub journal: Option<u64>,
    /// Seconds in which the apply that is on trial has to be confirmed.
    pub confirm_left_s: Option<u64>,
    /// Orders refused since the keeper started.
    pub refused: u64,
    /// Changes that are left of this hour's.
    pub changes_left: u32,
    /// Whether the profile could be applied.
    pub fit: bool,
    /// Why not, cut to fit.
    pub reason: Text<UNFIT_BYTES>,
}

/// Bytes of the reason in [`Status`]: what its numbers leave.
const UNFIT_BYTES: usize = 64;

/// One tracepoint's events on one CPU: which it is and where its fields stand, since the agent may not look it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// The CPU.
    pub cpu: CpuId,
    /// The tracepoint, by its number in the fixed set.
    pub point: u8,
    /// Where the number that is read of it stands in its records, in bytes.
    pub number_at: Option<u16>,
    /// Where the name that is read of it stands.
    pub name_at: Option<u16>,
}

impl Ring {
    fn put(&self, out: &mut Out<'_>) {
        out.u32(self.cpu.0.into());
        out.u8(self.point);
        out.maybe_u64(self.number_at.map(u64::from));
        out.maybe_u64(self.name_at.map(u64::from));
    }

    fn take(from: &mut In<'_>) -> Result<Self, Malformed> {
        let (cpu, point) = (cpu(from.u32())?, from.u8());
        let mut place = || {
            const FIELD: &str = "where a field stands";
            let found = from.maybe_u64(FIELD)?;
            found.map(|at| u16::try_from(at).map_err(|_| Malformed::Field(FIELD))).transpose()
        };
        Ok(Self { cpu, point, number_at: place()?, name_at: place()? })
    }
}

/// One attribute that was not as it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftEvent {
    /// Its number; a gap says that the keeper had to drop the ones between.
    pub number: u64,
    /// The knob.
    pub knob: Text<ID_BYTES>,
    /// Its attribute.
    pub attribute: Text<ID_BYTES>,
    /// Which of several of its kind; empty where there is one.
    pub identity: Text<ID_BYTES>,
    /// As it was left, cut to fit.
    pub wanted: Text<VALUE_BYTES>,
    /// As it was found, cut to fit.
    pub found: Text<VALUE_BYTES>,
    /// The wall clock, in ns since 1970.
    pub at: u64,
    /// When it was seen: CLOCK_MONOTONIC, in ns.
    pub seen_at: u64,
    /// When it was put back, on the same clock; `None` when it was not.
    pub repaired_at: Option<u64>,
    /// Who wrote it, where that is known.
    pub writer: Option<Writer>,
    /// What was done about it.
    pub deed: Deed,
}

/// The process that wrote a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// Its id, in the keeper's namespace.
    pub pid: u32,
    /// Its name, as it calls itself.
    pub comm: Text<COMM_BYTES>,
}

/// What was done about a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Put back.
    Repaired,
    /// Left as it is: another writer insists.
    Left,
    /// Could not be put back.
    Failed,
    /// Only looked at: the policy allows no repair.
    Observed,
}

impl Deed {
    const ALL: [Self; 4] = [Self::Repaired, Self::Left, Self::Failed, Self::Observed];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Observed => "observed",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Repaired => 1,
            Self::Left => 2,
            Self::Failed => 3,
            Self::Observed => 4,
        }
    }

    fn of(code: u8) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|deed| deed.code() == code).ok_or(Malformed::Field("what was done"))
    }
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Policy,
        Self::Fence,
        Self::Ceiling,
        Self::Knob,
        Self::NothingHeld,
        Self::Busy,
        Self::Absent,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Policy => "policy",
            Self::Fence => "fence",
            Self::Ceiling => "ceiling",
            Self::Knob => "knob",
            Self::NothingHeld => "nothing-held",
            Self::Busy => "busy",
            Self::Absent => "absent",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Policy => 2,
            Self::Fence => 3,
            Self::Ceiling => 4,
            Self::Knob => 5,
            Self::NothingHeld => 6,
            Self::Busy => 7,
            Self::Absent => 8,
        }
    }

    fn of(code: u8) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|why| why.code() == code).ok_or(Malformed::Field("why it is refused"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The outcome's byte in an answer's head.
const DONE: u8 = 0;
const REFUSED: u8 = 1;
const FAILED: u8 = 2;

impl Outcome {
    /// The order it answers; `None` when what came was none.
    #[must_use]
    pub fn order(&self) -> Option<Kind> {
        match self {
            Self::Done(answer) => Some(answer.kind()),
            Self::Refused { order, .. } => *order,
            Self::Failed { order, .. } => Some(*order),
        }
    }

    /// The two bytes of the head that say what the payload is.
    pub(crate) fn head(&self) -> [u8; 2] {
        let outcome = match self {
            Self::Done(_) => DONE,
            Self::Refused { .. } => REFUSED,
            Self::Failed { .. } => FAILED,
        };
        [self.order().map_or(0, Kind::code), outcome]
    }

    pub(crate) fn put(&self, out: &mut Out<'_>) {
        match self {
            Self::Done(answer) => answer.put(out),
            Self::Refused { why, reason, .. } => {
                out.u8(why.code());
                reason.put(out);
            }
            Self::Failed { reason, .. } => reason.put(out),
        }
    }

    pub(crate) fn take([order, outcome]: [u8; 2], from: &mut In<'_>) -> Result<Self, Malformed> {
        match (outcome, order) {
            (DONE, order) => Answer::take(Kind::of(order)?, from).map(Self::Done),
            (REFUSED, order) => {
                let order = if order == 0 { None } else { Some(Kind::of(order)?) };
                let why = Refusal::of(from.u8())?;
                Ok(Self::Refused { order, why, reason: Text::take(from, "the reason")? })
            }
            (FAILED, order) => {
                Ok(Self::Failed { order: Kind::of(order)?, reason: Text::take(from, "the reason")? })
            }
            _ => Err(Malformed::Field("the outcome")),
        }
    }
}

impl Answer {
    /// The order it belongs to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Status(_) => Kind::Status,
            Self::Ring(_) => Kind::Rings,
            Self::Drift(_) => Kind::Drift,
            Self::Repaired { .. } => Kind::Repair,
            Self::Reverified(_) => Kind::Reverify,
            Self::Evacuated { .. } => Kind::Evacuate,
            Self::Fenced => Kind::Fence,
        }
    }

    fn put(&self, out: &mut Out<'_>) {
        match self {
            Self::Hello(hello) => {
                hello.version.put(out);
                out.flag(hello.holds);
            }
            Self::Status(status) => status.put(out),
            Self::Ring(ring) => ring.put(out),
            Self::Drift(event) => {
                out.flag(event.is_some());
                if let Some(event) = event {
                    event.put(out);
                }
            }
            Self::Repaired { written, id } | Self::Evacuated { written, id } => {
                out.u32(*written);
                out.maybe_u64(*id);
            }
            Self::Reverified(knobs) => knobs.iter().for_each(|count| out.u32(*count)),
            Self::Fenced => {}
        }
    }

    fn take(kind: Kind, from: &mut In<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            Kind::Hello => {
                let version = Text::take(from, "the keeper's version")?;
                Self::Hello(Hello { version, holds: from.flag("whether a profile is held")? })
            }
            Kind::Status => Self::Status(Status::take(from)?),
            Kind::Rings => Self::Ring(Ring::take(from)?),
            Kind::Drift => match from.flag("whether there is an event")? {
                true => Self::Drift(Some(DriftEvent::take(from)?)),
                false => Self::Drift(None),
            },
            Kind::Repair => Self::Repaired { written: from.u32(), id: from.maybe_u64("the transaction")? },
            Kind::Reverify => Self::Reverified(counts(from)),
            Kind::Evacuate => Self::Evacuated { written: from.u32(), id: from.maybe_u64("the transaction")? },
            Kind::Fence => Self::Fenced,
        })
    }
}

impl Status {
    fn put(&self, out: &mut Out<'_>) {
        self.profile.put(out);
        self.knobs.iter().for_each(|count| out.u32(*count));
        out.u64(self.drifts);
        out.u64(self.repairs);
        out.u64(self.fights);
        out.maybe_u64(self.journal);
        out.maybe_u64(self.confirm_left_s);
        out.u64(self.refused);
        out.u32(self.changes_left);
        out.flag(self.fit);
        self.reason.put(out);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            profile: Text::take(from, "the profile's name")?,
            knobs: counts(from),
            drifts: from.u64(),
            repairs: from.u64(),
            fights: from.u64(),
            journal: from.maybe_u64("the transaction")?,
            confirm_left_s: from.maybe_u64("the time to confirm")?,
            refused: from.u64(),
            changes_left: from.u32(),
            fit: from.flag("whether the profile is applied")?,
            reason: Text::take(from, "why it is not")?,
        })
    }
}

impl DriftEvent {
    fn put(&self, out: &mut Out<'_>) {
        out.u64(self.number);
        self.knob.put(out);
        self.attribute.put(out);
        self.identity.put(out);
        self.wanted.put(out);
        self.found.put(out);
        out.u64(self.at);
        out.u64(self.seen_at);
        out.maybe_u64(self.repaired_at);
        out.flag(self.writer.is_some());
        if let Some(Writer { pid, comm }) = self.writer {
            out.u32(pid);
            comm.put(out);
        } else {
            out.bytes(&[0; size_of::<u32>() + COMM_BYTES]);
        }
        out.u8(self.deed.code());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            number: from.u64(),
            knob: Text::take(from, "the knob's id")?,
            attribute: Text::take(from, "the attribute")?,
            identity: Text::take(from, "which of its kind")?,
            wanted: Text::take(from, "the wanted value")?,
            found: Text::take(from, "the value found")?,
            at: from.u64(),
            seen_at: from.u64(),
            repaired_at: from.maybe_u64("when it was repaired")?,
            writer: Writer::take(from)?,
            deed: Deed::of(from.u8())?,
        })
    }
}

impl Writer {
    fn take(from: &mut In<'_>) -> Result<Option<Self>, Malformed> {
        let is_known = from.flag("whether the writer is known")?;
        let writer = Self { pid: from.u32(), comm: Text::take(from, "the writer's name")? };
        match is_known {
            true => Ok(Some(writer)),
            false if writer == Self { pid: 0, comm: Text::EMPTY } => Ok(None),
            false => Err(Malformed::NotZero),
        }
    }
}

fn counts(from: &mut In<'_>) -> [u32; STATUS_WORDS.len()] {
    let mut counts = [0; STATUS_WORDS.len()];
    counts.iter_mut().for_each(|count| *count = from.u32());
    counts
}
