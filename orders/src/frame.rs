//! The frame around every message: magic, version, kind, sequence number and fence.

use crate::answer::Outcome;
use crate::order::{Kind, Order};
use crate::wire::{In, Out};

/// Bytes of every order.
pub const ORDER_BYTES: usize = 64;

/// Bytes of every answer.
pub const ANSWER_BYTES: usize = 256;

/// The version of the format; another one is refused.
pub const MAJOR: u8 = 1;

/// Counts additions; those of another minor version are unknown kinds.
pub const MINOR: u8 = 0;

const ORDER_MAGIC: [u8; 4] = *b"qOrd";
const ANSWER_MAGIC: [u8; 4] = *b"qAns";

/// A message with what stands in its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addressed<T> {
    /// Chosen by the sender of the order; the answer bears the same.
    pub sequence: u64,
    /// Of an order: the fence it was given under. Of an answer: the keeper's.
    pub fence: u64,
    /// The message.
    pub what: T,
}

/// Why a message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Its length is not that of any version.
    #[error("{found} bytes are no message: {expected} are")]
    Length {
        /// What came.
        found: usize,
        /// What would have been right.
        expected: usize,
    },
    /// It does not begin as it must.
    #[error("it does not begin with the magic word of a message of this direction")]
    Magic,
    /// It is of another version.
    #[error("it speaks version {theirs}, this side speaks {ours}: install the same release of both")]
    Version {
        /// Theirs.
        theirs: u8,
        /// Ours.
        ours: u8,
    },
    /// There is no such order.
    #[error("there is no order {0}")]
    Kind(u8),
    /// A field holds what it cannot hold.
    #[error("{0} cannot be that")]
    Field(&'static str),
    /// A byte that means nothing is not zero.
    #[error("a byte that means nothing is not zero")]
    NotZero,
}

/// The bytes of an order.
#[must_use]
pub fn encode_order(order: &Addressed<Order>) -> [u8; ORDER_BYTES] {
    let mut bytes = [0; ORDER_BYTES];
    let mut out = Out::over(&mut bytes);
    head(&mut out, ORDER_MAGIC, [order.what.kind().code(), 0], order);
    order.what.put(&mut out);
    bytes
}

/// The order in `bytes`.
///
/// # Errors
/// Whatever is not exactly an order; nothing is guessed.
pub fn decode_order(bytes: &[u8]) -> Result<Addressed<Order>, Malformed> {
    let mut from = begin::<ORDER_BYTES>(bytes, ORDER_MAGIC)?;
    let [kind, zero] = from.bytes();
    if zero != 0 {
        return Err(Malformed::NotZero);
    }
    let (sequence, fence) = (from.u64(), from.u64());
    let what = Order::take(Kind::of(kind)?, &mut from)?;
    from.end()?;
    Ok(Addressed { sequence, fence, what })
}

/// The bytes of an answer.
#[must_use]
pub fn encode_answer(answer: &Addressed<Outcome>) -> [u8; ANSWER_BYTES] {
    let mut bytes = [0; ANSWER_BYTES];
    let mut out = Out::over(&mut bytes);
    head(&mut out, ANSWER_MAGIC, answer.what.head(), answer);
    answer.what.put(&mut out);
    bytes
}

/// The answer in `bytes`.
///
/// # Errors
/// Whatever is not exactly an answer; nothing is guessed.
pub fn decode_answer(bytes: &[u8]) -> Result<Addressed<Outcome>, Malformed> {
    let mut from = begin::<ANSWER_BYTES>(bytes, ANSWER_MAGIC)?;
    let what = from.bytes();
    let (sequence, fence) = (from.u64(), from.u64());
    let what = Outcome::take(what, &mut from)?;
    from.end()?;
    Ok(Addressed { sequence, fence, what })
}

fn head<T>(out: &mut Out<'_>, magic: [u8; 4], what: [u8; 2], message: &Addressed<T>) {
    out.bytes(&magic);
    out.u8(MAJOR);
    out.u8(MINOR);
    out.bytes(&what);
    out.u64(message.sequence);
    out.u64(message.fence);
}

/// Past magic and version; a message of another version may have another length, so the version is told first.
fn begin<const N: usize>(bytes: &[u8], magic: [u8; 4]) -> Result<In<'_>, Malformed> {
    if let Some([a, b, c, d, theirs, ..]) = bytes.first_chunk::<6>()
        && [*a, *b, *c, *d] == magic
        && *theirs != MAJOR
    {
        return Err(Malformed::Version { theirs: *theirs, ours: MAJOR });
    }
    if bytes.len() != N {
        return Err(Malformed::Length { found: bytes.len(), expected: N });
    }
    let mut from = In::over(bytes);
    if from.bytes() != magic {
        return Err(Malformed::Magic);
    }
    let [_major, _minor] = from.bytes();
    Ok(from)
}
