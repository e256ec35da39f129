//! The number that outdates older orders: it only rises, and survives the power cut after it did.

use std::io::Read;

use nix::fcntl::OFlag;
use sys_tuning::{Error, StateDir};

const NAME: &str = "fence";

/// The digits of a u64 and a newline; a longer file is none of ours.
const BYTES_MAX: u64 = 21;

/// The fence in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence(u64);

impl Fence {
    /// The fence of this host; 0 when none was ever raised.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the file holds no number: then which orders are outdated cannot be known.
    pub fn read(dir: &StateDir) -> Result<Self, Error> {
        let Some(file) = dir.file(NAME, OFlag::O_RDONLY, "read the fence")? else { return Ok(Self(0)) };
        let mut text = String::new();
        let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
        let number = read.ok().and_then(|_| text.strip_suffix('\n')?.parse().ok());
        number.map(Self).ok_or_else(|| Error::Integrity {
            path: dir.display(NAME),
            problem: "does not hold one number and a newline".to_owned(),
            remedy: "write the fleet's current fence into it, or remove it where no fleet gives orders",
        })
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Raises it, on disk first; to what it is already is fine.
    ///
    /// # Errors
    /// The fence that is higher, or why it could not be written; it is as it was.
    pub fn raise(&mut self, dir: &StateDir, to: u64) -> Result<(), String> {
        if to < self.0 {
            return Err(format!("the fence is {} and does not go down to {to}", self.0));
        }
        if to > self.0 {
            dir.replace(NAME, format!("{to}\n").as_bytes()).map_err(|error| error.to_string())?;
            self.0 = to;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_rises_and_is_remembered() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&temp.path().join("state")).unwrap();
        let mut fence = Fence::read(&dir).unwrap();
        assert_eq!(fence, Fence(0));
        fence.raise(&dir, 7).unwrap();
        fence.raise(&dir, 7).unwrap();
        assert_eq!(fence.raise(&dir, 6).unwrap_err(), "the fence is 7 and does not go down to 6");
        assert_eq!(Fence::read(&dir).unwrap(), Fence(7));
        fence.raise(&dir, u64::MAX).unwrap();
        assert_eq!(Fence::read(&dir).unwrap().number(), u64::MAX);
    }

    #[test]
    fn a_fence_that_is_none_is_not_guessed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&temp.path().join("state")).unwrap();
        for damaged in ["", "7", "seven\n", "-1\n", "18446744073709551616\n", "7\n7\n"] {
            dir.replace(NAME, damaged.as_bytes()).unwrap();
            assert!(
                Fence::read(&dir).unwrap_err().to_string().contains("one number"),
                "{damaged:?} was taken"
            );
        }
    }
}
