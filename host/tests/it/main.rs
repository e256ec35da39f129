//! The readers against whole trees: captured machines, damaged captures, and the machine the tests run on.
#![expect(clippy::unwrap_used, reason = "a test binary, helpers included")]

mod facts;
mod fixtures;
mod hostile;
mod live;
