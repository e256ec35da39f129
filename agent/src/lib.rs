//! The daemon, in the order data moves: sources, collector, evaluation, reporter, sockets.
//!
//! [`Measuring`] is what `quell up` and the daemon share: clock, probe threads and collector, started as one list
//! (`measuring.rs`). [`control::run`] is the daemon around it: report socket, signals, service manager. The agent needs
//! no capability and writes no kernel state; what it is refused it names in its report.

pub mod blocks;
pub mod control;
pub mod foreground;

mod collector;
mod counted;
mod desk;
mod facts;
mod keeper;
mod measuring;
mod notify;
mod placement;
mod reporter;
mod rings;
mod settings;
mod snapshot;
mod socket;
mod sources;
mod watchdog;

pub use collector::{BudgetEvent, Collector, Events, Instant, Lag, Request, Watched};
pub use measuring::{Measuring, StartError};
pub use reporter::{Own, Wanted, report};
pub use rings::{Counts, CpuRing, RingSnapshot, Rings};
pub use settings::{Explained, Settings};
pub use snapshot::Snapshot;
pub use socket::BindError;
