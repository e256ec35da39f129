//! What waking costs when nobody sleeps: FUTEX_WAKE on a word of our own that no thread waits for.
//!
//! That is what an unlock or a notify costs that goes to the kernel although it need not have: the call, and the look
//! into the table of waiters. Waking somebody is the affair of two threads and of the sleeper's idle CPU; on one CPU the
//! sleeper would come to run only as this thread gives way, so that a hand-off here would time two context switches and
//! call them a wake-up.

use std::sync::atomic::AtomicU32;

use rustix::thread::futex::{Flags, wake};

use crate::bursts::Operation;

/// One FUTEX_WAKE.
#[derive(Default)]
pub struct FutexWake {
    word: AtomicU32,
}

impl Operation for FutexWake {
    #[inline]
    fn perform(&mut self) -> bool {
        wake(&self.word, Flags::PRIVATE, 1) == Ok(0) // nobody was woken, nobody can have waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::bursts::tests::check_is_real;
    use host::threads::{Policy, Role, allowed_cpus, spawn};
    use rustix::thread::futex::wait;
    use std::sync::Arc;

    #[test]
    fn waking_nobody_is_dearer_than_not_waking() {
        check_is_real(Kind::FutexWake, FutexWake::default());
    }

    #[test]
    fn the_call_is_the_one_that_wakes_a_sleeper() {
        let word = Arc::new(AtomicU32::new(0));
        let role = Role { name: "sleeper".into(), cpus: allowed_cpus().unwrap(), policy: Policy::Other };
        let theirs = Arc::clone(&word);
        let sleeper = spawn(role, move |_| wait(&theirs, Flags::PRIVATE, 0, None)).unwrap();
        while wake(&word, Flags::PRIVATE, 1) == Ok(0) {
            std::thread::yield_now(); // it does not sleep yet
        }
        assert_eq!(sleeper.join().unwrap(), Ok(()));
    }
}
