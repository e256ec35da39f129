//! A keeper that does as a test says: the real one's messages and events, without its power over the machine.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use host::{Root, messages};
use keeper::rings::{NoRing, Rings};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use orders::{Addressed, Answer, Hello, Order, Outcome, Refusal, Status, Text, decode_order, encode_answer};

/// How often a keeper with nothing to do looks whether it is to end.
const LOOK: u8 = 20;

/// What the keeper sends back: any bytes, any descriptors.
pub struct Reply {
    pub bytes: Vec<u8>,
    pub descriptor: Option<OwnedFd>,
}

/// A keeper in a thread of the test; it ends when dropped, and takes its events with it.
pub struct Fake {
    asked: Arc<Mutex<Vec<Order>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Fake {
    /// Serves at `path`, answering what `answer` makes of each order; `None` hangs up.
    pub fn start(
        path: &Path,
        mut answer: impl FnMut(&Addressed<Order>) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &UnixAddr::new(path).unwrap()).unwrap();
        listen(&socket, Backlog::new(8).unwrap()).unwrap();
        let (asked, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, ended) = (asked.clone(), end.clone());
        let thread = std::thread::spawn(move || serve(&socket.into(), &heard, &ended, &mut answer));
        Self { asked, end, thread: Some(thread), path: path.to_owned() }
    }

    /// One that gives kernel events and says that all is well.
    pub fn honest(path: &Path) -> Self {
        let mut rings = None;
        Self::start(path, move |order| Some(honest(rings.get_or_insert_with(opener), order)))
    }

    /// The orders so far.
    pub fn asked(&self) -> Vec<Order> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release); // pairs with the load in its loop
        drop(self.thread.take().unwrap().join());
        let _ = std::fs::remove_file(&self.path); // gone already is as good
    }
}

fn serve(
    listener: &UnixListener,
    asked: &Mutex<Vec<Order>>,
    end: &AtomicBool,
    answer: &mut impl FnMut(&Addressed<Order>) -> Option<Reply>,
) {
    // pairs with the store of whoever drops us
    while !end.load(Ordering::Acquire) {
        if !is_readable(listener) {
            continue;
        }
        let (client, _) = listener.accept().unwrap();
        while !end.load(Ordering::Acquire) {
            if !is_readable(&client) {
                continue;
            }
            let mut bytes = [0; 64];
            let Ok(received) = messages::receive(client.as_fd(), &mut bytes) else { break };
            let Ok(order) = decode_order(&bytes[..received.length]) else { break };
            asked.lock().unwrap().push(order.what);
            let Some(reply) = answer(&order) else { break };
            let descriptor = reply.descriptor.as_ref().map(AsFd::as_fd);
            if messages::send(client.as_fd(), &reply.bytes, descriptor).is_err() {
                break;
            }
        }
    }
}

fn is_readable(socket: &impl AsFd) -> bool {
    let mut wait = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut wait, PollTimeout::from(LOOK)).unwrap_or(0) > 0
}

/// The keeper's own opener of events, which sees a tracefs wherever this machine has its own.
fn opener() -> (Rings, Root) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap(); // of this thread alone
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    mount(Some("tracefs"), "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), nothing).unwrap();
    (Rings::default(), Root::system())
}

fn honest((rings, root): &mut (Rings, Root), order: &Addressed<Order>) -> Reply {
    let mut descriptor = None;
    let outcome = match order.what {
        Order::Rings { cpu, point } => match rings.hand_over(root, cpu, point) {
            Ok((ring, fd)) => {
                descriptor = Some(fd.try_clone_to_owned().unwrap());
                Outcome::Done(Answer::Ring(ring))
            }
            Err(NoRing::Absent(why)) => refused(order, &why),
            Err(other) => panic!("{other}"),
        },
        _ => well(order),
    };
    Reply { bytes: answer(order, outcome), descriptor }
}

fn refused(order: &Addressed<Order>, why: &str) -> Outcome {
    Outcome::Refused { order: Some(order.what.kind()), why: Refusal::Absent, reason: Text::cut(why) }
}

/// What a keeper says on whose host all is well, and that has no events to give.
pub fn well(order: &Addressed<Order>) -> Outcome {
    match order.what {
        Order::Hello { .. } => Outcome::Done(Answer::Hello(Hello { version: Text::cut("9.9"), holds: true })),
        Order::Status => Outcome::Done(Answer::Status(status())),
        Order::Drift { .. } => Outcome::Done(Answer::Drift(None)),
        _ => refused(order, "not here"),
    }
}

/// All is well.
pub fn status() -> Status {
    let mut status = Status { profile: Text::cut("colo"), fit: true, ..Status::default() };
    status.knobs[0] = 31;
    status
}

/// The bytes of an answer to `order`.
pub fn answer(order: &Addressed<Order>, what: Outcome) -> Vec<u8> {
    encode_answer(&Addressed { sequence: order.sequence, fence: 3, what }).to_vec()
}
