//! Waiting for what a machine does: looked at again and again, a bounded number of times.

use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks before it is given up: ten minutes, some ten times what a boot takes on two busy CPUs.
const LOOKS: usize = 1200;

/// What `look` finds at last; `None` after the last look.
pub fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    (0..LOOKS).find_map(|round| {
        if round > 0 {
            std::thread::sleep(PAUSE);
        }
        look()
    })
}
