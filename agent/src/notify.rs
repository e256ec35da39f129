//! What the service manager is told: ready, reloading, stopping, and a line for `systemctl status`.
//!
//! Outside systemd (no `NOTIFY_SOCKET`) every call does nothing. Reloading always carries MONOTONIC_USEC: without it a
//! `Type=notify-reload` unit waits five minutes and fails, and with it both unit types are content.

use sd_notify::NotifyState;

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

fn tell(words: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(words) {
        tracing::warn!(%cause, "the service manager did not take our state");
    }
}
