//! What the loop waits for beside signals and clients.

use std::os::fd::BorrowedFd;

use units::Nanos;

use crate::duty::Duty;
use crate::moment::Moment;

/// Something that has work for the loop from time to time: the watch over the knobs, for one.
///
/// The loop asks before every wait for descriptors and a deadline, and calls when one of the descriptors is readable or
/// the deadline has passed. A call takes as long as one thing takes: clients, signals and the watchdog wait for it.
pub trait Source {
    /// Adds what to wait for.
    fn descriptors<'s>(&'s self, into: &mut Vec<BorrowedFd<'s>>);

    /// When to be called although nothing is readable, by CLOCK_MONOTONIC; `None` is never.
    fn deadline(&self) -> Option<Nanos>;

    /// It is time. What it does to the host, it does through `duty`.
    fn on_ready(&mut self, now: Moment, duty: &mut Duty);
}
