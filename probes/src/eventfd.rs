//! What telling oneself something through the kernel costs: a write to an eventfd of our own, and the read that takes it.
//!
//! Two system calls on one file without anybody to wake: the descriptor table, the permission hooks and the file's lock,
//! which every loop around epoll goes through. Nothing blocks: what is read was written before.

use std::io;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::bursts::Operation;

/// One write and one read.
pub struct RoundTrip(EventFd);

impl RoundTrip {
    /// # Errors
    /// The kernel's refusal: no descriptor left (EMFILE).
    pub fn open() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }
}

impl Operation for RoundTrip {
    #[inline]
    fn perform(&mut self) -> bool {
        self.0.write(1).is_ok() && self.0.read() == Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_is_real;
    use nix::errno::Errno;

    #[test]
    fn a_round_trip_is_dearer_than_none() {
        check_is_real(Kind::Eventfd, RoundTrip::open().unwrap());
    }

    #[test]
    fn what_was_written_is_read_and_nothing_is_left() {
        let mut own = RoundTrip::open().unwrap();
        assert!(own.perform());
        assert_eq!(own.0.read(), Err(Errno::EAGAIN));
        own.0.write(1).unwrap();
        assert!(!own.perform(), "two were written: not the round trip that is measured");
    }
}
