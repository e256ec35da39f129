//! The application's side: what is written, and nothing that waits.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::layout::{ACCEPTED, DROPPED, IDENTITY, OPEN_SPAN, TAIL};
use crate::record::{self, Record, sequence_at};
use crate::{Refused, Segment, Words};

/// The one writer of a segment; belongs to one thread.
///
/// What the reader writes, its tail, is believed only as far as it can be true: one that cannot be is overlooked, and the
/// ring counts as full.
#[derive(Debug)]
pub struct Producer<M: Words> {
    words: M,
    segment: Segment,
    /// Where the next record goes, counted from the ring's first.
    next: u64,
    /// The reader's position as last seen; it may be further.
    tail: u64,
    dropped: u64,
}

impl<M: Words> Producer<M> {
    /// Takes the segment in `words`. `identity` is told to the reader; its last word is not 0.
    ///
    /// Two threads that take the same segment at once are not noticed: each asks for its own.
    ///
    /// # Errors
    /// What [`Segment::read`] refuses; [`Refused::Taken`], [`Refused::Nobody`].
    pub fn attach(words: M, identity: [u64; 3]) -> Result<Self, Refused> {
        let segment = Segment::read(&words)?;
        let [process, thread, started] = identity;
        if started == 0 {
            return Err(Refused::Nobody);
        }
        let by = words.load(IDENTITY + 2, Acquire);
        if by != 0 {
            return Err(Refused::Taken { by });
        }
        words.store(IDENTITY, process, Relaxed);
        words.store(IDENTITY + 1, thread, Relaxed);
        // pairs with `Consumer::identity`
        words.store(IDENTITY + 2, started, Release);
        Ok(Self { words, segment, next: 0, tail: 0, dropped: 0 })
    }

    /// What the header said.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Hands `record` over, or counts it as dropped and returns false. Two stores and a comparison; when the ring seems
    /// full, one look at how far the reader is.
    #[inline]
    pub fn push(&mut self, record: Record) -> bool {
        if self.next.wrapping_sub(self.tail) >= self.segment.shape.slots() && !self.look() {
            self.drop_one();
            return false;
        }
        let slot = self.segment.shape.slot(self.next);
        self.words.store(slot, record.first_word(), Relaxed);
        // pairs with `Consumer::drain`: whoever sees this number sees the word above
        self.words.store(slot + 1, record.second_word(sequence_at(self.next)), Release);
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Whether the reader has made room meanwhile.
    #[cold]
    fn look(&mut self) -> bool {
        // pairs with `Consumer::drain`: it is done with the slots before its tail
        let tail = self.words.load(TAIL, Acquire);
        let waiting = self.next.wrapping_sub(tail);
        if waiting <= self.segment.shape.slots() {
            self.tail = tail;
        }
        waiting < self.segment.shape.slots()
    }

    #[cold]
    fn drop_one(&mut self) {
        self.dropped = self.dropped.wrapping_add(1);
        self.settle();
    }

    /// Writes the accounts down; a reader that sees them sees every record in them. Done by itself at each record that is
    /// dropped and at the end.
    pub fn settle(&mut self) {
        // pairs with `Consumer::account`
        self.words.store(DROPPED, self.dropped, Release);
        self.words.store(ACCEPTED, self.next, Release);
    }

    /// Says that the thread is in span `id`, begun at `stamp`; 0 means none. One store.
    #[inline]
    pub fn open_span(&mut self, stamp: u64, id: u16) {
        // pairs with `Consumer::open_span`: the records before it are there
        self.words.store(OPEN_SPAN, record::pack(stamp, id), Release);
    }

    /// Says that the thread is in no span. One store.
    #[inline]
    pub fn close_span(&mut self) {
        self.open_span(0, 0);
    }

    /// Sets a gauge, or a counter that is kept elsewhere; false when the segment has no such meter.
    #[inline]
    pub fn set_meter(&mut self, index: u16, value: u64) -> bool {
        let Some(at) = self.segment.shape.meter(index) else { return false };
        self.words.store(at, value, Relaxed);
        true
    }

    /// Adds to a counter; false when the segment has no such meter. Only this side writes meters, so that a load and a
    /// store are enough.
    #[inline]
    pub fn add_to_meter(&mut self, index: u16, amount: u64) -> bool {
        let Some(at) = self.segment.shape.meter(index) else { return false };
        self.words.store(at, self.words.load(at, Relaxed).wrapping_add(amount), Relaxed);
        true
    }

    /// Records that found room.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.next
    }

    /// Records that did not.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl<M: Words> Drop for Producer<M> {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;
    use std::sync::Arc;
    use std::vec::Vec;

    use super::*;
    use crate::{Account, Consumer, OpenSpan, Pass, Shape, format};

    const WHO: [u64; 3] = [10, 11, 12];
    const SLOTS: u64 = 4;

    type Pair = (Producer<Arc<[AtomicU64]>>, Consumer<Arc<[AtomicU64]>>);

    fn segment() -> Arc<[AtomicU64]> {
        let shape = Shape::new(SLOTS, 2).unwrap();
        let words: Arc<[AtomicU64]> = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
        format(&words, shape, 1).unwrap();
        words
    }

    fn pair() -> Pair {
        let words = segment();
        (Producer::attach(words.clone(), WHO).unwrap(), Consumer::attach(words).unwrap())
    }

    fn record(number: u32) -> Record {
        Record { stamp: u64::from(number) << 8, id: 3, value: number }
    }

    /// Pushes what is numbered so; how many found room.
    fn push(producer: &mut Producer<Arc<[AtomicU64]>>, numbers: core::ops::Range<u32>) -> usize {
        numbers.filter(|number| producer.push(record(*number))).count()
    }

    fn drained(consumer: &mut Consumer<Arc<[AtomicU64]>>, cap: usize) -> (Vec<u32>, Pass) {
        let mut numbers = Vec::new();
        let pass = consumer.drain(cap, |one| {
            assert_eq!(one, record(one.value));
            numbers.push(one.value);
        });
        (numbers, pass)
    }

    #[test]
    fn records_come_in_order_and_once() {
        let (mut producer, mut consumer) = pair();
        assert_eq!(drained(&mut consumer, 9), (Vec::new(), Pass::default()));
        assert_eq!(push(&mut producer, 0..3), 3);
        assert_eq!(drained(&mut consumer, 2).0, [0, 1]); // the cap
        assert_eq!(drained(&mut consumer, 0).0, []);
        assert_eq!(push(&mut producer, 3..6), 3);
        assert_eq!(drained(&mut consumer, 9).0, [2, 3, 4, 5]);
        assert_eq!(drained(&mut consumer, 9).0, []);
    }

    #[test]
    fn a_full_ring_drops_the_new_and_counts_through_whole_laps() {
        let (mut producer, mut consumer) = pair();
        assert_eq!(push(&mut producer, 0..23), 4);
        let account = Account { taken: 0, spoiled: 0, accepted: 4, dropped: 19 };
        assert_eq!(consumer.account(), account);
        assert_eq!(drained(&mut consumer, 1).0, [0]);
        assert_eq!(push(&mut producer, 23..25), 1); // one has been read, so one fits
        assert_eq!(drained(&mut consumer, 9).0, [1, 2, 3, 23]);
        assert_eq!(push(&mut producer, 25..26), 1);
        assert_eq!(drained(&mut consumer, 9).0, [25]);
        assert_eq!((producer.accepted(), producer.dropped()), (6, 20));
        drop(producer);
        assert_eq!(consumer.account(), Account { taken: 6, spoiled: 0, accepted: 6, dropped: 20 });
    }

    /// As if `position` records had been written and read: the slots are those of the lap before.
    fn pair_at(position: u64) -> Pair {
        let words = segment();
        let mut producer = Producer::attach(words.clone(), WHO).unwrap();
        let shape = producer.segment.shape;
        for before in (1..=SLOTS).map(|before| position.wrapping_sub(before)) {
            words[shape.slot(before) + 1].store(record(0).second_word(sequence_at(before)), Relaxed);
        }
        words[TAIL].store(position, Relaxed);
        (producer.next, producer.tail) = (position, position);
        (producer, Consumer::attach(words).unwrap())
    }

    #[test]
    fn numbers_that_come_round_lose_nothing() {
        for start in [(1 << 32) - 6, (1 << 32) - 5, (1 << 32) - 1, 1 << 32, (1 << 33) - 3] {
            let (mut producer, mut consumer) = pair_at(start);
            assert_eq!(drained(&mut consumer, 9), (Vec::new(), Pass::default()), "{start}");
            for lap in 0..4 {
                let numbers = lap * 3..lap * 3 + 3;
                assert_eq!(push(&mut producer, numbers.clone()), 3, "{start}");
                assert_eq!(drained(&mut consumer, 9).0, numbers.collect::<Vec<_>>(), "{start}");
            }
            assert_eq!(push(&mut producer, 0..6), 4);
            assert_eq!(drained(&mut consumer, 9).0, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn another_consumer_goes_on_where_the_last_one_stopped() {
        let words = segment();
        let mut producer = Producer::attach(words.clone(), WHO).unwrap();
        let mut first = Consumer::attach(words.clone()).unwrap();
        push(&mut producer, 0..4);
        assert_eq!(drained(&mut first, 3).0, [0, 1, 2]);
        drop(first);
        push(&mut producer, 4..6);
        let mut second = Consumer::attach(words).unwrap();
        assert_eq!(drained(&mut second, 9).0, [3, 4, 5]);
    }

    #[test]
    fn a_segment_has_one_producer() {
        let words = segment();
        let consumer = Consumer::attach(words.clone()).unwrap();
        assert_eq!(consumer.identity(), None);
        assert_eq!(Producer::attach(words.clone(), [1, 2, 0]).unwrap_err(), Refused::Nobody);
        let producer = Producer::attach(words.clone(), WHO).unwrap();
        assert_eq!(consumer.identity(), Some(WHO));
        drop(producer);
        assert_eq!(Producer::attach(words, [1, 2, 3]).unwrap_err(), Refused::Taken { by: 12 });
    }

    #[test]
    fn the_open_span_is_the_one_last_opened() {
        let (mut producer, consumer) = pair();
        assert_eq!(consumer.open_span(), None);
        producer.open_span(5, 7);
        assert_eq!(consumer.open_span(), Some(OpenSpan { stamp: 5, id: 7 }));
        producer.open_span(u64::MAX, u16::MAX);
        assert_eq!(consumer.open_span(), Some(OpenSpan { stamp: (1 << 48) - 1, id: u16::MAX }));
        drop(producer); // as a killed one leaves it
        assert_eq!(consumer.open_span().map(|span| span.id), Some(u16::MAX));
        let (mut producer, consumer) = pair();
        producer.open_span(5, 7);
        producer.close_span();
        assert_eq!(consumer.open_span(), None);
    }

    #[test]
    fn meters_keep_what_was_written_and_there_are_no_others() {
        let (mut producer, consumer) = pair();
        assert!(
            producer.set_meter(0, 5) && producer.add_to_meter(1, 2) && producer.add_to_meter(1, u64::MAX)
        );
        assert!(!producer.set_meter(2, 5) && !producer.add_to_meter(u16::MAX, 5));
        assert_eq!([0, 1, 2, u16::MAX].map(|index| consumer.meter(index)), [Some(5), Some(1), None, None]);
    }

    #[test]
    fn a_tail_that_cannot_be_true_makes_no_room() {
        let (mut producer, mut consumer) = pair();
        push(&mut producer, 0..4);
        for lie in [5, 1 << 40, u64::MAX, u64::MAX - 3] {
            producer.words.store(TAIL, lie, Relaxed);
            assert_eq!(push(&mut producer, 4..6), 0, "{lie}");
        }
        assert_eq!(drained(&mut consumer, 9).0, [0, 1, 2, 3]);
        assert_eq!(push(&mut producer, 6..7), 1);
    }

    /// What a pass finds when slot 1 of records 0 to 2 has been written over by `second`, and what the next one finds
    /// after record 3.
    #[track_caller]
    fn check(second: u64, expected: [(&[u32], usize, usize); 2]) {
        let (mut producer, mut consumer) = pair();
        push(&mut producer, 0..3);
        producer.words.store(producer.segment.shape.slot(1) + 1, second, Relaxed);
        let [now, later] = expected;
        let mut pass = |(numbers, spoiled, garbage): (&[u32], usize, usize)| {
            let (found, pass) = drained(&mut consumer, 9);
            assert_eq!((found.as_slice(), pass.spoiled, pass.garbage), (numbers, spoiled, garbage));
        };
        pass(now);
        push(&mut producer, 3..4);
        pass(later);
        let account = consumer.account();
        assert_eq!((account.taken, account.spoiled), (4, 1));
        assert_eq!(push(&mut producer, 4..8), 4);
    }

    #[test]
    fn a_slot_that_was_written_over_costs_that_record() {
        check(9 << 32, [(&[0, 2], 1, 0), (&[3], 0, 0)]);
        check(u64::MAX, [(&[0, 2], 1, 0), (&[3], 0, 0)]);
        check(6 << 32, [(&[0, 2], 1, 0), (&[3], 0, 0)]); // the number of the lap after
    }

    #[test]
    fn garbage_is_waited_for_until_a_record_comes_behind_it() {
        let (mut producer, mut consumer) = pair();
        push(&mut producer, 0..1);
        let slot = |index| producer.segment.shape.slot(index) + 1;
        let garbage = [slot(1), slot(2)];
        garbage.iter().for_each(|at| producer.words.store(*at, 77 << 32, Relaxed));
        assert_eq!(drained(&mut consumer, 9), (Vec::from([0]), Pass { records: 1, spoiled: 0, garbage: 2 }));
        assert_eq!(drained(&mut consumer, 1).1, Pass { garbage: 1, ..Pass::default() }); // the cap bounds that too
        // Its producer gets there and mends it.
        push(&mut producer, 1..2);
        assert_eq!(drained(&mut consumer, 9), (Vec::from([1]), Pass { records: 1, spoiled: 0, garbage: 1 }));
        push(&mut producer, 2..4);
        assert_eq!(drained(&mut consumer, 9).0, [2, 3]);
        assert_eq!(consumer.account().spoiled, 0);
    }

    #[test]
    fn a_record_is_handed_over_once_even_to_one_who_panics() {
        let (mut producer, mut consumer) = pair();
        push(&mut producer, 0..2);
        let panicked =
            std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| consumer.drain(9, |_| panic!("mine"))));
        assert!(panicked.is_err());
        assert_eq!(drained(&mut consumer, 9).0, [1]);
        assert_eq!(push(&mut producer, 2..7), 4);
    }
}
