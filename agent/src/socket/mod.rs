//! The report socket: HTTP/1.1 and JSON over a Unix stream socket, for reading only.
//!
//! Nothing a client does reaches the measuring threads: it is answered from a snapshot, by the one control thread,
//! within bounds on head size, time and number of connections that stand in `units::limits`. One connection carries one
//! request, which keeps those bounds easy to see.

mod listen;
mod routes;
mod serve;

pub use listen::{BindError, Bound};
pub use routes::routes;
pub use serve::{Answers, serve};
