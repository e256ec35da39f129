//! The service manager's watchdog, fed by the collector itself.
//!
//! A timer in the control thread would keep feeding it while the measuring loop hangs, and systemd would see a healthy
//! service. So the hot loop feeds it, through a socket opened at start and never waited for: a manager that does not
//! read costs us one lost datagram, not a stall. Source: sd_notify(3), systemd.service(5) `WatchdogSec=`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use units::Nanos;

use crate::notify;

/// The datagram; the protocol's own words.
const ALIVE: &[u8] = b"WATCHDOG=1";

/// Feeds the watchdog at half its interval. A clone feeds it too: each collector has one, and whoever starts collectors
/// keeps one for the next.
#[derive(Debug, Clone)]
pub struct Watchdog {
    socket: Arc<UnixDatagram>,
    every: Nanos,
    next: Nanos,
}

impl Watchdog {
    /// From the environment the service manager set; `None` when it asks for no watchdog.
    ///
    /// # Errors
    /// The manager asks for one and its socket cannot be reached: it would kill us, so better to fail at start.
    pub fn from_environment() -> io::Result<Option<Self>> {
        let (Some(interval), Some(address)) =
            (sd_notify::watchdog_enabled(), std::env::var_os("NOTIFY_SOCKET"))
        else {
            return Ok(None);
        };
        Self::connect(&address, interval.into()).map(Some)
    }

    fn connect(address: &OsStr, interval: Nanos) -> io::Result<Self> {
        let socket = notify::connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Arc::new(socket), every: Nanos(interval.0 / 2), next: Nanos::ZERO })
    }

    /// Says that the loop is alive, if it is time; called once a pass, with that pass's `now`.
    pub fn feed(&mut self, now: Nanos) {
        if now >= self.next {
            self.next = now + self.every;
            let _ = self.socket.send(ALIVE); // a full queue is the manager's trouble, and the next one is soon
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fed_at_half_the_interval_and_only_by_calls() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let heard = || manager.recv(&mut [0; 64]).is_ok();
        let mut watchdog = Watchdog::connect(path.as_os_str(), Nanos::from_secs(10)).unwrap();
        assert!(!heard(), "nobody fed it yet");
        for (second, expected) in [(1, true), (2, false), (5, false), (6, true), (10, false), (11, true)] {
            watchdog.feed(Nanos::from_secs(second));
            assert_eq!(heard(), expected, "at {second} s");
        }
    }
}
