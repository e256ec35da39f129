//! Named values as one text that can be compared, journaled and read again: `adaptive-rx off, rx-usecs 50`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u32),
    /// Asked for, and so.
    On,
    /// Not asked for, and not so.
    Off,
    /// Asked for, and kept off by what it needs: it comes on by itself when that does.
    Waiting,
    /// Not asked for, and on because something else needs it.
    Needed,
}

impl Value {
    /// A switch.
    #[must_use]
    pub const fn switch(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }

    pub(super) const fn feature(is_wanted: bool, is_active: bool) -> Self {
        match (is_wanted, is_active) {
            (true, true) => Self::On,
            (false, false) => Self::Off,
            (true, false) => Self::Waiting,
            (false, true) => Self::Needed,
        }
    }

    /// What of it can be asked for.
    pub(super) const fn is_asked_for(self) -> bool {
        matches!(self, Self::On | Self::Waiting)
    }

    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::On | Self::Waiting => 1,
            Self::Off | Self::Needed => 0,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::On => f.write_str("on"),
            Self::Off => f.write_str("off"),
            Self::Waiting => f.write_str("waiting"),
            Self::Needed => f.write_str("needed"),
        }
    }
}

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "on" => Self::On,
            "off" => Self::Off,
            "waiting" => Self::Waiting,
            "needed" => Self::Needed,
            _ => Self::Number(text.parse().map_err(|_| format!("{text:?} is no number and not on or off"))?),
        })
    }
}

/// Named values of one aspect, or some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, Value>);

impl Settings {
    /// Adds one.
    pub fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// One of them.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        self.0.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose name is also in `other`.
    #[must_use]
    pub fn named_in(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| other.0.contains_key(*name))
                .map(|(n, v)| (n.clone(), *v))
                .collect(),
        )
    }

    /// Those that `other` has not, or has otherwise.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let differs = |(name, value): &(&String, &Value)| other.0.get(*name) != Some(*value);
        Self(self.0.iter().filter(differs).map(|(name, value)| (name.clone(), *value)).collect())
    }
}

// Format: "adaptive-rx off, rx-frames 1, rx-usecs 0"
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {value}")?;
        }
        Ok(())
    }
}

impl FromStr for Settings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for pair in text.split(", ") {
            let pair_of = pair.split_once(' ').filter(|(name, _)| is_name(name));
            let (name, value) = pair_of.ok_or_else(|| format!("{pair:?} is not a name and a value"))?;
            if settings.0.insert(name.to_owned(), value.parse()?).is_some() {
                return Err(format!("{name} stands there twice"));
            }
        }
        Ok(settings)
    }
}

/// The kernel's names of features are up to 31 letters, digits and dashes, some with an underscore.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    !name.is_empty() && name.len() <= units::limits::NAME_LEN_MAX && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = text.parse::<Settings>().map_or_else(|e| format!("error: {e}"), |s| s.to_string());
        assert_eq!(told, expected);
    }

    #[test]
    fn one_text_for_one_set() {
        check("rx-usecs 0, adaptive-rx off", "adaptive-rx off, rx-usecs 0");
        check("tx-udp_tnl-segmentation waiting", "tx-udp_tnl-segmentation waiting");
        check("rx 1, rx 2", "error: rx stands there twice");
        check("rx -1", "error: \"-1\" is no number and not on or off");
        check("rx 4294967296", "error: \"4294967296\" is no number and not on or off");
        check("rx", "error: \"rx\" is not a name and a value");
        check("", "error: \"\" is not a name and a value");
        check("r\nx 1", "error: \"r\\nx 1\" is not a name and a value");
    }

    #[test]
    fn what_differs_is_what_is_sent() {
        let of = |text: &str| text.parse::<Settings>().unwrap();
        let full = of("rx-usecs 50, tx-usecs 50, adaptive-rx on");
        assert_eq!(of("rx-usecs 0, adaptive-rx on").beyond(&full).to_string(), "rx-usecs 0");
        assert_eq!(full.named_in(&of("rx-usecs 0")).to_string(), "rx-usecs 50");
        assert!(full.beyond(&full).is_empty());
    }

    proptest! {
        #[test]
        fn a_text_reads_back(values in prop::collection::btree_map("[a-z][a-z0-9_-]{0,30}", any::<u32>(), 1..20)) {
            let mut settings = Settings::default();
            for (name, number) in &values {
                settings.insert(name, Value::Number(*number));
            }
            prop_assert_eq!(settings.to_string().parse(), Ok(settings));
        }
    }
}
