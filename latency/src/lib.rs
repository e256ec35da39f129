//! Histograms, windows, budgets, verdicts: pure functions of values and `now`.
//!
//! Data goes one way: a sample enters its [`Channel`] ([`Channel::record`], a few nanoseconds, no
//! allocation), which keeps histograms for people ([`Histogram`], one bucket in 128) and exact counts for
//! budgets ([`Observation`], integer compares). When a counting slot ends ([`Channel::tick`]) each [`Budget`]
//! is judged on the exact counts, and its [`Watch`] says what changed. Whether a budget can be judged at all
//! is answered before it is armed ([`infeasible`]). Beside quantiles, [`delay`] answers what a message
//! arriving at a random instant would suffer, and [`Stalls`] keeps the single events worth a name. Whether a
//! change of the host matters is answered by whole blocks of samples, in pairs ([`Block`], [`Proof`]).
//!
//! Left out on purpose: where samples come from, files, clocks, threads. Time is the argument `now`, on any
//! one monotonic scale the caller chooses; it may be late, it never goes back (a `now` in the past is taken
//! as no time).

pub mod delay;

mod block;
mod budget;
mod channel;
mod exceed;
mod feasible;
mod histogram;
mod looks;
mod proof;
mod signed_rank;
mod slots;
mod stalls;
mod watch;
mod window;

pub use block::{Block, LookedAt};
pub use budget::{Budget, Judgement};
pub use channel::{Channel, ChannelSnapshot, Layout};
pub use exceed::{Exceedances, Observation, TooManyLimits};
pub use feasible::{ChannelFacts, Infeasible, infeasible};
pub use histogram::{DecodeError, Histogram};
pub use looks::{Look, Looks};
pub use proof::{Change, Proof, Terms, TooFewPairs, Verdict};
pub use signed_rank::SignedRank;
pub use stalls::{Culprit, STALLS_WORST_KEPT, Stall, StallSighting, Stalls};
pub use watch::{State, Transition, Watch};
pub use window::Window;
