//! What the agent may ask of the keeper: a closed set of messages of one fixed size each.
//!
//! Types, encoding and verification, and no word about who sends them or what carries them. A message that does not
//! decode is an error with a name, never a guess; a byte that means nothing must be zero, so that every well-formed
//! message has exactly one form. No message carries a path, a script or an argument: an order names a knob by its id or
//! nothing at all.
//!
//! ```text
//! order   64 bytes   magic 4 | major 1 | minor 1 | kind 1 | 0       | sequence 8 | fence 8 | payload  40
//! answer 256 bytes   magic 4 | major 1 | minor 1 | kind 1 | outcome | sequence 8 | fence 8 | payload 232
//! ```
//!
//! Numbers are little endian. Another major version is refused, naming both; a later minor version may only have kinds
//! that an earlier one refuses as unknown.

mod answer;
mod frame;
mod order;
mod text;
mod wire;

pub use answer::{
    Answer, COMM_BYTES, Deed, DriftEvent, Hello, Outcome, REASON_BYTES, Refusal, Ring, STATUS_WORDS, Status,
    Writer,
};
pub use frame::{
    ANSWER_BYTES, Addressed, MAJOR, MINOR, Malformed, ORDER_BYTES, decode_answer, decode_order,
    encode_answer, encode_order,
};
pub use order::{Evacuate, Kind, Order};
pub use text::{ID_BYTES, Text, VALUE_BYTES};
