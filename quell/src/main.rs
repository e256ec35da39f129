//! The command on the host.
fn main() {}
