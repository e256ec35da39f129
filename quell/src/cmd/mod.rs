//! One file a subcommand.

pub mod agent;
pub mod config;
pub mod doctor;
pub mod read;
pub mod tune;
pub mod up;
