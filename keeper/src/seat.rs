//! One keeper at a time on one state directory.
//!
//! Not the engine's lock, which a keeper must leave to `quell tune` between its own changes, but one of its own for as long
//! as it lives: two keepers would repair each other's repairs.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use sys_tuning::{Error, StateDir};

const NAME: &str = "keeper.lock";

/// The right to keep; the kernel takes it back when the process ends, however that was.
#[derive(Debug)]
pub struct Seat {
    _file: Flock<File>,
}

impl Seat {
    /// Takes the seat.
    ///
    /// # Errors
    /// [`Error::Busy`] when another keeper has it, [`Error::State`], [`Error::Integrity`].
    pub fn take(dir: &StateDir) -> Result<Self, Error> {
        let doing = "open the keeper's lock";
        let failed = |errno: Errno| Error::State { path: dir.display(NAME), doing, cause: errno.into() };
        let file =
            dir.file(NAME, OFlag::O_RDWR | OFlag::O_CREAT, doing)?.ok_or_else(|| failed(Errno::ENOENT))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::Busy { path: dir.display(NAME), pid: None }),
            Err((_, errno)) => Err(failed(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_seat() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&temp.path().join("state")).unwrap();
        let seat = Seat::take(&dir).unwrap();
        assert!(matches!(Seat::take(&dir), Err(Error::Busy { .. })));
        drop(seat);
        Seat::take(&dir).unwrap();
    }
}
