//! The aspects of an interface and the numbers that the kernel gives their values: tables, copied from no code but from
//! the kernel's interface. A value that a kernel does not know is not in its answer, and is then never sent.
//! Source: include/uapi/linux/ethtool_netlink_generated.h (Linux 6.18).

use std::fmt;
use std::str::FromStr;

/// A set of values that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// How many packets, or microseconds, one interrupt stands for.
    Coalesce,
    /// How many packets a queue holds.
    Rings,
    /// How many queues there are.
    Channels,
    /// What the hardware and the stack do for whole batches of packets.
    Features,
    /// Whether the other side may be told to stop sending.
    Pause,
    /// Whether the link sleeps between packets.
    Eee,
}

impl Aspect {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Coalesce, Self::Rings, Self::Channels, Self::Features, Self::Pause, Self::Eee];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Coalesce => "coalesce",
            Self::Rings => "rings",
            Self::Channels => "channels",
            Self::Features => "features",
            Self::Pause => "pause",
            Self::Eee => "eee",
        }
    }

    /// The kernel's commands to read it and to set it.
    pub(super) const fn commands(self) -> (u8, u8) {
        match self {
            Self::Features => (11, 12),
            Self::Rings => (15, 16),
            Self::Channels => (17, 18),
            Self::Coalesce => (19, 20),
            Self::Pause => (21, 22),
            Self::Eee => (23, 24),
        }
    }

    /// Its values; features have names of the kernel's own.
    pub(super) const fn fields(self) -> &'static [Field] {
        match self {
            Self::Coalesce => COALESCE,
            Self::Rings => RINGS,
            Self::Channels => CHANNELS,
            Self::Pause => PAUSE,
            Self::Eee => EEE,
            Self::Features => &[],
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Aspect {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|aspect| aspect.word() == word);
        known.ok_or_else(|| format!("{word:?} is no aspect of an interface"))
    }
}

/// One value.
#[derive(Debug)]
pub(super) struct Field {
    /// As ethtool(8) calls it.
    pub name: &'static str,
    /// The kernel's number for it.
    pub kind: u16,
    pub width: Width,
    /// The kernel's number for its bound.
    pub most: Option<u16>,
}

/// How the kernel sends a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Word,
    Byte,
    /// A byte that is 0 or 1.
    Switch,
}

const fn word(name: &'static str, kind: u16) -> Field {
    Field { name, kind, width: Width::Word, most: None }
}

const fn bounded(name: &'static str, kind: u16, most: u16) -> Field {
    Field { name, kind, width: Width::Word, most: Some(most) }
}

const fn byte(name: &'static str, kind: u16) -> Field {
    Field { name, kind, width: Width::Byte, most: None }
}

const fn switch(name: &'static str, kind: u16) -> Field {
    Field { name, kind, width: Width::Switch, most: None }
}

const COALESCE: &[Field] = &[
    word("rx-usecs", 2),
    word("rx-frames", 3),
    word("rx-usecs-irq", 4),
    word("rx-frames-irq", 5),
    word("tx-usecs", 6),
    word("tx-frames", 7),
    word("tx-usecs-irq", 8),
    word("tx-frames-irq", 9),
    word("stats-block-usecs", 10),
    switch("adaptive-rx", 11),
    switch("adaptive-tx", 12),
    word("pkt-rate-low", 13),
    word("rx-usecs-low", 14),
    word("rx-frames-low", 15),
    word("tx-usecs-low", 16),
    word("tx-frames-low", 17),
    word("pkt-rate-high", 18),
    word("rx-usecs-high", 19),
    word("rx-frames-high", 20),
    word("tx-usecs-high", 21),
    word("tx-frames-high", 22),
    word("sample-interval", 23),
    switch("cqe-mode-tx", 24),
    switch("cqe-mode-rx", 25),
    word("tx-aggr-max-bytes", 26),
    word("tx-aggr-max-frames", 27),
    word("tx-aggr-time-usecs", 28),
];

const RINGS: &[Field] = &[
    bounded("rx", 6, 2),
    bounded("rx-mini", 7, 3),
    bounded("rx-jumbo", 8, 4),
    bounded("tx", 9, 5),
    word("rx-buf-len", 10),
    byte("tcp-data-split", 11),
    word("cqe-size", 12),
    switch("tx-push", 13),
    switch("rx-push", 14),
    bounded("tx-push-buf-len", 15, 16),
    bounded("hds-thresh", 17, 18),
];

const CHANNELS: &[Field] =
    &[bounded("rx", 6, 2), bounded("tx", 7, 3), bounded("other", 8, 4), bounded("combined", 9, 5)];

const PAUSE: &[Field] = &[switch("autoneg", 2), switch("rx", 3), switch("tx", 4)];

const EEE: &[Field] = &[switch("eee", 5), switch("tx-lpi", 6), word("tx-timer", 7)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_and_no_name_stands_for_two_values() {
        for aspect in Aspect::ALL {
            let fields = aspect.fields();
            let mut kinds: Vec<u16> = fields.iter().flat_map(|f| [Some(f.kind), f.most]).flatten().collect();
            let mut names: Vec<&str> = fields.iter().map(|field| field.name).collect();
            let (count, named) = (kinds.len(), names.len());
            kinds.sort_unstable();
            kinds.dedup();
            names.sort_unstable();
            names.dedup();
            assert_eq!((kinds.len(), names.len()), (count, named), "{aspect}");
            assert_eq!(aspect.word().parse(), Ok(aspect));
        }
    }
}
