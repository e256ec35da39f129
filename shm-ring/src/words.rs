//! The memory of a segment, as far as the ring needs to know it: 64-bit words with orderings.
//!
//! The heap and a mapping are slices of atomics, which is what the one implementation here takes. Tests bring memory of
//! their own: one in which every interleaving is tried, one that forgets an ordering, one that counts.

use core::ops::Deref;
use core::sync::atomic::{AtomicU64, Ordering};

/// Words that another process may read and write at any time.
#[expect(clippy::len_without_is_empty, reason = "an empty segment is refused like any short one")]
pub trait Words {
    /// How many there are; never changes.
    fn len(&self) -> usize;

    /// The word at `index`, which is below [`Words::len`]. `order` is Relaxed or Acquire.
    fn load(&self, index: usize, order: Ordering) -> u64;

    /// Writes the word at `index`, which is below [`Words::len`]. `order` is Relaxed or Release.
    fn store(&self, index: usize, word: u64, order: Ordering);
}

impl<T: Deref<Target = [AtomicU64]>> Words for T {
    #[inline]
    fn len(&self) -> usize {
        self.deref().len()
    }

    #[inline]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.deref()[index].load(order)
    }

    #[inline]
    fn store(&self, index: usize, word: u64, order: Ordering) {
        self.deref()[index].store(word, order);
    }
}
