//! One tuning engine at a time on one state directory.
//!
//! An advisory lock on a file that stays; the kernel drops it when the last thread of its holder is gone, however that
//! ended. A write that is stuck in the kernel keeps its share of the lock, so that nobody writes behind it.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};

use host::threads::{monotonic_now, sleep_until};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use units::Nanos;

use crate::Error;
use crate::state::StateDir;
use crate::writer::Pulse;

const NAME: &str = "lock";
/// The digits of a process number, and more than that.
const PID_BYTES_MAX: u64 = 32;
/// Attempts before it is told that somebody else has it: a repair takes about a millisecond.
const ATTEMPTS: usize = 20;
const PAUSE: Nanos = Nanos::from_millis(5);
/// The same for going back: 5 s and more, where a write to the huge-page selector was stuck for 2.4 s at most behind a
/// thread that span at SCHED_FIFO for 0.85 s (2-vCPU VM, Linux 6.18).
const PATIENT_ATTEMPTS: usize = 1000;

/// The held lock.
pub(crate) struct Lock {
    file: Flock<File>,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn take(dir: &StateDir) -> Result<Self, Error> {
        Self::take_within(dir, ATTEMPTS, &Pulse::default())
    }

    /// The same for who goes back: longer than a write that is stuck behind a real-time thread was seen to take.
    pub fn take_patiently(dir: &StateDir, pulse: &Pulse) -> Result<Self, Error> {
        Self::take_within(dir, PATIENT_ATTEMPTS, pulse)
    }

    fn take_within(dir: &StateDir, attempts_max: usize, pulse: &Pulse) -> Result<Self, Error> {
        let mut attempts = 1;
        let mut lock = loop {
            match Self::take_unnamed(dir) {
                // The keeper has it for a moment when it looks, or puts a value back.
                Err(Error::Busy { .. }) if attempts < attempts_max => {
                    attempts += 1;
                    sleep_until(monotonic_now() + PAUSE);
                    pulse.beat();
                }
                other => break other?,
            }
        };
        // Only for the message of whoever comes second.
        let file = &mut *lock.file;
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", host::own::pid()));
        Ok(lock)
    }

    /// The same without a word about who has it: for what is over at once, and must not write to a disk each time.
    pub fn take_unnamed(dir: &StateDir) -> Result<Self, Error> {
        let doing = "open the lock";
        let file = match dir.file(NAME, OFlag::O_RDWR | OFlag::O_CREAT, doing) {
            // On a file system that has become read-only a host must still find back to its originals.
            Err(Error::State { cause, .. }) if cause.kind() == ErrorKind::ReadOnlyFilesystem => {
                dir.file(NAME, OFlag::O_RDONLY, doing)
            }
            other => other,
        };
        let file = file?.ok_or_else(|| Error::state(dir.display(NAME), doing, Errno::ENOENT))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { file }),
            Err((file, Errno::EWOULDBLOCK)) => Err(busy(dir, file)),
            Err((_, errno)) => Err(Error::state(dir.display(NAME), "take the lock", errno)),
        }
    }
}

fn busy(dir: &StateDir, mut file: File) -> Error {
    let mut text = String::new();
    // Empty: the holder has not written yet.
    let _ = file.rewind().and_then(|()| file.take(PID_BYTES_MAX).read_to_string(&mut text));
    Error::Busy { path: dir.display(NAME), pid: text.trim().parse().ok() }
}
