//! Waiting for what a machine does: looked at again and again, for a bounded time.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// After this it is given up: twenty times what a boot takes on two CPUs with nothing else to do. A look at a machine that
/// hangs takes as long as its connection does, so it is not looks that are counted.
const PATIENCE: Duration = Duration::from_secs(600);

/// What `look` finds at last; `None` when there was nothing in time.
pub fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        match look() {
            None if begin.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            found => return found,
        }
    }
}
