//! Quantities and names that every other crate speaks: parse, print, arithmetic.
//!
//! A quantity is a type, not a number: [`Nanos`] and [`Ticks`] do not mix without a clock, [`CpuId`] indexes nothing
//! but [`CpuSet`], and [`Quantile`] is exact where a float is not. [`limits`] is the one table of bounds.
//!
//! Left out on purpose: reading anything, and every dependency beyond the error derive.

pub mod limits;

mod cpu;
mod irq;
mod name;
mod quantile;
mod suggest;
mod time;

pub use cpu::{CpuId, CpuSet};
pub use irq::Irq;
pub use name::Name;
pub use quantile::Quantile;
pub use suggest::nearest;
pub use time::{Nanos, Ticks};

/// A text that does not denote the quantity it was read as.
///
/// The message holds the text, what is wrong with it, and an example of the right form; callers add the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {problem}")]
pub struct ParseError {
    /// The text as it was given.
    pub text: String,
    /// What is wrong, and the form that would be right.
    pub problem: String,
}

impl ParseError {
    fn new(text: &str, problem: impl Into<String>) -> Self {
        Self { text: text.to_owned(), problem: problem.into() }
    }
}
