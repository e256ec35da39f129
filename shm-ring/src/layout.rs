//! Where everything stands in a segment, byte by byte: the contract between releases and languages.
//!
//! ```text
//!    0  Head       written once by the agent, before anybody else has the segment
//!  128  Produced   written by the application's thread
//!  256  Consumed   written by the agent's collector
//!  384  Told       reserved: what the agent tells the application
//!  512  meters     written by the application's thread; as many as the header says
//! 4096  slots      16 bytes each; as many as the header says
//! ```
//!
//! Every field is a word of 64 bits, little endian, aligned, and written by one side only, with an atomic store. The
//! groups of different writers are 128 bytes apart: processors fetch the neighbour of a line of 64 along with it.
//! Reserved words are zero, and no reader minds what is in them, so that a later minor version can use them. Another major
//! version is refused, naming both.

use core::fmt;
use core::mem::{offset_of, size_of};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::Words;

/// "quellrng", the first eight bytes of a segment.
pub const MAGIC: u64 = u64::from_le_bytes(*b"quellrng");

/// The version of the layout; another one is refused.
pub const MAJOR: u32 = 1;

/// Counts additions to the layout that an earlier reader may overlook.
pub const MINOR: u32 = 0;

/// Slots of the smallest ring: two, so that tests can fill it. What is sensible is the agent's affair.
pub const SLOTS_MIN: u64 = 2;

/// Slots of the largest: 16 MiB, a tenth of a second at 10 M records/s. Sequence numbers would allow for 2^31.
pub const SLOTS_MAX: u64 = 1 << 20;

/// Counters and gauges a segment has room for; one thread has tens.
pub const METERS_MAX: u64 = 256;

/// Bytes of a slot, as the header says them.
pub const RECORD_BYTES: u64 = 16;

/// The header.
#[repr(C)]
#[derive(Debug)]
pub struct Head {
    /// [`MAGIC`]; written last.
    pub magic: u64,
    /// The major version in the lower half, the minor one in the upper.
    pub version: u64,
    /// Which of the segments that this agent and those before it handed out; never 0.
    pub generation: u64,
    /// Bytes of the whole segment.
    pub bytes: u64,
    /// Slots: a power of two from [`SLOTS_MIN`] to [`SLOTS_MAX`].
    pub slots: u64,
    /// Bytes of a slot.
    pub record_bytes: u64,
    /// Counters and gauges, at most [`METERS_MAX`].
    pub meters: u64,
    /// Bits of what else holds; none is defined in this version.
    pub flags: u64,
    /// Zero.
    pub reserved: [u64; 8],
}

/// What the producer writes beside slots and meters.
#[repr(C)]
#[derive(Debug)]
pub struct Produced {
    /// Records that found no room, since the segment began.
    pub dropped: u64,
    /// Records that did, as of when the producer last dropped one, settled or ended.
    pub accepted: u64,
    /// The span the thread is in: stamp and id as in a record, id 0 for none.
    pub open_span: u64,
    /// Who writes: three words of the producer's own choice, such as process, thread and start time. The last one is
    /// never 0: it says that the segment is taken.
    pub identity: [u64; 3],
    /// Zero.
    pub reserved: [u64; 10],
}

/// What the consumer writes.
#[repr(C)]
#[derive(Debug)]
pub struct Consumed {
    /// Records read, since the segment began: their slots may be written again.
    pub tail: u64,
    /// Zero.
    pub reserved: [u64; 15],
}

/// The first page.
#[repr(C)]
#[derive(Debug)]
pub struct Page {
    /// Written once.
    pub head: Head,
    /// Written by the producer.
    pub produced: Produced,
    /// Written by the consumer.
    pub consumed: Consumed,
    /// Zero: what the agent tells the application in a later version.
    pub told: [u64; 16],
    /// Counters and gauges.
    pub meters: [u64; 256],
    /// Zero.
    pub reserved: [u64; 192],
}

/// A slot; its packing is in `record.rs`.
#[repr(C)]
#[derive(Debug)]
pub struct Slot {
    /// Stamp and id.
    pub first: u64,
    /// Sequence number and value; this store publishes the slot.
    pub second: u64,
}

const _: () = {
    assert!(cfg!(target_endian = "little"), "words are little endian");
    assert!(size_of::<Page>() == 4096 && size_of::<Slot>() as u64 == RECORD_BYTES);
    assert!(offset_of!(Page, head.magic) == 0 && offset_of!(Page, head.version) == 8);
    assert!(offset_of!(Page, head.generation) == 16 && offset_of!(Page, head.bytes) == 24);
    assert!(offset_of!(Page, head.slots) == 32 && offset_of!(Page, head.record_bytes) == 40);
    assert!(offset_of!(Page, head.meters) == 48 && offset_of!(Page, head.flags) == 56);
    assert!(offset_of!(Page, produced.dropped) == 128 && offset_of!(Page, produced.accepted) == 136);
    assert!(offset_of!(Page, produced.open_span) == 144 && offset_of!(Page, produced.identity) == 152);
    assert!(offset_of!(Page, consumed.tail) == 256 && offset_of!(Page, told) == 384);
    assert!(size_of::<[u64; 256]>() as u64 == METERS_MAX * 8);
    assert!(offset_of!(Page, meters) == 512 && offset_of!(Page, reserved) == 2560);
};

const fn word(offset: usize) -> usize {
    offset / size_of::<u64>()
}

const MAGIC_AT: usize = word(offset_of!(Page, head.magic));
const VERSION_AT: usize = word(offset_of!(Page, head.version));
const GENERATION_AT: usize = word(offset_of!(Page, head.generation));
const BYTES_AT: usize = word(offset_of!(Page, head.bytes));
const SLOTS_AT: usize = word(offset_of!(Page, head.slots));
const RECORD_BYTES_AT: usize = word(offset_of!(Page, head.record_bytes));
const METERS_AT: usize = word(offset_of!(Page, head.meters));
const FLAGS_AT: usize = word(offset_of!(Page, head.flags));

pub(crate) const DROPPED: usize = word(offset_of!(Page, produced.dropped));
pub(crate) const ACCEPTED: usize = word(offset_of!(Page, produced.accepted));
pub(crate) const OPEN_SPAN: usize = word(offset_of!(Page, produced.open_span));
pub(crate) const IDENTITY: usize = word(offset_of!(Page, produced.identity));
pub(crate) const TAIL: usize = word(offset_of!(Page, consumed.tail));
pub(crate) const METERS: usize = word(offset_of!(Page, meters));
const SLOTS: usize = word(size_of::<Page>());
const SLOT_WORDS: usize = word(size_of::<Slot>());

/// How large a segment is; cannot be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    slots: u64,
    meters: u64,
}

impl Shape {
    /// What a thread gets that asks for nothing else: 65 536 × 16 B = 1 MiB, which half a huge page holds with its header.
    /// 65 ms at 1 M records/s, six times the agent's period; of 2 M/s, 4096 slots lost a quarter whenever somebody else
    /// had the reader's CPU.
    pub const DEFAULT: Self = Self { slots: 1 << 16, meters: 64 };

    /// A ring of `slots` slots, a power of two, and `meters` counters and gauges.
    ///
    /// # Errors
    /// [`Refused::Slots`], [`Refused::Meters`].
    pub const fn new(slots: u64, meters: u64) -> Result<Self, Refused> {
        if !slots.is_power_of_two() || slots < SLOTS_MIN || slots > SLOTS_MAX {
            return Err(Refused::Slots(slots));
        }
        if meters > METERS_MAX {
            return Err(Refused::Meters(meters));
        }
        Ok(Self { slots, meters })
    }

    /// Slots of the ring.
    #[must_use]
    pub const fn slots(self) -> u64 {
        self.slots
    }

    /// Counters and gauges.
    #[must_use]
    pub const fn meters(self) -> u64 {
        self.meters
    }

    /// Bytes of the segment.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        size_of::<Page>() as u64 + self.slots * RECORD_BYTES
    }

    /// Words of the segment.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most 16 MiB and a page")]
    pub const fn words(self) -> usize {
        word(self.bytes() as usize)
    }

    /// Where the slot of the record at `position` begins; inside the segment whatever the position.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to fewer than 2^20")]
    pub(crate) const fn slot(self, position: u64) -> usize {
        SLOTS + SLOT_WORDS * (position & (self.slots - 1)) as usize
    }

    /// Where meter `index` is, if the segment has that many.
    #[inline]
    pub(crate) const fn meter(self, index: u16) -> Option<usize> {
        if (index as u64) < self.meters { Some(METERS + index as usize) } else { None }
    }
}

/// What a header says, taken out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its size.
    pub shape: Shape,
    /// Which one it is.
    pub generation: u64,
    /// The minor version of whoever made it.
    pub minor: u32,
    /// Bits of what else holds; those that a reader does not know mean nothing to it.
    pub flags: u64,
}

impl Segment {
    /// Reads and checks the header of `words`; each word is read once.
    ///
    /// # Errors
    /// Whatever is not exactly a segment of this major version that lies within `words`.
    pub fn read(words: &impl Words) -> Result<Self, Refused> {
        let found = words.len();
        if found < SLOTS {
            return Err(Refused::Short { found, needed: SLOTS });
        }
        // pairs with `format`
        let magic = words.load(MAGIC_AT, Acquire);
        if magic != MAGIC {
            return Err(Refused::Magic(magic));
        }
        let at = |index| words.load(index, Relaxed);
        let (major, minor) = halves(at(VERSION_AT));
        if major != MAJOR {
            return Err(Refused::Version { theirs: major, ours: MAJOR });
        }
        let shape = Shape::new(at(SLOTS_AT), at(METERS_AT))?;
        let record_bytes = at(RECORD_BYTES_AT);
        if record_bytes != RECORD_BYTES {
            return Err(Refused::RecordBytes(record_bytes));
        }
        let bytes = at(BYTES_AT);
        if bytes != shape.bytes() {
            return Err(Refused::Bytes { said: bytes, needed: shape.bytes() });
        }
        if found < shape.words() {
            return Err(Refused::Short { found, needed: shape.words() });
        }
        let generation = at(GENERATION_AT);
        if generation == 0 {
            return Err(Refused::Generation);
        }
        Ok(Self { shape, generation, minor, flags: at(FLAGS_AT) })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each half is what is wanted")]
fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> u32::BITS) as u32)
}

/// Writes the header of a new segment into `words`, which nobody else has yet and which are zero but for it.
///
/// # Errors
/// [`Refused::Short`]; [`Refused::Generation`] when it is 0.
pub fn format(words: &impl Words, shape: Shape, generation: u64) -> Result<(), Refused> {
    if words.len() < shape.words() {
        return Err(Refused::Short { found: words.len(), needed: shape.words() });
    }
    if generation == 0 {
        return Err(Refused::Generation);
    }
    let put = |index, word| words.store(index, word, Relaxed);
    put(VERSION_AT, u64::from(MINOR) << u32::BITS | u64::from(MAJOR));
    put(GENERATION_AT, generation);
    put(BYTES_AT, shape.bytes());
    put(SLOTS_AT, shape.slots());
    put(RECORD_BYTES_AT, RECORD_BYTES);
    put(METERS_AT, shape.meters());
    put(FLAGS_AT, 0);
    // pairs with `Segment::read`
    words.store(MAGIC_AT, MAGIC, Release);
    Ok(())
}

/// Why memory is no segment for us, or a segment not for this producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are fewer words than the segment has.
    Short {
        /// What there is.
        found: usize,
        /// What it takes.
        needed: usize,
    },
    /// It does not begin as a segment does.
    Magic(u64),
    /// It is of another version.
    Version {
        /// Theirs.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// The number of slots cannot be.
    Slots(u64),
    /// The number of meters cannot be.
    Meters(u64),
    /// Its slots are of another size.
    RecordBytes(u64),
    /// Its size is not that of its parts.
    Bytes {
        /// What the header says.
        said: u64,
        /// What its parts need.
        needed: u64,
    },
    /// It has no generation.
    Generation,
    /// A producer has it, or had it.
    Taken {
        /// The last word of that producer's identity.
        by: u64,
    },
    /// The last word of a producer's identity is 0, which says that there is none.
    Nobody,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { found, needed } => {
                write!(f, "{found} words are no segment: {needed} are; hand over the whole mapping")
            }
            Self::Magic(word) => {
                write!(f, "it begins with {word:#018x}, which is no ring of quell's ({MAGIC:#018x})")
            }
            Self::Version { theirs, ours } => {
                write!(
                    f,
                    "its layout is version {theirs}, this side speaks {ours}: install the same release of both"
                )
            }
            Self::Slots(slots) => {
                write!(f, "{slots} slots cannot be: a power of two from {SLOTS_MIN} to {SLOTS_MAX} can")
            }
            Self::Meters(meters) => write!(f, "{meters} meters are too many: {METERS_MAX} are the most"),
            Self::RecordBytes(bytes) => {
                write!(
                    f,
                    "its slots have {bytes} bytes, ours {RECORD_BYTES}: install the same release of both"
                )
            }
            Self::Bytes { said, needed } => {
                write!(
                    f,
                    "the header says {said} bytes, and its parts need {needed}: it is spoiled, ask for another"
                )
            }
            Self::Generation => write!(f, "generation 0 is none: count from 1"),
            Self::Taken { by } => {
                write!(f, "a producer ({by}) has it already: each thread asks for a segment of its own")
            }
            Self::Nobody => write!(f, "a producer's last word of identity is 0: it must name somebody"),
        }
    }
}

impl core::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    const SHAPE: Shape = Shape { slots: 4, meters: 3 };

    fn memory(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_new_segment_reads_as_written() {
        let words = memory(SHAPE.words());
        format(&words, SHAPE, 7).unwrap();
        let expected = Segment { shape: SHAPE, generation: 7, minor: MINOR, flags: 0 };
        assert_eq!(Segment::read(&words), Ok(expected));
        let bytes: Vec<u8> = words.iter().take(8).flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        assert_eq!(&bytes[..16], b"quellrng\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..32], [7, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x10, 0, 0, 0, 0, 0, 0]); // 4096 + 4 * 16 bytes
        assert_eq!(
            bytes[32..64],
            [4, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn the_ring_that_is_handed_out_is_one() {
        assert_eq!(Shape::new(Shape::DEFAULT.slots, Shape::DEFAULT.meters), Ok(Shape::DEFAULT));
        assert_eq!(Shape::DEFAULT.bytes(), (1 << 20) + 4096);
    }

    #[track_caller]
    fn check(spoil: (usize, u64), expected: &str) {
        let words = memory(SHAPE.words());
        format(&words, SHAPE, 7).unwrap();
        words[spoil.0].store(spoil.1, Relaxed);
        assert_eq!(Segment::read(&words).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_header_is_right_or_refused() {
        check(
            (MAGIC_AT, 0),
            "it begins with 0x0000000000000000, which is no ring of quell's (0x676e726c6c657571)",
        );
        check(
            (VERSION_AT, 2),
            "its layout is version 2, this side speaks 1: install the same release of both",
        );
        check((GENERATION_AT, 0), "generation 0 is none: count from 1");
        check((SLOTS_AT, 0), "0 slots cannot be: a power of two from 2 to 1048576 can");
        check((SLOTS_AT, 6), "6 slots cannot be: a power of two from 2 to 1048576 can");
        check(
            (SLOTS_AT, 1 << 63),
            "9223372036854775808 slots cannot be: a power of two from 2 to 1048576 can",
        );
        check((METERS_AT, 257), "257 meters are too many: 256 are the most");
        check((RECORD_BYTES_AT, 32), "its slots have 32 bytes, ours 16: install the same release of both");
        // The shape is what the parts are computed from, so a larger one is told as the size that it needs.
        check(
            (SLOTS_AT, 8),
            "the header says 4160 bytes, and its parts need 4224: it is spoiled, ask for another",
        );
        check(
            (BYTES_AT, 1),
            "the header says 1 bytes, and its parts need 4160: it is spoiled, ask for another",
        );
    }

    #[test]
    fn a_later_minor_version_and_its_flags_are_read() {
        let words = memory(SHAPE.words());
        format(&words, SHAPE, 7).unwrap();
        words[VERSION_AT].store(9 << 32 | u64::from(MAJOR), Relaxed);
        words[FLAGS_AT].store(1 << 63, Relaxed);
        words[word(offset_of!(Page, told))].store(5, Relaxed);
        let segment = Segment::read(&words).unwrap();
        assert_eq!((segment.minor, segment.flags, segment.shape), (9, 1 << 63, SHAPE));
    }

    #[test]
    fn memory_that_is_too_small_is_refused() {
        let small = memory(SHAPE.words() - 1);
        let short = Refused::Short { found: SHAPE.words() - 1, needed: SHAPE.words() };
        assert_eq!(format(&small, SHAPE, 7), Err(short));
        assert_eq!(Segment::read(&memory(3)), Err(Refused::Short { found: 3, needed: 512 }));
        // A header that is right in memory that ends too early.
        let words = memory(SHAPE.words());
        format(&words, SHAPE, 7).unwrap();
        assert_eq!(Segment::read(&&words[..SHAPE.words() - 1]), Err(short));
        assert_eq!(format(&words, SHAPE, 0), Err(Refused::Generation));
    }

    #[test]
    fn no_position_leads_out_of_the_segment() {
        for slots in [SLOTS_MIN, SLOTS_MAX] {
            let shape = Shape::new(slots, 0).unwrap();
            for position in [0, slots - 1, slots, 1 << 32, u64::MAX] {
                assert!((SLOTS..shape.words() - 1).contains(&shape.slot(position)), "{position}");
            }
        }
        assert_eq!((SHAPE.meter(2), SHAPE.meter(3), SHAPE.meter(u16::MAX)), (Some(METERS + 2), None, None));
    }
}
