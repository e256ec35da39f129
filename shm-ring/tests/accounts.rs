//! What goes in is what comes out or is counted: against a model, between two threads, and with a stranger's bytes.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a failed precondition of a test ends the test; parts of random words are what is wanted"
)]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use shm_ring::{Consumer, Pass, Producer, Record, Refused, Segment, Shape, Words, format};

const WHO: [u64; 3] = [1, 2, 3];
/// Words before the slots, of which the first sixteen are the header's (`layout.rs`).
const PAGE: usize = 512;
const HEAD: Range<usize> = 0..16;

/// Memory that counts how often it is read.
struct Memory {
    words: Vec<AtomicU64>,
    loads: AtomicUsize,
}

impl Memory {
    fn new(words: usize) -> Self {
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect(), loads: AtomicUsize::new(0) }
    }

    fn segment(slots: u64) -> Self {
        let shape = Shape::new(slots, 4).unwrap();
        let memory = Self::new(shape.words());
        format(&&memory, shape, 1).unwrap();
        memory
    }

    /// Random words in `range`.
    fn spoil(&self, range: Range<usize>, random: &mut fastrand::Rng) {
        self.words[range].iter().for_each(|word| word.store(random.u64(..), Relaxed));
    }

    /// How often it was read meanwhile.
    fn loads<T>(&self, work: impl FnOnce() -> T) -> (T, usize) {
        let before = self.loads.load(Relaxed);
        let done = work();
        (done, self.loads.load(Relaxed) - before)
    }
}

impl Words for &Memory {
    fn len(&self) -> usize {
        self.words.len()
    }

    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.loads.fetch_add(1, Relaxed);
        self.words[index].load(order)
    }

    fn store(&self, index: usize, word: u64, order: Ordering) {
        self.words[index].store(word, order);
    }
}

/// The record with this number: every part follows from it, so that a torn one is seen.
fn record(number: u64) -> Record {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Record { stamp: number, id: (mixed >> 48) as u16, value: (mixed >> 8) as u32 }
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Drain(usize),
    /// The consumer dies, and another goes on.
    Replace,
    Meter(u16, u64),
    Span(u64, u16),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u32..40).prop_map(Step::Push),
        3 => (0_usize..40).prop_map(Step::Drain),
        1 => Just(Step::Replace),
        1 => (0_u16..6, any::<u64>()).prop_map(|(index, value)| Step::Meter(index, value)),
        1 => (any::<u64>(), any::<u16>()).prop_map(|(stamp, id)| Step::Span(stamp, id)),
    ]
}

proptest! {
    /// The model is a queue that takes no more than it has room for.
    #[test]
    fn it_is_a_bounded_queue(power in 1_u32..6, steps in prop::collection::vec(any_step(), 0..60)) {
        let slots = 1_usize << power;
        let memory = Memory::segment(slots as u64);
        let mut producer = Producer::attach(&memory, WHO).unwrap();
        let mut consumer = Consumer::attach(&memory).unwrap();
        let (mut queue, mut meters) = (VecDeque::new(), [0_u64; 4]);
        let (mut pushed, mut taken, mut dropped) = (0_u64, 0_u64, 0_u64);
        for step in steps {
            match step {
                Step::Push(count) => for _ in 0..count {
                    let has_room = queue.len() < slots;
                    prop_assert_eq!(producer.push(record(pushed)), has_room);
                    if has_room { queue.push_back(pushed) } else { dropped += 1 }
                    pushed += 1;
                },
                Step::Drain(cap) => {
                    let expected: Vec<Record> = queue.drain(..cap.min(queue.len())).map(record).collect();
                    let mut found = Vec::new();
                    let pass = consumer.drain(cap, |one| found.push(one));
                    prop_assert_eq!(pass.records, expected.len());
                    prop_assert_eq!((pass.spoiled, pass.garbage), (0, 0));
                    prop_assert_eq!(&found, &expected);
                    taken += expected.len() as u64;
                }
                Step::Replace => consumer = Consumer::attach(&memory).unwrap(),
                Step::Meter(index, value) => {
                    let sum = meters.get_mut(usize::from(index));
                    prop_assert_eq!(producer.add_to_meter(index, value), sum.is_some());
                    if let Some(sum) = sum { *sum = sum.wrapping_add(value) }
                    prop_assert_eq!(consumer.meter(index), meters.get(usize::from(index)).copied());
                }
                Step::Span(stamp, id) => {
                    producer.open_span(stamp, id);
                    let expected = (id != 0).then_some((stamp & ((1 << 48) - 1), id));
                    prop_assert_eq!(consumer.open_span().map(|span| (span.stamp, span.id)), expected);
                }
            }
            producer.settle();
            let account = consumer.account();
            prop_assert_eq!((account.taken, account.dropped, account.accepted), (taken, dropped, pushed - dropped));
            prop_assert_eq!(pushed, taken + dropped + queue.len() as u64);
        }
    }
}

/// A thread that pushes `count` records as fast as it can, and one that reads them in passes of random caps, with pauses
/// in which the ring fills many times over.
#[track_caller]
fn check(slots: u64, count: u64) {
    let memory = Memory::segment(slots);
    let done = AtomicBool::new(false);
    let mut random = fastrand::Rng::with_seed(slots);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = Producer::attach(&memory, WHO).unwrap();
            let accepted = (0..count).filter(|number| producer.push(record(*number))).count() as u64;
            assert_eq!((producer.accepted(), producer.dropped()), (accepted, count - accepted));
            drop(producer);
            done.store(true, Ordering::Release);
        });
        let mut consumer = Consumer::attach(&memory).unwrap();
        let (mut read, mut last) = (0, None);
        loop {
            let is_last = done.load(Ordering::Acquire);
            let cap = random.usize(1..64);
            let pass = consumer.drain(cap, |one| {
                assert_eq!(one, record(one.stamp), "torn");
                assert!(last < Some(one.stamp), "out of order");
                last = Some(one.stamp);
                read += 1;
            });
            assert_eq!((pass.spoiled, pass.garbage), (0, 0));
            match (pass.records, is_last) {
                (0, true) => break,
                (0, false) => thread::yield_now(),
                _ if random.u8(..) == 0 => (0..32).for_each(|_| thread::yield_now()),
                _ => {}
            }
        }
        let account = consumer.account();
        assert_eq!((account.taken, account.accepted), (read, read));
        assert_eq!(account.taken + account.dropped, count);
    });
}

#[test]
fn two_threads_lose_nothing_that_is_not_counted() {
    check(2, 100_000);
    check(64, 200_000);
    check(1 << 12, 200_000);
}

/// Everything a reader can do, on memory of which nothing is known. What is read stays within what was asked for.
fn read_everything(memory: &Memory, cap: usize) {
    let (attached, loads) = memory.loads(|| Consumer::attach(memory));
    assert!(loads <= 9, "{loads}"); // eight words of a header and the tail, each once
    let Ok(mut consumer) = attached else { return };
    for _ in 0..3 {
        let mut handed = 0;
        let (pass, loads) = memory.loads(|| consumer.drain(cap, |_| handed += 1));
        assert_eq!(pass.records, handed);
        assert!(pass.looked() <= cap && loads <= 2 * cap + 1, "{pass:?}: {loads}");
    }
    let _ = (consumer.account(), consumer.open_span(), consumer.identity());
    assert!(consumer.meter(u16::MAX).is_none());
}

/// And everything that a writer can.
fn write_everything(memory: &Memory) {
    let Ok(mut producer) = Producer::attach(memory, WHO) else { return };
    for number in 0..40 {
        let (_, loads) = memory.loads(|| producer.push(record(number)));
        assert!(loads <= 1, "{loads}");
    }
    producer.open_span(1, 2);
    assert!(!producer.set_meter(u16::MAX, 1));
}

proptest! {
    /// Whatever the bytes, and whatever the header says: refused, or read within bounds.
    #[test]
    fn no_bytes_disturb_either_side(
        seed in any::<u64>(),
        spoilt_header in 0_usize..20,
        value in any::<u64>(),
        cap in 0_usize..50,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let memory = Memory::segment(8);
        memory.spoil(PAGE..memory.words.len(), &mut random);
        memory.spoil(HEAD.end..PAGE, &mut random);
        if HEAD.contains(&spoilt_header) {
            let small = [value, value % 64, 1 << (value % 64), u64::MAX - value % 64];
            memory.words[spoilt_header].store(small[(value >> 32) as usize % 4], Relaxed);
        }
        read_everything(&memory, cap);
        memory.words[19..22].iter().for_each(|word| word.store(0, Relaxed)); // nobody has it
        write_everything(&memory);
    }
}

#[test]
fn a_large_header_in_a_small_mapping_is_refused() {
    let large = Shape::new(16, 0).unwrap();
    let memory = Memory::new(large.words());
    format(&&memory, large, 1).unwrap();
    let small =
        Memory { words: memory.words.into_iter().take(PAGE + 16).collect(), loads: AtomicUsize::new(0) };
    let short = Refused::Short { found: PAGE + 16, needed: large.words() };
    assert_eq!(Segment::read(&&small), Err(short));
    assert_eq!(Consumer::attach(&small).err(), Some(short));
}

const TAIL: usize = 256 / 8;

/// A stranger's next write: anywhere but to the header, mostly to slots, and as often what looks like a record of one of
/// the first laps as anything at all.
fn scribble(memory: &Memory, random: &mut fastrand::Rng) {
    let slots = (memory.words.len() - PAGE) as u64 / 2;
    let slot = random.u64(0..slots);
    let sequence = slot + 1 + slots * random.u64(0..3);
    let (at, word) = match random.u8(0..8) {
        0 => (random.usize(HEAD.end..memory.words.len()), random.u64(..)),
        1 => (TAIL, random.u64(0..4 * slots)),
        2 => (PAGE + 2 * slot as usize + 1, random.u64(..)),
        _ => (PAGE + 2 * slot as usize + 1, sequence << 32 | random.u64(..) >> 32),
    };
    memory.words[at].store(word, Relaxed);
}

/// A reader of what [`scribble`] leaves, which now and then begins again at whatever the tail is; what it found.
fn read_scribbles(memory: &Memory, random: &mut fastrand::Rng, mut goes_on: impl FnMut() -> bool) -> Pass {
    let mut consumer = Consumer::attach(memory).unwrap();
    let mut all = Pass::default();
    while goes_on() {
        let (cap, mut handed) = (random.usize(0..200), 0);
        let pass = consumer.drain(cap, |_| handed += 1);
        assert!(pass.looked() <= cap && pass.records == handed, "{pass:?}");
        all.records += pass.records;
        all.spoiled += pass.spoiled;
        all.garbage += pass.garbage;
        let _ = (consumer.account(), consumer.open_span(), consumer.identity(), consumer.meter(3));
        if random.u8(0..16) == 0 {
            consumer = Consumer::attach(memory).unwrap();
        }
    }
    all
}

#[test]
fn whatever_is_scribbled_between_passes_is_read_within_bounds() {
    let memory = Memory::segment(64);
    let mut random = fastrand::Rng::with_seed(1);
    let mut scribbling = fastrand::Rng::with_seed(2);
    let mut rounds = 0..40_000;
    let found = read_scribbles(&memory, &mut random, || {
        (0..scribbling.usize(0..16)).for_each(|_| scribble(&memory, &mut scribbling));
        rounds.next().is_some()
    });
    assert!(found.records > 1000 && found.spoiled > 1000 && found.garbage > 1000, "{found:?}");
}

#[test]
fn a_scribbler_disturbs_nobody_while_it_scribbles() {
    let memory = Memory::segment(64);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(3);
            (0..500_000).for_each(|_| scribble(&memory, &mut random));
            done.store(true, Relaxed);
        });
        read_scribbles(&memory, &mut fastrand::Rng::with_seed(4), || !done.load(Relaxed));
    });
}
