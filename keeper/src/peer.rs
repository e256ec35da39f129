//! Who is at the other end of a connection, and whether that is the agent of this host.
//!
//! The kernel says which process connected (SO_PEERCRED), in our namespaces: the root of a container, or a user mapped
//! onto the agent's, bears the agent's uid here and is a stranger all the same. The keeper may not follow another
//! process's namespace links (that takes CAP_SYS_PTRACE), so it is told by what everybody may read: a process of our user
//! namespace shows our `uid_map`, one of our pid namespace shows one number in `NSpid`. A process that has ended by then
//! proves nothing, and its number may be another's: it is refused too (from Linux 6.5 on, by its pidfd; before, only while
//! nobody else has its number). A user namespace that root gave the identity mapping looks like ours, and its users are
//! ours. Sources: unix(7), user_namespaces(7),
//! Documentation/filesystems/proc.rst, table 1-2.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use host::Root;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};

/// The process at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its number here; 0 when it is in a namespace that we do not see into.
    pub pid: u32,
    /// Its user here.
    pub uid: u32,
}

impl Peer {
    /// As the kernel remembers it from the moment of connecting.
    ///
    /// # Errors
    /// The kernel's refusal to say.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        Ok(Self { pid: u32::try_from(credentials.pid()).unwrap_or(0), uid: credentials.uid() })
    }

    /// Whether this is `agent` (no uid: there is no such user), in our own namespaces.
    ///
    /// # Errors
    /// Why it is not, in a sentence.
    pub fn check(self, stream: &UnixStream, proc: &Root, agent: Option<u32>) -> Result<(), String> {
        let agent = agent.ok_or("the agent's user does not exist on this host")?;
        if self.uid != agent {
            return Err(format!("uid {} is not the agent's ({agent})", self.uid));
        }
        if self.pid == 0 {
            return Err("it is in a pid namespace that is not below ours".to_owned());
        }
        let handle = pidfd(stream)?;
        let theirs = Kin::read(proc, &self.pid.to_string())?;
        let ours = Kin::read(proc, "self")?;
        ours.recognises(&theirs, self.uid)?;
        match handle.is_some_and(|handle| has_ended(&handle)) {
            true => Err("it ended before it could be looked at".to_owned()),
            false => Ok(()),
        }
    }
}

/// A handle on the process that connected, which no other process can take over; `None` before Linux 6.5.
fn pidfd(stream: &UnixStream) -> Result<Option<OwnedFd>, String> {
    match getsockopt(stream, PeerPidfd) {
        Ok(handle) => Ok(Some(handle)),
        Err(Errno::ENOPROTOOPT) => Ok(None),
        Err(errno) => Err(format!("it ended before it could be looked at ({errno})")),
    }
}

fn has_ended(handle: &OwnedFd) -> bool {
    let mut ended = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
    poll(&mut ended, PollTimeout::ZERO) != Ok(0)
}

/// What tells the namespaces of a process.
#[derive(Debug, PartialEq, Eq)]
struct Kin {
    uid_map: String,
    gid_map: String,
    /// In how many pid namespaces below that of /proc it has a number.
    pids: usize,
    /// Its real uid, as /proc shows it.
    uid: Option<u32>,
}

impl Kin {
    fn read(proc: &Root, pid: &str) -> Result<Self, String> {
        let read =
            |name: &str| proc.read_lossy(&format!("/proc/{pid}/{name}")).map_err(|error| error.to_string());
        let (pids, uid) = parse_status(&read("status")?);
        Ok(Self { uid_map: read("uid_map")?, gid_map: read("gid_map")?, pids, uid })
    }

    fn recognises(&self, other: &Self, uid: u32) -> Result<(), String> {
        match () {
            () if self.uid_map != other.uid_map || self.gid_map != other.gid_map => {
                Err("it is in another user namespace".to_owned())
            }
            () if self.pids != other.pids => Err("it is in another pid namespace".to_owned()),
            // Real or effective: a set-uid program connects as neither.
            () if other.uid != Some(uid) => Err(format!("its process does not run as uid {uid}")),
            () => Ok(()),
        }
    }
}

/// The count of numbers in NSpid, and the real uid.
// Format: "Uid:\t0\t0\t0\t0", "NSpid:\t4711\t1"
fn parse_status(text: &str) -> (usize, Option<u32>) {
    let words = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default().split_whitespace()
    };
    (words("NSpid:").count(), words("Uid:").next().and_then(|uid| uid.parse().ok()))
}

/// The uid of a user, from `/etc/passwd` alone: what asks the network would run in the process that must not.
///
/// # Errors
/// The file cannot be read.
pub fn uid_of(root: &Root, user: &str) -> Result<Option<u32>, host::Error> {
    Ok(parse_passwd(&root.read_lossy("/etc/passwd")?, user))
}

// Format: "quell:x:995:995:quell agent:/nonexistent:/usr/sbin/nologin"   (passwd(5))
fn parse_passwd(text: &str, user: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tquell\nUmask:\t0022\nPid:\t42\nUid:\t995\t995\t995\t995\nNSpid:\t42\n";
    const WHOLE: &str = "         0          0 4294967295\n";

    fn kin(uid_map: &str, gid_map: &str, status: &str) -> Kin {
        let (pids, uid) = parse_status(status);
        Kin { uid_map: uid_map.to_owned(), gid_map: gid_map.to_owned(), pids, uid }
    }

    #[test]
    fn only_a_process_of_our_own_namespaces_is_kin() {
        #[track_caller]
        fn check(other: &Kin, expected: Result<(), &str>) {
            let ours = kin(WHOLE, WHOLE, "Uid:\t0\t0\t0\t0\nNSpid:\t7\n");
            assert_eq!(ours.recognises(other, 995), expected.map_err(str::to_owned));
        }
        check(&kin(WHOLE, WHOLE, STATUS), Ok(()));
        let mapped = "         0        995          1\n";
        check(&kin(mapped, WHOLE, STATUS), Err("it is in another user namespace"));
        check(&kin(WHOLE, mapped, STATUS), Err("it is in another user namespace"));
        check(&kin("", "", STATUS), Err("it is in another user namespace")); // no mapping yet
        let nested = STATUS.replace("NSpid:\t42", "NSpid:\t42\t1");
        check(&kin(WHOLE, WHOLE, &nested), Err("it is in another pid namespace"));
        let other = STATUS.replace("995\t995", "996\t995");
        check(&kin(WHOLE, WHOLE, &other), Err("its process does not run as uid 995"));
        check(&kin(WHOLE, WHOLE, "NSpid:\t42\n"), Err("its process does not run as uid 995"));
    }

    #[test]
    fn our_own_process_is_kin() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.check(&ours, &Root::system(), Some(peer.uid)), Ok(()));
        let stranger = peer.check(&ours, &Root::system(), Some(peer.uid + 1)).unwrap_err();
        assert!(stranger.contains("is not the agent's"), "{stranger}");
        assert!(peer.check(&ours, &Root::system(), None).unwrap_err().contains("does not exist"));
    }

    #[test]
    fn users() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nquell:x:995:995::/nonexistent:/usr/sbin/nologin\nbroken\n+::::::\n";
        assert_eq!(parse_passwd(passwd, "quell"), Some(995));
        assert_eq!(parse_passwd(passwd, "root"), Some(0));
        assert_eq!(parse_passwd(passwd, "quel"), None);
        assert_eq!(parse_passwd(passwd, "broken"), None);
    }
}
