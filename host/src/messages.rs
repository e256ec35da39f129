//! Messages over a Unix socket of whole messages (SOCK_SEQPACKET), with at most one descriptor each.
//!
//! The receiving side takes nothing on trust: the room for descriptors is for exactly one, so that the kernel keeps back
//! every other; a message that did not fit, or that carried more, is an error and whatever came with it is closed. Receiving
//! never waits; whoever wants to wait polls the descriptor. Source: unix(7), cmsg(3), recvmsg(2).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};

/// A message as it came.
#[derive(Debug)]
pub struct Received {
    /// Its bytes in the buffer; 0 when the other side has hung up.
    pub length: usize,
    /// The descriptor that came with it.
    pub descriptor: Option<OwnedFd>,
}

/// A connection to whoever listens at `path`; does not wait.
///
/// # Errors
/// ENOENT, ECONNREFUSED when nobody does; EACCES; EAGAIN when too many are waiting there.
pub fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Sends one message, with a descriptor if there is one; waits as long as the socket itself says, which one of ours never
/// does.
///
/// # Errors
/// EAGAIN when the other side does not read; EPIPE when it is gone.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let rights = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
    let control = rights.as_ref().map(|rights| ControlMessage::ScmRights(rights));
    let message = [IoSlice::new(message)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &message, control.as_slice(), MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Room for exactly one descriptor; `CMSG_SPACE` would leave room for two.
#[repr(C)]
struct Control {
    head: libc::cmsghdr,
    descriptor: libc::c_int,
}

/// Bytes of it that the kernel may fill, which are also those of a head with one descriptor behind it.
const CONTROL_BYTES: usize = size_of::<libc::cmsghdr>() + size_of::<libc::c_int>();

/// Receives one message into `buffer`.
///
/// # Errors
/// EAGAIN when none is there; InvalidData for a message that is longer than `buffer` or carried more than one descriptor.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let head = libc::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 };
    let mut control = Control { head, descriptor: -1 };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut message = libc::msghdr {
        msg_name: std::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: &raw mut part,
        msg_iovlen: 1,
        msg_control: (&raw mut control).cast(),
        msg_controllen: CONTROL_BYTES,
        msg_flags: 0,
    };
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` points to one part (`buffer`, as long as it says) and to `control`, of which CONTROL_BYTES are
    // writable; all of them live until the call has returned, and the kernel keeps no pointer.
    #[expect(unsafe_code, reason = "nix leaks the descriptors of a message that carried too many")]
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let length = Errno::result(length).map_err(io::Error::from)?;
    let descriptor = descriptor_in(&control, message.msg_controllen);
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        let problem = "a message that is too long, or carries more than one descriptor";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(Received { length: usize::try_from(length).map_err(io::Error::other)?, descriptor })
}

fn descriptor_in(control: &Control, filled: usize) -> Option<OwnedFd> {
    let libc::cmsghdr { cmsg_len, cmsg_level, cmsg_type } = control.head;
    let is_one = filled >= CONTROL_BYTES && cmsg_len == CONTROL_BYTES;
    if !is_one || (cmsg_level, cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) || control.descriptor < 0 {
        return None;
    }
    // SAFETY: the kernel has just put this number here as a descriptor that it opened for us; nobody else knows it.
    #[expect(unsafe_code, reason = "the kernel hands over numbers")]
    Some(unsafe { OwnedFd::from_raw_fd(control.descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::socketpair;
    use std::os::fd::AsFd;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/thread-self/fd").unwrap().count()
    }

    fn send_many(socket: &OwnedFd, bytes: &[u8], rights: &[i32]) {
        let control = [ControlMessage::ScmRights(rights)];
        sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &control, MsgFlags::empty(), None)
            .unwrap();
    }

    #[test]
    fn messages_come_whole_with_their_descriptor() {
        let (here, there) = pair();
        let mut buffer = [0; 16];
        let nothing = receive(here.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        send(there.as_fd(), b"plain", None).unwrap();
        send(there.as_fd(), b"with", Some(there.as_fd())).unwrap();
        let plain = receive(here.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..plain.length], plain.descriptor.is_none()), (&b"plain"[..], true));
        let with = receive(here.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..with.length], b"with");
        // It is the same socket: what is sent through it arrives here.
        send(with.descriptor.unwrap().as_fd(), b"again", None).unwrap();
        assert_eq!(receive(here.as_fd(), &mut buffer).unwrap().length, 5);
        drop(there);
        assert_eq!(receive(here.as_fd(), &mut buffer).unwrap().length, 0, "hung up");
    }

    #[test]
    fn what_is_too_much_is_refused_and_closed() {
        let (here, there) = pair();
        let before = open_descriptors();
        let number = there.as_raw_fd();
        let mut buffer = [0; 4];
        for rights in [&[number, number][..], &[number; 3], &[number; 200]] {
            send_many(&there, b"1234", rights);
            let refused = receive(here.as_fd(), &mut buffer).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{} descriptors", rights.len());
        }
        send_many(&there, b"12345", &[number]);
        assert_eq!(receive(here.as_fd(), &mut buffer).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(open_descriptors() <= before + 4, "descriptors are left open"); // other tests open some, too
    }
}
