//! What the service manager is told: ready, reloading, stopping, and a line for `systemctl status`.
//!
//! Outside systemd (no `NOTIFY_SOCKET`) every call does nothing. Reloading always carries MONOTONIC_USEC: without it a
//! `Type=notify-reload` unit waits five minutes and fails, and with it both unit types are content. A manager that does
//! not read is waited for as long as [`PATIENCE`] and no longer: the control loop has clients and signals to serve.
//! Source: sd_notify(3).

use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use host::messages;
use sd_notify::NotifyState;

/// How long a word waits for a place in the manager's queue. A manager that reads makes one within microseconds; one
/// that reloads its own units may take this long, and READY is worth waiting for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The agent serves, and this is its state in a line.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The state in a line.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it, whatever came of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(cause) => tracing::warn!(%cause, "cannot read the monotonic clock for the service manager"),
    }
}

/// The agent is about to end in good order.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says `words`, which sd_notify(3) documents and its crate has no names for.
pub fn tell_plainly(words: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(cause) = connect_patiently(&address).and_then(|socket| socket.send(words.as_bytes())) {
        tracing::warn!(%cause, words, "the service manager did not take what we said");
    }
}

/// Says `words` and gives a duplicate of `descriptor` with them; whether they were taken, or nobody is there to take them.
pub fn hand_over(words: &str, descriptor: BorrowedFd<'_>) -> bool {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return true };
    let sent = connect_patiently(&address)
        .and_then(|socket| messages::send(socket.as_fd(), words.as_bytes(), Some(descriptor)));
    if let Err(cause) = &sent {
        tracing::warn!(%cause, words, "the service manager did not take a descriptor");
    }
    sent.is_ok()
}

fn connect_patiently(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = connect(address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn tell(words: &[NotifyState<'_>]) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(cause) = send(&address, words) {
        tracing::warn!(%cause, "the service manager did not take our state");
    }
}

fn send(address: &OsStr, words: &[NotifyState<'_>]) -> io::Result<()> {
    let mut message = String::new();
    for word in words {
        let _ = writeln!(message, "{word}"); // a String takes everything
    }
    connect_patiently(address)?.send(message.as_bytes()).map(drop)
}

/// A socket to the service manager at `address`: a path, or a name after `@` in the abstract space.
///
/// # Errors
/// Nobody listens there, or the address is of another kind.
pub fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(address)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_and_a_manager_that_does_not_read_keeps_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), &[NotifyState::Ready, NotifyState::Status("well")]).unwrap();
        let mut heard = [0; 64];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\nSTATUS=well\n");

        let queue = connect(path.as_os_str()).unwrap();
        queue.set_nonblocking(true).unwrap();
        while queue.send(b"STATUS=full").is_ok() {} // as long as the kernel's queue is
        let refused = send(path.as_os_str(), &[NotifyState::Stopping]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }
}
