//! Why probes could not be started.

use std::io;

use units::{CpuId, Nanos};

use crate::Kind;

/// Why probes could not be started; nothing of them runs then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The wishes cannot be fulfilled; every one that cannot is named.
    #[error("cannot measure like this: {}", .0.join("; "))]
    Spec(Vec<String>),
    /// The system would not create a thread.
    #[error("cannot start the probe thread of CPU {cpu}: {cause}")]
    Spawn {
        /// The CPU to measure.
        cpu: CpuId,
        /// The system's reason.
        cause: io::Error,
    },
    /// A probe cannot get what it works with.
    #[error("{probe} cannot be measured: {cause} (it needs {})", .probe.about().needs)]
    Open {
        /// Which probe.
        probe: Kind,
        /// The system's reason.
        cause: io::Error,
    },
    /// The thread cannot run on the CPU it should measure, and measuring another one would be a lie.
    #[error("CPU {cpu} cannot be measured: {reason}")]
    Pin {
        /// The CPU to measure.
        cpu: CpuId,
        /// The system's reason, and a remedy.
        reason: String,
    },
    /// The thread did not get its CPU in time.
    #[error(
        "CPU {cpu} cannot be measured: its probe thread did not run within {waited} (does a real-time thread keep the \
         CPU to itself? see top -H; a fifo policy of higher priority would get in)"
    )]
    NotScheduled {
        /// The CPU to measure.
        cpu: CpuId,
        /// How long we waited.
        waited: Nanos,
    },
}
