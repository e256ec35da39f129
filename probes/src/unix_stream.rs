//! What a byte to somebody on this host costs: there and back over a pair of connected unix sockets.
//!
//! Both ends are this thread's, so that nobody has to be woken: two writes and two reads, each with its buffer allocated,
//! charged to the socket and freed.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::bursts::Operation;

/// One byte there and back.
pub struct RoundTrip {
    near: UnixStream,
    far: UnixStream,
}

impl RoundTrip {
    /// # Errors
    /// The kernel's refusal: no descriptors left (EMFILE).
    pub fn open() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        // What is read was written before; should it not be there, that is a failure and no reason to wait for ever.
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self { near, far })
    }
}

impl Operation for RoundTrip {
    #[inline]
    fn perform(&mut self) -> bool {
        passes(&self.near, &self.far) && passes(&self.far, &self.near)
    }
}

/// One byte from here to there.
#[inline]
fn passes(mut from: &UnixStream, mut to: &UnixStream) -> bool {
    let mut byte = [0];
    matches!(from.write(&[1]), Ok(1)) && matches!(to.read(&mut byte), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_is_real;

    #[test]
    fn a_round_trip_is_dearer_than_none() {
        check_is_real(Kind::UnixStream, RoundTrip::open().unwrap());
    }

    #[test]
    fn what_was_written_is_read_and_nothing_is_left() {
        let mut pair = RoundTrip::open().unwrap();
        assert!(pair.perform());
        for end in [&mut pair.near, &mut pair.far] {
            assert_eq!(end.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        drop(std::mem::replace(&mut pair.far, UnixStream::pair().unwrap().0));
        assert!(!pair.perform(), "nobody is at the other end");
    }
}
