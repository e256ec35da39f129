//! The language of the VM tests: a guest that is booted, told what to do, cut from its power.
//!
//! Everything is bounded and leaves nothing behind: a guest dies with its handle, or with the test; a command that
//! does not end is ended; disks live in temporary folders above images that nothing changes.

mod guest;
mod lab;
mod output;
mod qemu;
mod ssh;
mod until;

pub use guest::Guest;
pub use lab::{Kernel, Lab, Spec};
pub use output::Output;
