//! Descriptors the service manager hands over at the start: listening sockets, and what was put into its store before a
//! restart.
//!
//! Without a manager there are none, which is no error: whoever wants a socket then makes it. The environment stays as it
//! is; we start no programs that could mistake it for theirs. Source: sd_listen_fds(3).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::lstat;

/// The first descriptor behind the standard ones; fixed by the protocol.
const FIRST: RawFd = 3;

/// Above the largest store of our units (`FileDescriptorStoreMax=1024`) and their sockets; more is no count of ours.
const COUNT_MAX: RawFd = 2048;

/// A descriptor that was open before we were.
#[derive(Debug)]
pub struct Inherited {
    /// As the unit names it (`FileDescriptorName=`), or as it was put into the store (`FDNAME=`).
    pub name: String,
    /// Ours from now on, closed on exec.
    pub fd: OwnedFd,
}

/// Takes what was handed to this process, in the manager's order; a second call finds nothing left.
///
/// # Errors
/// The variables are meant for us and do not name open descriptors: the manager and we do not understand each other.
pub fn take() -> io::Result<Vec<Inherited>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let announced = announced(|key| std::env::var(key).ok(), std::process::id())?;
    if announced.is_empty() || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    announced.into_iter().map(|(fd, name)| Ok(Inherited { name, fd: own(fd)? })).collect()
}

/// What the environment announces to the process `pid`.
///
/// Format: LISTEN_PID=4711, LISTEN_FDS=2, LISTEN_FDNAMES=report:ring-0
fn announced(var: impl Fn(&str) -> Option<String>, pid: u32) -> io::Result<Vec<(RawFd, String)>> {
    if var("LISTEN_PID").and_then(|text| text.parse().ok()) != Some(pid) {
        return Ok(Vec::new()); // for nobody, or for whoever started us
    }
    let count = var("LISTEN_FDS").unwrap_or_default();
    let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let number = count.parse().ok().filter(|count| (0..=COUNT_MAX).contains(count));
    let number: RawFd = number.ok_or_else(|| {
        invalid(format!("LISTEN_FDS={count:?}: not a number of descriptors up to {COUNT_MAX}"))
    })?;
    let names = var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    Ok((FIRST..FIRST + number).map(|fd| (fd, names.next().unwrap_or_default())).collect())
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if lstat(format!("/proc/self/fd/{fd}").as_str()).is_err() {
        let problem = format!("descriptor {fd} was announced by LISTEN_FDS and is not open");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    // SAFETY: `fd` is open (looked up above) and belongs to nobody else here: it was announced to this very process
    // before its first instruction, so no code of ours opened it, and `TAKEN` lets one caller have it.
    #[expect(unsafe_code, reason = "a number becomes a descriptor in no safe way")]
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &str) {
        let var =
            |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        let found = match announced(var, 47) {
            Ok(found) => found.iter().map(|(fd, name)| format!("{fd}={name} ")).collect(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(found.trim_end(), expected);
    }

    #[test]
    fn what_is_announced_to_us_is_ours() {
        let us = ("LISTEN_PID", "47");
        check(&[], "");
        check(&[us, ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "report")], "3=report");
        check(
            &[us, ("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "report:ring-0:ring-1")],
            "3=report 4=ring-0 5=ring-1",
        );
        check(&[us, ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "report")], "3=report 4="); // older managers name none
        check(&[("LISTEN_PID", "48"), ("LISTEN_FDS", "1")], ""); // for our parent
        check(&[us, ("LISTEN_FDS", "0")], "");
        for count in ["", "-1", "x", "2049", "99999999999"] {
            let expected = format!("error: LISTEN_FDS={count:?}: not a number of descriptors up to 2048");
            check(&[us, ("LISTEN_FDS", count)], &expected);
        }
    }

    #[test]
    fn what_is_not_open_is_refused() {
        let error = own(RawFd::MAX).unwrap_err().to_string();
        assert_eq!(error, "descriptor 2147483647 was announced by LISTEN_FDS and is not open");
    }
}
