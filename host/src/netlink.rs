//! Asking the kernel by generic netlink: one question, its answers, an end.
//!
//! A socket lives as long as one question. The kernel carries out a command while it is being sent and leaves the answers
//! in the socket, so that waiting is for the lock that all network configuration shares; what can be bounded from outside
//! (sending, receiving, the number and size of answers) is. Only the kernel's own messages count. Kept out: everything but
//! questions with a closed set of answers; no notifications, no dumps.
//! Source: Documentation/userspace-api/netlink/intro.rst; include/uapi/linux/genetlink.h.

pub(crate) mod wire;

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use wire::{Answer, Request};

/// Of a request: it is one, and it wants to be acknowledged.
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;

/// The family that knows the families, and its one question.
const CONTROL: u16 = 16;
const CONTROL_FAMILY: u8 = 3;
const CONTROL_ID: u16 = 1;
const CONTROL_NAME: u16 = 2;

/// Bytes of one answer: the kernel makes them a page or two; features of an interface by name are some 4 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Datagrams read for one question: the message, the acknowledgement, and what an earlier one left.
const DATAGRAMS_MAX: usize = 8;
/// Time an answer that is there already may take.
const PATIENCE_S: i64 = 5;

/// A refusal: the number, and the kernel's or the driver's words for it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub cause: io::Error,
    pub said: Option<String>,
}

impl From<io::Error> for Refusal {
    fn from(cause: io::Error) -> Self {
        Self { cause, said: None }
    }
}

impl Refusal {
    pub fn is(&self, errno: Errno) -> bool {
        self.cause.raw_os_error() == Some(errno as i32)
    }
}

/// A family of generic netlink, ready to be asked.
pub(crate) struct Family {
    socket: Socket,
    id: u16,
    sequence: u32,
}

impl Family {
    /// Finds the family `name`.
    ///
    /// # Errors
    /// ENOENT when the kernel has no such family.
    pub fn find(name: &str) -> Result<Self, Refusal> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both are of Linux 4.12; without them a refusal is a number alone.
        let _ = (socket.set_ext_ack(true), socket.set_cap_ack(true));
        let patience = TimeVal::seconds(PATIENCE_S);
        setsockopt(&socket, ReceiveTimeout, &patience).map_err(io::Error::from)?;
        setsockopt(&socket, SendTimeout, &patience).map_err(io::Error::from)?;
        let mut family = Self { socket, id: CONTROL, sequence: 0 };
        let found = family.ask(CONTROL_FAMILY, |request| request.text(CONTROL_NAME, name))?;
        let id = wire::attributes(&found).find(|(kind, _)| *kind == CONTROL_ID);
        let id = id.and_then(|(_, content)| content.try_into().ok().map(u16::from_ne_bytes));
        family.id = id.ok_or_else(|| malformed("a family without a number"))?;
        Ok(family)
    }

    /// Sends `command` with the attributes that `fill` adds; the attributes of its answer, none where it has none.
    ///
    /// # Errors
    /// The kernel's refusal; ETIMEDOUT, InvalidData for what is no answer.
    pub fn ask(&mut self, command: u8, fill: impl FnOnce(&mut Request)) -> Result<Vec<u8>, Refusal> {
        self.sequence += 1;
        let mut request = Request::command(self.id, REQUEST | ACK, self.sequence, command);
        fill(&mut request);
        self.socket.send(&request.finished(), 0)?;
        let mut answer = Vec::new();
        for _ in 0..DATAGRAMS_MAX {
            let received = self.receive()?;
            for part in wire::answers(&received, self.sequence) {
                match part {
                    Answer::Message(body) => answer = body.to_vec(),
                    Answer::Ack(0, _) | Answer::Done => return Ok(answer),
                    Answer::Ack(number, said) => {
                        return Err(Refusal { cause: io::Error::from_raw_os_error(number), said });
                    }
                }
            }
        }
        Err(malformed("no acknowledgement"))
    }

    fn receive(&self) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::with_capacity(ANSWER_BYTES_MAX);
        let (length, from) = self.socket.recv_from(&mut bytes, libc::MSG_TRUNC).map_err(|cause| {
            // EAGAIN is how a receive time-out is told.
            if cause.kind() == io::ErrorKind::WouldBlock { Errno::ETIMEDOUT.into() } else { cause }
        })?;
        if length > bytes.len() {
            return Err(malformed("longer than 64 KiB"));
        }
        // Anybody may send to a bound socket; the kernel's number is 0.
        Ok(if from.port_number() == 0 { bytes } else { Vec::new() })
    }
}

fn malformed(what: &str) -> Refusal {
    Refusal {
        cause: io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's answer: {what}")),
        said: None,
    }
}
