//! One connection to the keeper: an order out, its answer in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use host::messages;
use orders::{ANSWER_BYTES, Addressed, Malformed, Order, Outcome, decode_answer, encode_order};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The keeper does one thing at a time, and bringing a host to its profile takes it seconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The system's reason; most often nobody is there.
    #[error("{0}")]
    Connection(#[from] io::Error),
    /// No answer came.
    #[error("no answer within {} s", ANSWER_DEADLINE.as_secs())]
    Late,
    /// It hung up.
    #[error("it hung up")]
    HungUp,
    /// What came is no answer.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// What came answers something else.
    #[error("it answered something else than was asked")]
    Foreign,
    /// It does not serve us.
    #[error("it refuses: {0}")]
    Refused(String),
}

impl Broken {
    /// An answer that should have been another.
    pub fn refused(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(_) => Self::Foreign,
            Outcome::Refused { reason, .. } | Outcome::Failed { reason, .. } => {
                Self::Refused(reason.to_string())
            }
        }
    }

    /// Whether there is simply no keeper.
    pub fn is_absence(&self) -> bool {
        let kinds = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        matches!(self, Self::Connection(cause) if kinds.contains(&cause.kind()))
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Line {
    /// Of whole messages, not a stream; what waits for it need not know.
    socket: UnixStream,
    sequence: u64,
    /// As the keeper last said.
    fence: u64,
}

impl Line {
    /// Connects; does not wait.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = messages::connect_to(path)?;
        Ok(Self { socket: UnixStream::from_std(socket.into())?, sequence: 0, fence: 0 })
    }

    /// The keeper's fence, as its last answer has it.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Sends `order` and waits for its answer, and for the descriptor that comes with it.
    pub async fn ask(&mut self, order: Order) -> Result<(Outcome, Option<OwnedFd>), Broken> {
        self.sequence += 1;
        let order = Addressed { sequence: self.sequence, fence: self.fence, what: order };
        messages::send(self.socket.as_fd(), &encode_order(&order), None)?;
        let (answer, descriptor) =
            timeout(ANSWER_DEADLINE, self.receive()).await.map_err(|_| Broken::Late)??;
        let kind = answer.what.order();
        if answer.sequence != self.sequence || kind.is_some_and(|kind| kind != order.what.kind()) {
            return Err(Broken::Foreign);
        }
        self.fence = answer.fence;
        Ok((answer.what, descriptor))
    }

    async fn receive(&self) -> Result<(Addressed<Outcome>, Option<OwnedFd>), Broken> {
        let mut bytes = [0; ANSWER_BYTES + 1]; // one more, so that a longer one is seen to be longer
        loop {
            self.socket.readable().await?;
            let read = || messages::receive(self.socket.as_fd(), &mut bytes);
            let received = match self.socket.try_io(Interest::READABLE, read) {
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => continue, // not yet, after all
                received => received?,
            };
            return match received.length {
                0 => Err(Broken::HungUp),
                length => Ok((decode_answer(&bytes[..length])?, received.descriptor)),
            };
        }
    }
}
