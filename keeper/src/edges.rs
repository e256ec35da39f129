//! The edges of a profile's sessions: the host is brought from one to the next when the hour comes.
//!
//! One switch an edge: what is on is a function of the wall clock, and a clock that is set back a little does not take an
//! edge back (`Latch`). A switch that does not work is tried again so often, each time later, and then left to people until
//! the next edge: a session gives way to the base a lead before the hours that matter begin, and this is what that time is
//! for. Nothing is kept here that a restart would miss: what the host was last brought to is in the journal.

use std::os::fd::BorrowedFd;

use report::WallTime;
use units::Nanos;

use crate::audit::{Entry, Level};
use crate::duty::{Duty, Switched};
use crate::moment::Moment;
use crate::source::Source;

/// How often the wall clock is compared with the hours, beside the edges themselves: it may be set, and a machine sleep.
const LOOK: Nanos = Nanos::from_secs(5);

/// How soon a switch is tried again while another engine is at work.
const BUSY: Nanos = Nanos::from_secs(1);

/// Attempts at one switch: with pauses of 1, 2, 4 to 60 s they take two minutes of the lead of fifteen.
const ATTEMPTS: u32 = 8;

/// The longest pause between two of them.
const PAUSE_MAX: Nanos = Nanos::from_secs(60);

/// How far a clock may be set back without an edge coming twice.
const STEP_BACK_S: i64 = 60;

/// The wall clock as far as it goes forward: small steps back stand still until the clock is there again.
#[derive(Debug, Default)]
pub struct Latch {
    latest: Option<i64>,
}

impl Latch {
    /// The second that hours are compared with when the clock shows `wall`.
    pub fn second(&mut self, wall: i64) -> i64 {
        let is_step_back = |latest: &i64| wall < *latest && *latest - wall < STEP_BACK_S;
        let second = self.latest.filter(is_step_back).unwrap_or(wall);
        self.latest = Some(second);
        second
    }
}

/// What the host is to be brought to: whose wish, and the sessions that are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The apply it was asked for by.
    pub standing: Option<u64>,
    /// The sessions that are on.
    pub on: Vec<String>,
    /// Until when.
    pub until: Option<i64>,
}

impl Turn {
    fn is(&self, other: &Self) -> bool {
        (&self.standing, &self.on) == (&other.standing, &other.on)
    }

    fn sessions(&self) -> String {
        if self.on.is_empty() { "none".to_owned() } else { self.on.join(", ") }
    }
}

/// The switches that are due.
#[derive(Debug, Default)]
pub struct Edges {
    next: Nanos,
    /// What the host was seen to be at.
    settled: Option<Turn>,
    /// What it is being brought to, how often that was tried, and what was told of it last.
    turn: Option<Turn>,
    attempts: u32,
    told: Option<String>,
}

impl Source for Edges {
    fn descriptors<'s>(&'s self, _: &mut Vec<BorrowedFd<'s>>) {}

    fn deadline(&self) -> Option<Nanos> {
        Some(self.next)
    }

    fn on_ready(&mut self, now: Moment, duty: &mut Duty) {
        if now.monotonic < self.next {
            return;
        }
        self.next = now.monotonic + LOOK;
        let Some(turn) = duty.turn(now) else {
            *self = Self { next: self.next, ..Self::default() };
            duty.held.late = None;
            return;
        };
        self.next = self.next.min(until(&turn, now).unwrap_or(self.next));
        if self.settled.as_ref().is_some_and(|settled| settled.is(&turn)) {
            return;
        }
        self.settled = None;
        if self.turn.as_ref().is_none_or(|known| !known.is(&turn)) {
            (self.turn, self.attempts, self.told) = (Some(turn), 0, None);
        }
        if self.attempts < ATTEMPTS {
            self.switch(now, duty);
        }
    }
}

impl Edges {
    fn switch(&mut self, now: Moment, duty: &mut Duty) {
        let switched = duty.switch(now);
        // The look at what stands may have shown another wish: then the next pass is about that.
        let Some(turn) = duty.turn(now) else { return };
        match switched {
            Switched::Done { transaction, written } => {
                let entry = entry(Level::Notice, duty, &turn).number("written", written.into());
                let entry = transaction.iter().fold(entry, |entry, id| entry.number("transaction", *id));
                if transaction.is_some() || self.told.is_some() {
                    duty.audit.tell(now.wall, &entry);
                }
                duty.held.late = None;
                *self = Self { next: self.next, settled: Some(turn), ..Self::default() };
            }
            Switched::Busy => self.next = now.monotonic + BUSY,
            Switched::Waits(why) => {
                if self.told.as_ref() != Some(&why) {
                    let entry =
                        entry(Level::Warning, duty, &turn).text("outcome", "waits").text("reason", &why);
                    duty.audit.tell(now.wall, &entry);
                }
                self.late(why, &turn, duty);
            }
            Switched::Failed(why) => {
                self.attempts += 1;
                let pause = Nanos::from_secs(1).times(1 << (self.attempts - 1)).min(PAUSE_MAX);
                self.next = now.monotonic + pause;
                let outcome = match self.attempts {
                    ATTEMPTS => "failed; left to people until the next edge (quell tune verify, apply)",
                    _ => "failed; tried again",
                };
                let entry = entry(Level::Error, duty, &turn).text("outcome", outcome).text("reason", &why);
                duty.audit.tell(now.wall, &entry.number("attempt", self.attempts.into()));
                self.late(why, &turn, duty);
            }
        }
    }

    fn late(&mut self, why: String, turn: &Turn, duty: &mut Duty) {
        duty.held.late = Some(format!("not brought to session {}: {why}", turn.sessions()));
        self.told = Some(why);
    }
}

fn entry(level: Level, duty: &Duty, turn: &Turn) -> Entry {
    let profile = duty.held.wish.as_ref().map_or("", |wish| wish.profile.name.as_str());
    let entry = Entry::new(level, "edge").text("deed", "session").text("profile", profile);
    let entry = entry.text("sessions", &turn.sessions());
    let until = turn.until.and_then(|until| u64::try_from(until).ok());
    match until {
        Some(until) => entry.text("until", &format!("{:.0}", WallTime::from_unix_s(until))),
        None => entry,
    }
}

/// The edge by CLOCK_MONOTONIC, as long as nobody sets the clock.
fn until(turn: &Turn, now: Moment) -> Option<Nanos> {
    let edge = WallTime::from_unix_s(u64::try_from(turn.until?).ok()?);
    Some(now.monotonic + edge.since(now.wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(latch: &mut Latch, wall: i64, expected: i64) {
        assert_eq!(latch.second(wall), expected);
    }

    #[test]
    fn a_small_step_back_of_the_clock_takes_no_edge_back() {
        let mut latch = Latch::default();
        check(&mut latch, 1000, 1000);
        check(&mut latch, 999, 1000);
        check(&mut latch, 941, 1000); // however often
        check(&mut latch, 1001, 1001);
        check(&mut latch, 941, 941); // a minute back is another time
        check(&mut latch, 5000, 5000);
    }
}
