//! One integration binary: the real command against real and fixture hosts.
