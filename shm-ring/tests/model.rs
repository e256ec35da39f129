//! Every interleaving of the two sides, and every value that the memory model lets a load return.
//!
//! The memory is stricter than the real one: the first word of a slot is a plain cell, in which loom forbids any access
//! that the sequence number and the tail do not order. A model can be wrong by seeing nothing, so that each counts the
//! outcomes it met, and each ordering of the protocol is taken away once, to be missed.

#![expect(clippy::unwrap_used, reason = "a failed precondition of a test ends the test")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use loom::cell::Cell;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use shm_ring::{Consumer, Producer, Record, Shape, Words, format};

const SLOTS: u64 = 2;

/// How many interleavings there were, and what came out of them: records read beside the writer, and a count.
type Explored = (usize, BTreeSet<(usize, u64)>);

// Where the words of the page are; `layout.rs` asserts these offsets.
const DROPPED: usize = 128 / 8;
const ACCEPTED: usize = 136 / 8;
const OPEN_SPAN: usize = 144 / 8;
const TAIL: usize = 256 / 8;
const FIRST_SLOT: usize = 4096 / 8;

/// An ordering that is taken away.
#[derive(Clone, Copy)]
struct Defect {
    /// Whether it is this word's.
    word: fn(usize) -> bool,
    /// The stores to it become Relaxed, or the loads.
    stores: bool,
}

enum Word {
    /// Header, identity, meters: nothing that changes while both run.
    Fixed(std::cell::Cell<u64>),
    Plain(Cell<u64>),
    Atomic(AtomicU64),
}

/// Words shared by the threads of a model, which are all run by one thread of the machine.
#[derive(Clone)]
struct Memory {
    words: Rc<[Word]>,
    defect: Option<Defect>,
}

impl Memory {
    fn new(defect: Option<Defect>) -> Self {
        let shape = Shape::new(SLOTS, 0).unwrap();
        let word = |index: usize| match index {
            DROPPED..=OPEN_SPAN | TAIL => Word::Atomic(AtomicU64::new(0)),
            FIRST_SLOT.. if index.is_multiple_of(2) => Word::Plain(Cell::new(0)),
            FIRST_SLOT.. => Word::Atomic(AtomicU64::new(0)),
            _ => Word::Fixed(std::cell::Cell::new(0)),
        };
        let memory = Self { words: (0..shape.words()).map(word).collect(), defect };
        format(&memory, shape, 1).unwrap();
        memory
    }

    fn order(&self, index: usize, stores: bool, order: Ordering) -> Ordering {
        let defect = self.defect.is_some_and(|defect| defect.stores == stores && (defect.word)(index));
        if defect { Ordering::Relaxed } else { order }
    }
}

impl Words for Memory {
    fn len(&self) -> usize {
        self.words.len()
    }

    fn load(&self, index: usize, order: Ordering) -> u64 {
        match &self.words[index] {
            Word::Fixed(word) => word.get(),
            Word::Plain(word) => word.get(),
            Word::Atomic(word) => word.load(self.order(index, false, order)),
        }
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        match &self.words[index] {
            Word::Fixed(word) => word.set(value),
            Word::Plain(word) => word.set(value),
            Word::Atomic(word) => word.store(value, self.order(index, true, order)),
        }
    }
}

fn record(number: u32) -> Record {
    Record { stamp: u64::from(number) * 3 + 1, id: 9, value: number }
}

/// Takes what is there; each record whole, and later than the one before.
fn take(consumer: &mut Consumer<Memory>, numbers: &mut Vec<u32>) {
    let pass = consumer.drain(4, |one| {
        assert_eq!(one, record(one.value), "torn");
        assert!(numbers.last().is_none_or(|last| *last < one.value), "out of order");
        numbers.push(one.value);
    });
    assert_eq!((pass.spoiled, pass.garbage), (0, 0), "an honest producer leaves none");
}

/// Three records into a ring of two, beside a reader that looks twice; what was read by it, and what was dropped.
fn hand_over(defect: Option<Defect>) -> (usize, u64) {
    let memory = Memory::new(defect);
    let mut consumer = Consumer::attach(memory.clone()).unwrap();
    let writing = thread::spawn(move || {
        let mut producer = Producer::attach(memory, [1, 2, 3]).unwrap();
        (0..3).for_each(|number| {
            producer.push(record(number));
        });
        producer.dropped()
    });
    let reading = thread::spawn(move || {
        let mut numbers = Vec::new();
        take(&mut consumer, &mut numbers);
        let account = consumer.account();
        take(&mut consumer, &mut numbers);
        assert!(numbers.len() as u64 >= account.accepted, "accepted and not there");
        (consumer, numbers)
    });
    let dropped = writing.join().unwrap();
    let (mut consumer, mut numbers) = reading.join().unwrap();
    let beside = numbers.len();
    take(&mut consumer, &mut numbers);
    let account = consumer.account();
    assert_eq!((account.taken + account.dropped, account.accepted), (3, numbers.len() as u64));
    assert_eq!((account.taken, account.dropped), (account.accepted, dropped));
    (beside, dropped)
}

/// A record and then the span after it, beside a reader of the span that then looks for the record.
fn open_after(defect: Option<Defect>) -> (usize, u64) {
    let memory = Memory::new(defect);
    let mut consumer = Consumer::attach(memory.clone()).unwrap();
    let writing = thread::spawn(move || {
        let mut producer = Producer::attach(memory, [1, 2, 3]).unwrap();
        producer.push(record(0));
        producer.open_span(5, 6);
    });
    let reading = thread::spawn(move || {
        let is_open = consumer.open_span().is_some();
        let mut numbers = Vec::new();
        take(&mut consumer, &mut numbers);
        assert!(!is_open || numbers == [0], "the span is open and what was before it is not there");
        (numbers.len(), u64::from(is_open))
    });
    writing.join().unwrap();
    reading.join().unwrap()
}

/// Runs `model` in every interleaving: how many there were and what came out, or the words of the first that failed.
fn explore(model: fn(Option<Defect>) -> (usize, u64), defect: Option<Defect>) -> Result<Explored, String> {
    let seen: Arc<Mutex<Explored>> = Arc::default();
    let counting = seen.clone();
    let explored = catch_unwind(AssertUnwindSafe(|| {
        loom::model(move || {
            let outcome = model(defect);
            let mut seen = counting.lock().unwrap();
            seen.0 += 1;
            seen.1.insert(outcome);
        });
    }));
    let text = |panic: Box<dyn std::any::Any + Send>| {
        let formatted = panic.downcast_ref::<String>().cloned();
        formatted.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    };
    explored.map_err(text).map(|()| seen.lock().unwrap().clone())
}

#[test]
fn every_interleaving_hands_over_whole_records_and_counts_the_rest() {
    let (interleavings, outcomes) = explore(hand_over, None).unwrap();
    // Without a slot given back in time the third is dropped, however many were read by then; with one it is not.
    let expected: BTreeSet<(usize, u64)> = [(0, 1), (1, 1), (2, 1), (1, 0), (2, 0), (3, 0)].into();
    assert_eq!(outcomes, expected, "{interleavings} interleavings");
    assert!(interleavings > 100, "{interleavings}");
}

#[test]
fn whoever_sees_a_span_sees_what_was_before_it() {
    let (interleavings, outcomes) = explore(open_after, None).unwrap();
    assert_eq!(outcomes, [(0, 0), (1, 0), (1, 1)].into(), "{interleavings}");
}

#[track_caller]
fn check(model: fn(Option<Defect>) -> (usize, u64), word: fn(usize) -> bool, stores: bool, expected: &str) {
    let found = explore(model, Some(Defect { word, stores }));
    let said = found.expect_err("the model did not notice that an ordering was taken away");
    assert!(said.contains(expected), "{said}");
}

fn is_number(index: usize) -> bool {
    index >= FIRST_SLOT && !index.is_multiple_of(2)
}

#[test]
fn each_ordering_is_missed_when_it_is_taken_away() {
    check(hand_over, is_number, true, "Causality violation"); // publishing
    check(hand_over, is_number, false, "Causality violation"); // seeing what was published
    check(hand_over, |index| index == TAIL, true, "Causality violation"); // giving slots back
    check(hand_over, |index| index == TAIL, false, "Causality violation"); // taking them
    check(hand_over, |index| index == ACCEPTED, true, "accepted and not there");
    check(hand_over, |index| index == ACCEPTED, false, "accepted and not there");
    check(open_after, |index| index == OPEN_SPAN, true, "the span is open");
    check(open_after, |index| index == OPEN_SPAN, false, "the span is open");
}
