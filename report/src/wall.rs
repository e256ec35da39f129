//! Wall time: what a person reads and correlates with other logs.
//!
//! Nothing is measured with it (it jumps); instants of the measuring clock become wall times at the edge, by
//! the distance to a pair of readings taken together.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use units::Nanos;

/// An instant of wall time in UTC; RFC 3339 in text and JSON. `{:.3}` prints milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(Timestamp);

/// The wall time now: the one place that reads the system's wall clock. Callers pass it on as a value.
#[must_use]
pub fn wall_time_now() -> WallTime {
    WallTime(Timestamp::now())
}

impl WallTime {
    /// Seconds since 1970, as journals keep them; the latest time there is, when that is nearer.
    #[must_use]
    pub fn from_unix_s(seconds: u64) -> Self {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        Self(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
    }

    /// Nanoseconds since 1970, as the keeper's messages have them; the latest time there is, when that is nearer.
    #[must_use]
    pub fn from_unix(span: Nanos) -> Self {
        Self::from_unix_s(0).after(span)
    }

    /// Whole seconds since 1970; zero for a clock that stands before that.
    #[must_use]
    pub fn unix_s(self) -> u64 {
        u64::try_from(self.0.as_second()).unwrap_or(0)
    }

    /// This long before; the earliest time there is, if that is nearer.
    #[must_use]
    pub fn before(self, span: Nanos) -> Self {
        Self(self.0.saturating_sub(signed(span)).unwrap_or(Timestamp::MIN))
    }

    /// This long after; the latest time there is, if that is nearer.
    #[must_use]
    pub fn after(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(signed(span)).unwrap_or(Timestamp::MAX))
    }

    /// The time from `earlier` to this; zero when the two are the other way round.
    #[must_use]
    pub fn since(self, earlier: Self) -> Nanos {
        let span = self.0.duration_since(earlier.0);
        Nanos(u64::try_from(span.as_nanos()).unwrap_or(0))
    }
}

fn signed(span: Nanos) -> SignedDuration {
    SignedDuration::try_from(std::time::Duration::from(span)).unwrap_or(SignedDuration::MAX)
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for WallTime {
    type Err = units::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| units::ParseError {
            text: text.to_owned(),
            problem: "not a time in RFC 3339, as in 2026-03-01T09:30:00Z".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> WallTime {
        text.parse().unwrap()
    }

    #[test]
    fn times_print_as_they_read() {
        let time = at("2026-03-01T09:30:00.123456789Z");
        assert_eq!(time.to_string(), "2026-03-01T09:30:00.123456789Z");
        assert_eq!(format!("{time:.3}"), "2026-03-01T09:30:00.123Z");
        assert_eq!(at("2026-03-01T10:30:00+01:00").to_string(), "2026-03-01T09:30:00Z"); // always UTC
        let refusal = "yesterday".parse::<WallTime>().unwrap_err().to_string();
        assert_eq!(refusal, "\"yesterday\": not a time in RFC 3339, as in 2026-03-01T09:30:00Z");
    }

    #[test]
    fn distances_stop_at_the_ends() {
        let time = at("2026-03-01T09:30:00Z");
        assert_eq!(time.before(Nanos::from_secs(90)), at("2026-03-01T09:28:30Z"));
        assert_eq!(time.after(Nanos::from_millis(1)), at("2026-03-01T09:30:00.001Z"));
        assert_eq!(time.since(time.before(Nanos(7))), Nanos(7));
        assert_eq!(time.before(Nanos(7)).since(time), Nanos::ZERO);
        assert!(time.before(Nanos::MAX) < time && time.after(Nanos::MAX) > time);
    }

    #[test]
    fn now_is_after_this_was_written() {
        assert!(wall_time_now() > at("2026-01-01T00:00:00Z"));
    }
}
