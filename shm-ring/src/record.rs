//! What a slot holds, and its packing into two words.
//!
//! ```text
//! bits     63            16 15     0
//! word 0   stamp, 48 bits    id          also the form of the open span
//! word 1   sequence, 32 bits value, 32   bits 63-32 and 31-0
//! ```

/// Bits of a stamp that are kept. 48 bits of a 5 GHz counter come round after 15 hours: whoever reads a record while it is
/// younger restores the rest from a stamp of its own.
pub const STAMP_BITS: u32 = 48;

/// Bits of an id.
const ID_BITS: u32 = 16;

const _: () = assert!(STAMP_BITS + ID_BITS == u64::BITS);

/// One measurement: 16 bytes in the ring with its sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// When it began, in ticks of the producer's clock; the upper 16 bits are lost on the way.
    pub stamp: u64,
    /// Which span this is of.
    pub id: u16,
    /// How long it took, in ticks.
    pub value: u32,
}

/// The span in which a thread is: what it had begun when it got stuck, or was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSpan {
    /// When it was begun; 48 bits.
    pub stamp: u64,
    /// Which one; never 0, which stands for no span.
    pub id: u16,
}

impl Record {
    /// The record in two words; the second one without its sequence number means nothing.
    #[inline]
    pub(crate) fn from_words(first: u64, second: u64) -> Self {
        let (stamp, id) = unpack(first);
        Self { stamp, id, value: low_half(second) }
    }

    /// Stamp and id in a word.
    #[inline]
    pub(crate) fn first_word(self) -> u64 {
        pack(self.stamp, self.id)
    }

    /// Sequence number and value in a word.
    #[inline]
    pub(crate) fn second_word(self, sequence: u32) -> u64 {
        u64::from(sequence) << u32::BITS | u64::from(self.value)
    }
}

/// The sequence number in the second word of a slot.
#[inline]
pub(crate) fn sequence_in(second: u64) -> u32 {
    low_half(second >> u32::BITS)
}

/// The sequence number of the record at `position`, counted from the ring's first: one more, so that memory which nobody
/// wrote is no record. It comes round after four thousand million records, and a slot's former number differs by the
/// number of slots, so that the two are never mistaken.
#[inline]
pub(crate) fn sequence_at(position: u64) -> u32 {
    low_half(position.wrapping_add(1))
}

#[inline]
pub(crate) fn pack(stamp: u64, id: u16) -> u64 {
    stamp << ID_BITS | u64::from(id)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are what is wanted")]
pub(crate) fn unpack(word: u64) -> (u64, u16) {
    (word >> ID_BITS, word as u16)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn low_half(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(record: Record, sequence: u32, words: [u64; 2]) {
        let packed = [record.first_word(), record.second_word(sequence)];
        assert_eq!(packed, words, "{packed:x?}");
        assert_eq!(sequence_in(packed[1]), sequence);
        let kept = Record { stamp: record.stamp & ((1 << STAMP_BITS) - 1), ..record };
        assert_eq!(Record::from_words(packed[0], packed[1]), kept);
    }

    #[test]
    fn two_words_hold_a_record() {
        let none = Record { stamp: 0, id: 0, value: 0 };
        check(none, 1, [0, 1 << 32]);
        check(
            Record { stamp: 0x1234_5678_9abc, id: 0xdef0, value: 0x8765_4321 },
            0xfedc_ba98,
            [0x1234_5678_9abc_def0, 0xfedc_ba98_8765_4321],
        );
        check(Record { stamp: u64::MAX, ..none }, 0, [0xffff_ffff_ffff_0000, 0]); // the upper bits of a stamp are lost
        check(Record { id: u16::MAX, value: u32::MAX, ..none }, u32::MAX, [0xffff, u64::MAX]);
    }

    #[test]
    fn a_number_is_not_the_one_before_it_in_its_slot() {
        for slots in [2, 1 << 16, 1 << 20] {
            for position in [slots, (1 << 32) - 1, 1 << 32, (1 << 32) + slots - 1, u64::MAX] {
                assert_ne!(sequence_at(position), sequence_at(position.wrapping_sub(slots)), "{position}");
            }
        }
        assert_eq!(sequence_at(0), 1);
        assert_eq!(sequence_at((1 << 32) - 1), 0);
    }
}
