//! The agent's side: takes records out of memory that a stranger may be writing.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::layout::{ACCEPTED, DROPPED, IDENTITY, OPEN_SPAN, TAIL};
use crate::record::{self, OpenSpan, Record, sequence_at, sequence_in};
use crate::{Refused, Segment, Words};

/// The one reader of a segment.
///
/// Header and position are taken out once, when it begins; from then on nothing that a producer writes decides where it
/// reads or how long.
#[derive(Debug)]
pub struct Consumer<M: Words> {
    words: M,
    segment: Segment,
    /// The next record to read, counted from the ring's first.
    position: u64,
    spoiled: u64,
}

/// What one pass found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Records handed over.
    pub records: usize,
    /// Slots skipped that held no record although one after them did: somebody wrote over them.
    pub spoiled: usize,
    /// Slots in which the pass got stuck: they hold neither a record nor what was there before one. Their producer will
    /// write over them when it gets there, and if it never does the segment is beyond help.
    pub garbage: usize,
}

impl Pass {
    /// Slots looked at, of those that were not empty; as many as the cap mean that there may be more.
    #[must_use]
    pub fn looked(&self) -> usize {
        self.records + self.spoiled + self.garbage
    }
}

/// What became of the records of a segment. Once the ring is empty, `taken` and `dropped` together are what was produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Records that left the ring, to this consumer and those before it, `spoiled` among them.
    pub taken: u64,
    /// Those of them that had been written over when this consumer came to them.
    pub spoiled: u64,
    /// Records that found room, as the producer last wrote it down: a stranger's word.
    pub accepted: u64,
    /// Records that found none, likewise.
    pub dropped: u64,
}

/// What a slot holds.
enum Found {
    Record(Record),
    /// The record of the lap before, which was read, or what the memory began with.
    Empty,
    Garbage,
}

impl<M: Words> Consumer<M> {
    /// Reads the segment in `words` on from where the consumer before this one stopped; a new one from its beginning.
    ///
    /// # Errors
    /// What [`Segment::read`] refuses.
    pub fn attach(words: M) -> Result<Self, Refused> {
        let segment = Segment::read(&words)?;
        let position = words.load(TAIL, Acquire);
        Ok(Self { words, segment, position, spoiled: 0 })
    }

    /// What the header said when this began.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Hands the records that are there to `each`, in the order in which they were pushed. Looks at no more than `cap`
    /// slots and the one behind them.
    ///
    /// A slot with a wrong sequence number is skipped once a later one holds its record, and waited for until then: an
    /// honest producer leaves none, and what a stray write has hit is lost while the rest is not.
    #[inline]
    pub fn drain(&mut self, cap: usize, mut each: impl FnMut(Record)) -> Pass {
        let mut pass = Pass::default();
        let from = self.position;
        let mut ahead = from;
        while pass.looked() < cap {
            match self.look(ahead) {
                Found::Empty => break,
                Found::Garbage => pass.garbage += 1,
                Found::Record(record) => {
                    pass.spoiled += pass.garbage;
                    self.spoiled = self.spoiled.wrapping_add(pass.garbage as u64);
                    pass.garbage = 0;
                    pass.records += 1;
                    // Before the call, which may panic: a record is handed over once.
                    self.position = ahead.wrapping_add(1);
                    each(record);
                }
            }
            ahead = ahead.wrapping_add(1);
        }
        if self.position != from {
            // pairs with `Producer::look`: the slots before it are read
            self.words.store(TAIL, self.position, Release);
        }
        pass
    }

    #[inline]
    fn look(&self, position: u64) -> Found {
        let shape = self.segment.shape;
        let slot = shape.slot(position);
        // pairs with `Producer::push`
        let second = self.words.load(slot + 1, Acquire);
        let number = sequence_in(second);
        if number == sequence_at(position) {
            return Found::Record(Record::from_words(self.words.load(slot, Relaxed), second));
        }
        let before = if position < shape.slots() { 0 } else { sequence_at(position - shape.slots()) };
        if number == before { Found::Empty } else { Found::Garbage }
    }

    /// The accounts as they are now.
    #[must_use]
    pub fn account(&self) -> Account {
        // pairs with `Producer::settle`, which writes them in the other order: the drops are those of that moment or later
        let accepted = self.words.load(ACCEPTED, Acquire);
        let dropped = self.words.load(DROPPED, Acquire);
        Account { taken: self.position, spoiled: self.spoiled, accepted, dropped }
    }

    /// The span in which the producer is, or died.
    #[must_use]
    pub fn open_span(&self) -> Option<OpenSpan> {
        // pairs with `Producer::open_span`
        let (stamp, id) = record::unpack(self.words.load(OPEN_SPAN, Acquire));
        (id != 0).then_some(OpenSpan { stamp, id })
    }

    /// A counter or a gauge, if the segment has that many.
    #[must_use]
    pub fn meter(&self, index: u16) -> Option<u64> {
        self.segment.shape.meter(index).map(|at| self.words.load(at, Relaxed))
    }

    /// Who writes, by its own account; `None` before anybody does.
    #[must_use]
    pub fn identity(&self) -> Option<[u64; 3]> {
        // pairs with `Producer::attach`
        let started = self.words.load(IDENTITY + 2, Acquire);
        let [process, thread] = [IDENTITY, IDENTITY + 1].map(|at| self.words.load(at, Relaxed));
        (started != 0).then_some([process, thread, started])
    }
}
