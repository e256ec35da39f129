//! Measuring the host: one runner, one file a probe, cross-CPU clock check.
//!
//! One thread a measured CPU runs the chosen probes in turn, each in its slot of a [cycle](Spec::cycle), so that our
//! own probes never disturb each other, and pushes [`Sample`]s into a ring. Probes only sample: what a sample means,
//! how often and against which limit, is for others to say; here are no histograms and no budgets.
//!
//! After the start nothing on a probe's path allocates, locks, logs or blocks; a full ring drops the sample and
//! [counts](Counters::dropped) it. What each probe measures, needs, costs, and does *not* say stands in [`PROBES`].

mod catalogue;
mod counters;
mod error;
mod eventfd;
mod futex_wake;
mod huge_fault;
mod minor_fault;
mod output;
mod plan;
mod runner;
mod sample;
mod sched_yield;
mod spec;
mod syscall;
mod timetable;
mod tools;
mod udp_loopback;
mod unix_stream;
mod waits;

pub mod bursts;
pub mod clock_check;
pub mod spin_gap;
pub mod timer_wakeup;

pub use catalogue::{About, DEFAULT_PROBES, Kind, PROBES, UnknownProbe};
pub use counters::{ByProbe, Counter, Counters};
pub use error::Error;
pub use plan::{Plan, Slot};
pub use runner::{Channel, Feed, ProbeThread, Running, Stopped, start};
pub use sample::{Flags, Sample};
pub use spec::{Probe, RtThrottle, Spec};
