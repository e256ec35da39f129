//! What this process is, asked once: neither its number nor its user changes while it lives, since nothing of quell forks or
//! becomes somebody else. A daemon asks before it is ready, so that two calls less are among those it may make afterwards.

use std::sync::OnceLock;

use nix::unistd::{Uid, geteuid, getpid};

/// Its number.
#[must_use]
pub fn pid() -> u32 {
    static PID: OnceLock<u32> = OnceLock::new();
    *PID.get_or_init(|| getpid().as_raw().unsigned_abs())
}

/// The user it acts as.
#[must_use]
pub fn user() -> Uid {
    static USER: OnceLock<Uid> = OnceLock::new();
    *USER.get_or_init(geteuid)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_this_process() {
        assert_eq!(super::pid(), std::process::id());
        assert_eq!(super::user(), nix::unistd::geteuid());
    }
}
