//! What a datagram through the host's own network stack costs: sent to itself over loopback and received.
//!
//! The whole path but for the card: the socket, the route, the filters (nftables, a cgroup's), the loopback device, the
//! softirq that carries the datagram to the receiving side before the call to send returns, and the receiving call.
//! Where that softirq is put off (ksoftirqd is behind, or receiving is steered to another CPU), the receiver waits for
//! it, and the sample contains that.
//!
//! Datagrams are numbered: one that comes after its time was up is thrown away and not taken for its successor.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use units::Nanos;

use crate::bursts::Operation;

/// One that has not come by now was dropped on the way. Far above what a softirq is put off by, and short enough for
/// whoever waits for the probe to stop.
const LOST_AFTER: Nanos = Nanos::from_millis(100);

/// One datagram of eight bytes, sent and received.
pub struct RoundTrip {
    socket: UdpSocket,
    sent: u64,
}

impl RoundTrip {
    /// On a port that the kernel chooses. Connected to itself, it receives from nobody else.
    ///
    /// # Errors
    /// The kernel's refusal: no loopback (EADDRNOTAVAIL), not allowed (EAFNOSUPPORT, EACCES), no descriptor (EMFILE).
    pub fn open() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(socket.local_addr()?)?;
        socket.set_read_timeout(Some(LOST_AFTER.into()))?;
        Ok(Self { socket, sent: 0 })
    }

    /// Receives until the latest datagram is here. Bound: those on the way, or [`LOST_AFTER`].
    #[inline]
    fn received(&self) -> bool {
        let mut number = [0; 8];
        while let Ok(8) = self.socket.recv(&mut number) {
            if u64::from_ne_bytes(number) == self.sent {
                return true;
            }
        }
        false
    }
}

impl Operation for RoundTrip {
    #[inline]
    fn perform(&mut self) -> bool {
        self.sent += 1;
        matches!(self.socket.send(&self.sent.to_ne_bytes()), Ok(8)) && self.received()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_is_real;

    #[test]
    fn a_round_trip_is_dearer_than_none() {
        check_is_real(Kind::UdpLoopback, RoundTrip::open().unwrap());
    }

    #[test]
    fn a_late_datagram_is_not_taken_for_its_successor() {
        let mut own = RoundTrip::open().unwrap();
        own.socket.send(&7_u64.to_ne_bytes()).unwrap(); // as if its time had been up before it came
        assert!(own.perform());
        own.socket.set_nonblocking(true).unwrap();
        assert_eq!(
            own.socket.recv(&mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock,
            "nothing is left"
        );
        assert!(!own.received(), "one that was lost is a failure");
    }

    #[test]
    fn strangers_are_not_heard() {
        let mut own = RoundTrip::open().unwrap();
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        stranger.send_to(&2_u64.to_ne_bytes(), own.socket.local_addr().unwrap()).unwrap();
        assert!(own.perform());
        own.socket.set_nonblocking(true).unwrap();
        assert!(!own.received());
    }
}
