//! Kernel events: read from this machine's own tracepoints, and by an agent that a keeper gives them to.

mod agent;
mod events;
mod fake;
