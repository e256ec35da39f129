//! How fast the CPUs run, and how deeply they sleep.

pub(crate) mod governor;
pub(crate) mod qos;
