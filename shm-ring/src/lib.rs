//! The shared-memory ring through which an application's thread tells the agent what it measured.
//!
//! One segment a thread: a page with header, accounts, meters and open span ([`layout`]), and after it slots of 16 bytes.
//! A [`Producer`] puts a [`Record`] into the next slot; a [`Consumer`] in another process takes it out. Whether a slot
//! has been written is said by a sequence number in the slot itself, so that a waiting reader touches no line but the one
//! it waits for: with a head index beside the slots each poll takes a line away from the writer, and a burst costs
//! five times as much.
//!
//! - Publishing is two stores. It never waits, allocates or enters the kernel; what does not fit is counted and gone, and
//!   nothing that has not been read is overwritten.
//! - Nothing is half done when either side dies: a record is there when its sequence number is, and the position of each
//!   side is its own.
//! - Neither side believes the other. Every word is read once, by an atomic load, and whatever stands there, no operation
//!   panics, leaves the segment or runs longer than its bound.
//!
//! Left out on purpose: where the memory comes from ([`Words`] is all that is asked of it), clocks (a stamp is a number
//! here), names of spans and meters (they travel beside the segment), threads, and every dependency. `no_std`.
//!
//! Caveat: a producer that means harm can put records with any content into its own ring. They are its own figures.

#![no_std]

#[cfg(test)]
extern crate std;

mod consumer;
pub mod layout;
mod producer;
mod record;
mod words;

pub use consumer::{Account, Consumer, Pass};
pub use layout::{Refused, Segment, Shape, format};
pub use producer::Producer;
pub use record::{OpenSpan, Record, STAMP_BITS};
pub use words::Words;
