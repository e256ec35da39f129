//! What the service manager is told: ready, a line for `systemctl status`, alive, stopping.
//!
//! One datagram a word, never waited for: a manager that does not read costs a word. Outside systemd (no
//! `NOTIFY_SOCKET`) nothing is said. The watchdog is fed by the loop that does the work, and by the same thread while it
//! waits for writes that take long (huge pages, each with a deadline of its own), not by a timer beside it.
//! Source: sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU64, Ordering};

use host::threads::monotonic_now;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use units::Nanos;

/// The line to the service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    /// Half of what the manager waits for a sign of life.
    every: Option<Nanos>,
    next: Nanos,
    status: String,
}

impl Notify {
    /// As the environment has it.
    ///
    /// # Errors
    /// There is a manager, and it cannot be reached: it would wait for us in vain.
    pub fn from_environment() -> io::Result<Self> {
        let socket = std::env::var_os("NOTIFY_SOCKET").map(|address| connect(&address)).transpose()?;
        let every = sd_notify::watchdog_enabled().map(|interval| Nanos(Nanos::from(interval).0 / 2));
        Ok(Self { socket, every, next: Nanos::ZERO, status: String::new() })
    }

    /// The keeper serves.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It reads its policy again; [`Notify::ready`] ends it, whatever came of it.
    pub fn reloading(&self, now: Nanos) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.0 / 1000));
    }

    /// It is about to end in good order.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Its state in a line, when that has changed.
    pub fn status(&mut self, line: &str) {
        let line: String = line.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        if line != self.status {
            self.tell(&format!("STATUS={line}"));
            self.status = line;
        }
    }

    /// Says that the loop is alive, if it is time.
    pub fn feed(&mut self, now: Nanos) {
        if let Some(every) = self.every.filter(|_| now >= self.next) {
            self.tell("WATCHDOG=1");
            self.next = now + every;
        }
    }

    /// Feeds from within a piece of work that takes long; called often, it feeds at half the interval.
    ///
    /// # Errors
    /// There is no descriptor left for it.
    pub fn pulse(&self) -> io::Result<impl Fn() + Send + Sync + use<>> {
        let socket = self.socket.as_ref().map(UnixDatagram::try_clone).transpose()?;
        let (every, next) = (self.every, AtomicU64::new(0));
        Ok(move || {
            let (Some(socket), Some(every)) = (&socket, every) else { return };
            let now = monotonic_now();
            if now.0 >= next.load(Ordering::Relaxed) {
                next.store((now + every).0, Ordering::Relaxed); // one thread beats at a time
                let _ = socket.send(b"WATCHDOG=1"); // as in `tell`
            }
        })
    }

    /// When to feed next; `None` when nobody waits for it.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        self.every.map(|_| self.next)
    }

    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(words.as_bytes()); // a full queue is the manager's trouble
        }
    }
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(address)?,
    }
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_once_and_the_watchdog_at_half_its_interval() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let heard = || {
            let mut words = [0; 64];
            let length = manager.recv(&mut words).unwrap_or(0);
            String::from_utf8(words[..length].to_vec()).unwrap()
        };
        let socket = Some(connect(path.as_os_str()).unwrap());
        let mut notify =
            Notify { socket, every: Some(Nanos::from_secs(5)), next: Nanos::ZERO, status: String::new() };
        notify.ready();
        assert_eq!(heard(), "READY=1");
        notify.status("a\nWATCHDOG=0");
        assert_eq!(heard(), "STATUS=a WATCHDOG=0");
        notify.status("a\nWATCHDOG=0");
        assert_eq!(heard(), "", "told already");
        for (second, expected) in [(1, "WATCHDOG=1"), (5, ""), (6, "WATCHDOG=1"), (10, "")] {
            notify.feed(Nanos::from_secs(second));
            assert_eq!(heard(), expected, "at {second} s");
        }
        assert_eq!(notify.deadline(), Some(Nanos::from_secs(11)));
        let pulse = Notify { every: Some(Nanos::from_secs(3600)), ..notify }.pulse().unwrap();
        pulse();
        assert_eq!(heard(), "WATCHDOG=1");
        pulse();
        assert_eq!(heard(), "", "not more often than the loop would");
    }
}
