//! The language of the VM tests: a guest that is booted, told what to do, cut from its power.
//!
//! Everything is bounded and leaves nothing behind: a guest dies with its handle, or with the test; a command that
//! does not end is ended; disks live in temporary folders above images that nothing changes.

mod dice;
mod guest;
mod lab;
mod output;
mod qemu;
mod ssh;
mod until;

pub use dice::Dice;
pub use guest::Guest;
pub use lab::{Kernel, Lab, Spec};
pub use output::Output;

/// A line for whoever records the figures.
#[expect(clippy::print_stdout, reason = "figures are what a person runs these tests for")]
pub fn figure(text: &str) {
    println!("figure: {text}");
}
