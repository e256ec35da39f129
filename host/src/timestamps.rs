//! The stamping of packets that arrive, kept on.
//!
//! The kernel stamps packets as long as one socket anywhere asks for it, and patches its own code when the first one comes
//! and when the last one goes: each time an interrupt on every CPU, isolated ones included. One socket that asks and does
//! nothing else keeps it from happening, whoever comes and goes meanwhile. It stamps for all network namespaces at once, and
//! any socket will do that is not local: one to the kernel itself needs no network at all.
//! Sources: socket(7), SO_TIMESTAMP; net/core/sock.c, sock_needs_netstamp; TuneD's plug-in `rtentsk` does the same.

use std::fs::read_link;
use std::os::fd::OwnedFd;

use nix::sys::socket::sockopt::ReceiveTimestamp;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, getsockopt, setsockopt, socket};

use crate::tasks::{self, Pid};
use crate::{Error, Root};

/// A request for stamps, in force as long as this lives. Nothing is asked of the kernel by it: no message reaches it.
#[derive(Debug)]
pub struct Held {
    socket: OwnedFd,
}

impl Held {
    /// Asks. The kernel's code is patched within moments, by a worker of its own, unless somebody asked before.
    ///
    /// # Errors
    /// The system's: EAFNOSUPPORT where a unit does not let it have such sockets.
    pub fn hold() -> std::io::Result<Self> {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&socket, ReceiveTimestamp, &true)?;
        Ok(Self { socket })
    }

    /// Whether the kernel says that it is asked for.
    ///
    /// # Errors
    /// The system's.
    pub fn is_in_force(&self) -> std::io::Result<bool> {
        Ok(getsockopt(&self.socket, ReceiveTimestamp)?)
    }
}

/// What the process that holds stamps is called.
const HOLDER: &str = "quell-hold";

/// The process of that name that has a socket open that is not local, if there is one. Whether others' sockets ask
/// for stamps the kernel shows nobody.
///
/// # Errors
/// [`Error::Read`]: the descriptors of another user's process are root's to see.
pub fn holder(root: &Root) -> Result<Option<Pid>, Error> {
    let Some(pid) = tasks::named(root, HOLDER)? else { return Ok(None) };
    let dir = format!("/proc/{pid}/fd");
    // Format: "ffff8880b8b7e400: 00000002 00000000 00010000 0001 01 12345 /run/x"   (net/unix/af_unix.c, unix_seq_show)
    let table = root.read_lossy(&format!("/proc/{pid}/net/unix"))?;
    let is_local =
        |inode: &str| table.lines().any(|line| line.split_ascii_whitespace().nth(6) == Some(inode));
    // Format: "socket:[12345]"   (proc(5), /proc/pid/fd)
    let inode = |number: String| {
        let link = read_link(root.display(&format!("{dir}/{number}"))).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let mut sockets = root.list(&dir)?.into_iter().filter_map(inode);
    Ok(sockets.any(|inode| !is_local(&inode)).then_some(pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_kernel_takes_the_request() {
        match Held::hold() {
            Ok(held) => assert!(held.is_in_force().unwrap()),
            Err(error) => println!("skipped: {error}"),
        }
    }

    #[test]
    fn a_holder_is_known_by_its_name_and_a_socket_that_is_not_local() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let process = dir.path().join("proc/40");
        for part in ["fd", "net"] {
            fs::create_dir_all(process.join(part)).unwrap();
        }
        let put = |file: &str, text: &str| fs::write(process.join(file), text).unwrap();
        put("comm", "quell-hold\n");
        // The socket to the service manager is one as well.
        put(
            "net/unix",
            "Num       RefCount Protocol Flags    Type St Inode Path\n\
             ffff8880b8b7e400: 00000002 00000000 00000000 0002 01 4711\n",
        );
        symlink("/dev/null", process.join("fd/0")).unwrap();
        symlink("socket:[4711]", process.join("fd/3")).unwrap();
        assert_eq!(holder(&root).unwrap(), None);
        symlink("socket:[4712]", process.join("fd/4")).unwrap();
        assert_eq!(holder(&root).unwrap(), Some(Pid(40)));
        put("comm", "quell-keeper\n");
        assert_eq!(holder(&root).unwrap(), None);
    }
}
