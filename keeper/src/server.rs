//! The socket that orders come through: connections, bytes in, bytes out, nothing of what they mean.
//!
//! SOCK_SEQPACKET: one message a read, whole or marked as too long. Read without a buffer for control data, so that
//! descriptors which a peer stuffs into a message are never received. Nothing waits: a client that does not take its answer
//! is dropped. Connections are few; with one too many the one that was idle longest goes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect,
    getsockopt, listen, recv, send, sendmsg, socket, sockopt,
};
use nix::sys::stat::{Mode, umask};
use orders::ANSWER_BYTES;
use units::Nanos;
use units::limits::KEEPER_CLIENTS_MAX;

use crate::peer::Peer;

/// The socket is its owner's alone: 0600.
const SOCKET_UMASK: Mode = Mode::from_bits_truncate(0o177);

/// Connections the kernel keeps for us between two passes.
const BACKLOG: i32 = 8;

/// How long no connection is taken after the process ran out of descriptors: a waiting one would keep the loop spinning.
const PAUSE: Nanos = Nanos::from_secs(1);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody listens there.
    #[error("{}: another keeper serves this socket; stop it first, or give this one --socket PATH", .0.display())]
    Busy(PathBuf),
    /// The path cannot be used.
    #[error("{}: cannot listen for orders: {cause} (the directory comes from tmpfiles.d; else give --socket PATH)", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What the service manager handed over is no socket for orders.
    #[error("the socket that systemd handed over is of another kind; it must be ListenSequentialPacket=")]
    Inherited,
}

/// The listening socket and who is connected.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    /// The path, when the socket was made here and goes with us.
    path: Option<PathBuf>,
    clients: Vec<Client>,
    next_id: u64,
    paused_until: Option<Nanos>,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    id: u64,
    stream: UnixStream,
    peer: Peer,
    last_heard: Nanos,
}

impl Client {
    /// By which it is found again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Server {
    /// Serves a socket that the service manager opened.
    ///
    /// # Errors
    /// [`ServerError::Inherited`].
    pub fn inherited(socket: OwnedFd) -> Result<Self, ServerError> {
        let kind = getsockopt(&socket, sockopt::SockType);
        let listens = getsockopt(&socket, sockopt::AcceptConn);
        match (kind, listens) {
            (Ok(SockType::SeqPacket), Ok(true)) => Ok(Self::of(socket.into(), None)),
            _ => Err(ServerError::Inherited),
        }
    }

    /// Listens at `path`, in the place of a socket that nobody serves any more. Changes the process's umask for that
    /// moment, so it belongs before the first thread.
    ///
    /// # Errors
    /// [`ServerError::Busy`], [`ServerError::Unusable`].
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let unusable = |cause: io::Error| ServerError::Unusable { path: path.to_owned(), cause };
        remove_stale(path)?;
        let socket = new_socket().map_err(|errno| unusable(errno.into()))?;
        let address = UnixAddr::new(path).map_err(|errno| unusable(errno.into()))?;
        let before = umask(SOCKET_UMASK);
        let bound = bind(socket.as_raw_fd(), &address);
        umask(before);
        let backlog = Backlog::new(BACKLOG).expect("a small number is a backlog");
        bound.and_then(|()| listen(&socket, backlog)).map_err(|errno| unusable(errno.into()))?;
        Ok(Self::of(socket.into(), Some(path.to_owned())))
    }

    fn of(listener: UnixListener, path: Option<PathBuf>) -> Self {
        // Whatever it was handed over as: a connection that is gone before it is taken must not hold the loop.
        let _ = fcntl(&listener, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK));
        Self { listener, path, clients: Vec::new(), next_id: 0, paused_until: None }
    }

    /// The listener's descriptor, unless no connection is taken at the moment.
    #[must_use]
    pub fn listening(&self, now: Nanos) -> Option<BorrowedFd<'_>> {
        self.paused_until.is_none_or(|until| until <= now).then(|| self.listener.as_fd())
    }

    /// When to listen again; `None` when nothing was put off.
    #[must_use]
    pub fn deadline(&self, now: Nanos) -> Option<Nanos> {
        self.paused_until.filter(|until| *until > now)
    }

    /// Who is connected.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// The descriptor of a client.
    #[must_use]
    pub fn descriptor(client: &Client) -> BorrowedFd<'_> {
        client.stream.as_fd()
    }

    /// Takes a waiting connection; `None` when it is gone again.
    ///
    /// # Errors
    /// There are no descriptors left; connections are put off for a while.
    pub fn accept(&mut self, now: Nanos) -> io::Result<Option<(UnixStream, Peer)>> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                self.paused_until = None;
                let peer = Peer::of(&stream)?;
                Ok(Some((stream, peer)))
            }
            Err(error) if matches!(errno(&error), Some(Errno::EMFILE | Errno::ENFILE)) => {
                self.paused_until = Some(now + PAUSE);
                Err(error)
            }
            Err(_) => Ok(None),
        }
    }

    /// Serves a connection; the peer that had to make room for it, if one had to.
    pub fn admit(&mut self, stream: UnixStream, peer: Peer, now: Nanos) -> Option<Peer> {
        let is_full = self.clients.len() >= KEEPER_CLIENTS_MAX;
        let idlest = self.clients.iter().min_by_key(|client| client.last_heard).map(|client| client.id);
        let dropped = idlest.filter(|_| is_full).and_then(|id| self.close(id));
        self.clients.push(Client { id: self.next_id, stream, peer, last_heard: now });
        self.next_id += 1;
        dropped
    }

    /// Who a client is; `None` when it is gone.
    #[must_use]
    pub fn peer(&self, id: u64) -> Option<Peer> {
        self.find(id).map(|client| client.peer)
    }

    /// Reads one message into `message`; its true length, which may be more than fits, or `None` when the client has
    /// hung up or nothing is there.
    pub fn receive(&mut self, id: u64, message: &mut [u8], now: Nanos) -> Option<usize> {
        let client = self.clients.iter_mut().find(|client| client.id == id)?;
        client.last_heard = now;
        match recv(client.stream.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
            Ok(length @ 1..) => Some(length),
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Ok(0) | Err(_) => {
                self.close(id);
                None
            }
        }
    }

    /// Sends an answer, with a descriptor if it has one. Who does not take it is dropped.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn answer(
        &mut self,
        id: u64,
        answer: &[u8; ANSWER_BYTES],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let Some(client) = self.find(id) else { return Ok(()) };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let fd = client.stream.as_raw_fd();
        let sent = match descriptor {
            None => send(fd, answer, flags),
            Some(descriptor) => {
                let rights = [descriptor.as_raw_fd()];
                let control = [ControlMessage::ScmRights(&rights)];
                sendmsg::<UnixAddr>(fd, &[io::IoSlice::new(answer)], &control, flags, None)
            }
        };
        sent.map(drop).map_err(|errno| {
            self.close(id);
            errno.into()
        })
    }

    /// Hangs up.
    pub fn close(&mut self, id: u64) -> Option<Peer> {
        let index = self.clients.iter().position(|client| client.id == id)?;
        Some(self.clients.swap_remove(index).peer)
    }

    fn find(&self, id: u64) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path); // gone already is as good
        }
    }
}

fn new_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

/// Removes the socket of a keeper that was killed; one that answers, and what is no socket, stays.
fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let unusable = |cause: io::Error| ServerError::Unusable { path: path.to_owned(), cause };
    match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(unusable(cause)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(unusable(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it exists and is not a socket",
            )));
        }
        Ok(_) => {}
    }
    let address = UnixAddr::new(path).map_err(|errno| unusable(errno.into()))?;
    let probe = new_socket().map_err(|errno| unusable(errno.into()))?;
    match connect(probe.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => std::fs::remove_file(path).map_err(unusable),
        _ => Err(ServerError::Busy(path.to_owned())),
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}
