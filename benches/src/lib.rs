//! What the benches share: figures and their quantiles, gates that can go red, what a bench needs, and the
//! product's binary.
//!
//! Latency is published as quantiles, never as a mean alone, and beside a floor or a peer that was measured
//! in the same rounds, interleaved: this project is developed on shared machines, where a single absolute
//! figure says more about the neighbours. A run without `cargo bench` behind it, or with `QUELL_BENCH=short`,
//! keeps every bench alive in seconds: its checks of correctness and its counts go red, its figures of time
//! are printed beside their limits and do not.

mod bench;
mod daemon;
mod figures;
mod needs;
mod quell;

pub use bench::{Bench, is_short};
pub use daemon::Agent;
pub use figures::Figures;
pub use needs::{require, require_root};
pub use quell::{program, quell, report_of, target_dir};
