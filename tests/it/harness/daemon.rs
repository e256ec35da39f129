//! A daemon started as systemd starts it: it says by notification when it is ready, so nobody has to guess or
//! sleep.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use host::messages;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::quell::Running;
use super::{Output, Quell};

/// How often a daemon that says nothing is looked at for whether it still lives.
const LOOK: Duration = Duration::from_millis(50);

/// A running daemon; killed when dropped, whatever the test came to.
pub struct Daemon {
    running: Running,
    notifications: UnixDatagram,
    told: Vec<String>,
    /// What it put into the store, by name.
    stored: Vec<(String, OwnedFd)>,
    /// The names of what it took out of it.
    forgotten: Vec<String>,
    _socket: TempDir,
}

impl Daemon {
    #[track_caller]
    pub(super) fn start(quell: &Quell) -> Self {
        // A folder of its own: several daemons may be started from one command line.
        let socket = tempfile::tempdir().unwrap();
        let path = socket.path().join("notify");
        let notifications = UnixDatagram::bind(&path).unwrap();
        // Whoever the daemon runs as: systemd's own socket is open to all.
        std::fs::set_permissions(socket.path(), Permissions::from_mode(0o711)).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        let running = quell.spawn(&[("NOTIFY_SOCKET", &path)]);
        Self {
            running,
            notifications,
            told: Vec::new(),
            stored: Vec::new(),
            forgotten: Vec::new(),
            _socket: socket,
        }
    }

    /// Waits until it has told systemd that it is ready.
    #[track_caller]
    pub fn ready(mut self) -> Self {
        self.wait_told("READY=1");
        self
    }

    /// Waits for the next notification line that starts with `start` (`STATUS=`, `RELOADING=1`); the line.
    #[track_caller]
    pub fn wait_told(&mut self, start: &str) -> String {
        let looks = self.running.timeout.as_millis().div_ceil(LOOK.as_millis());
        for _ in 0..looks {
            if let Some(at) = self.told.iter().position(|line| line.starts_with(start)) {
                return self.told.drain(..=at).next_back().unwrap();
            }
            if !self.listen() && self.running.has_ended() {
                // What it sent before it died is still in the socket.
                while self.listen() {}
                let died = self.running.finish();
                assert!(
                    self.told.iter().any(|line| line.starts_with(start)),
                    "ended without {start}\n{died}"
                );
            }
        }
        panic!("did not tell {start} within {:?}\n{}", self.running.timeout, self.said());
    }

    /// Forgets what it has told so far and gives it: what is told from now on is new.
    pub fn told(&mut self) -> Vec<String> {
        while self.listen() {}
        std::mem::take(&mut self.told)
    }

    /// Takes in every notification there is.
    pub fn listen_all(&mut self) {
        while self.listen() {}
    }

    /// The descriptors in its store, as far as it was listened to.
    pub fn stored(&self) -> &[(String, OwnedFd)] {
        &self.stored
    }

    /// What is in its store, for the next one.
    pub fn take_stored(&mut self) -> Vec<(String, OwnedFd)> {
        std::mem::take(&mut self.stored)
    }

    /// The names of what it took out of its store.
    pub fn forgotten(&self) -> &[String] {
        &self.forgotten
    }

    /// Its process number.
    pub fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// What it has said so far.
    pub fn said(&self) -> Output {
        self.running.said(None)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Asks it to stop, as systemd does, and waits for its end.
    #[track_caller]
    pub fn stop(self) -> Output {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        self.running.finish()
    }

    /// Takes one notification, if there is one before the next look.
    fn listen(&mut self) -> bool {
        let mut wait = [PollFd::new(self.notifications.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut wait, PollTimeout::try_from(LOOK).unwrap()); // interrupted is as good as too early
        let mut message = [0; 4096]; // as large as any systemd accepts
        match messages::receive(self.notifications.as_fd(), &mut message) {
            Ok(received) => {
                let text = String::from_utf8_lossy(&message[..received.length]);
                let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
                if text.starts_with("FDSTOREREMOVE=1") {
                    self.forgotten.extend(name.map(str::to_owned));
                }
                self.stored.extend(received.descriptor.map(|fd| (name.unwrap_or("stored").to_owned(), fd)));
                self.told.extend(text.lines().map(str::to_owned));
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => panic!("notification socket: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use report::Exit;

    /// Does `first`, sends `lines` as notifications, then does `then`. Perl is in every Debian; the shell has
    /// no datagrams.
    fn notifying(first: &str, lines: &str, then: &str) -> Quell {
        let script = format!(
            "use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); {first}; \
             send(S, $_, 0, sockaddr_un($ENV{{NOTIFY_SOCKET}})) for {lines}; {then}"
        );
        Quell::new().under(["perl", "-e", &script])
    }

    #[test]
    fn a_daemon_is_ready_when_it_says_so_and_stops_when_asked() {
        let first = "print STDERR \"warming up\n\"; $SIG{TERM} = sub { exit 9 }";
        let lines = "\"STATUS=warming up\nREADY=1\", \"STATUS=running\"";
        let mut daemon = notifying(first, lines, "sleep 1000").start().ready();
        assert_eq!(daemon.said().stderr, "warming up\n", "what it says can be read while it runs");
        assert_eq!(daemon.wait_told("STATUS="), "STATUS=running");
        daemon.stop().exits(Exit::Busy);
    }

    #[test]
    fn a_daemon_dies_with_its_handle() {
        let daemon = notifying("", "\"READY=1\"", "sleep 1000").start().ready();
        let pid = daemon.pid();
        assert_eq!(kill(pid, None), Ok(()));
        drop(daemon);
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
    }

    #[test]
    fn a_daemon_that_dies_early_is_told_at_once() {
        let started =
            || drop(notifying("", "\"STATUS=x\"", "print STDERR \"no socket\"; exit 4").start().ready());
        let message = std::panic::catch_unwind(started).unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("ended without READY=1") && message.contains("no socket"), "{message}");
    }

    #[test]
    fn a_daemon_that_says_nothing_is_given_up() {
        let silent = notifying("", "()", "sleep 1000").timeout(Duration::from_millis(100));
        let message = std::panic::catch_unwind(move || drop(silent.start().ready())).unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("did not tell READY=1 within 100ms"), "{message}");
    }
}
