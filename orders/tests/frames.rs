//! Every message to the byte, there and back, and nothing but messages.

#![expect(clippy::unwrap_used, reason = "a failed precondition of a test ends the test")]

use orders::{
    Addressed, Answer, Deed, DriftEvent, Evacuate, Hello, Kind, Malformed, ORDER_BYTES, Order, Outcome,
    Refusal, Ring, STATUS_WORDS, Status, Text, Writer, decode_answer, decode_order, encode_answer,
    encode_order,
};
use proptest::prelude::*;
use units::CpuId;

/// Bytes without the zeros at their end, as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes[..end].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn order(what: Order, expected: &str) {
    let order = Addressed { sequence: 7, fence: 0x0102, what };
    let bytes = encode_order(&order);
    assert_eq!(hex(&bytes), expected.replace([' ', '|'], ""));
    assert_eq!(decode_order(&bytes), Ok(order));
}

#[test]
fn orders_to_the_byte() {
    // "qOrd", version 1.0, kind, 0 | sequence | fence | payload
    let head = |kind: u8| format!("714f7264 0100 {kind:02x}00 | 0700000000000000 | 0201000000000000");
    order(Order::Hello { version: Text::cut("0.1.0") }, &format!("{} | 302e312e30", head(1)));
    // The fence's own zeros end a message without payload.
    order(Order::Status, "714f7264 0100 0200 | 0700000000000000 | 0201");
    order(Order::Rings { cpu: CpuId(258), point: 7 }, &format!("{} | 02010000 07", head(3)));
    order(Order::Drift { after: 1 << 40 }, &format!("{} | 000000000001", head(4)));
    order(Order::Repair { knob: Text::cut("mem.swap") }, &format!("{} | 6d656d2e73776170", head(5)));
    order(Order::Reverify, "714f7264 0100 0600 | 0700000000000000 | 0201");
    order(Order::Evacuate { what: Evacuate::Irqs }, &format!("{} | 01", head(7)));
    order(Order::Evacuate { what: Evacuate::Workqueues }, &format!("{} | 02", head(7)));
    order(Order::Evacuate { what: Evacuate::Tasks }, &format!("{} | 03", head(7)));
    order(Order::Fence { to: 9 }, &format!("{} | 09", head(8)));
}

#[track_caller]
fn answer(what: Outcome, expected: &str) {
    let answer = Addressed { sequence: 7, fence: 2, what };
    let bytes = encode_answer(&answer);
    assert_eq!(hex(&bytes), expected.replace([' ', '|'], ""));
    assert_eq!(decode_answer(&bytes), Ok(answer));
}

#[test]
fn answers_to_the_byte() {
    // "qAns", version 1.0, kind, outcome | sequence | fence | payload
    let head = |kind: u8, outcome: u8| {
        format!("71416e73 0100 {kind:02x}{outcome:02x} | 0700000000000000 | 0200000000000000")
    };
    let version = "302e312e30".to_owned() + &"00".repeat(27);
    let hello = Hello { version: Text::cut("0.1.0"), holds: true };
    answer(Outcome::Done(Answer::Hello(hello)), &format!("{} | {version} 01", head(1, 0)));
    let ring = Ring { cpu: CpuId(3), point: 1, number_at: Some(8), name_at: Some(0x0201) };
    let payload = "03000000 01 01 0800000000000000 01 0102";
    answer(Outcome::Done(Answer::Ring(ring)), &format!("{} | {payload}", head(3, 0)));
    answer(
        Outcome::Done(Answer::Repaired { written: 2, id: Some(5) }),
        &format!("{} | 02000000 01 05", head(5, 0)),
    );
    answer(Outcome::Done(Answer::Fenced), "71416e73 0100 0800 | 0700000000000000 | 02");
    let refused = Outcome::Refused { order: None, why: Refusal::Malformed, reason: Text::cut("no") };
    answer(refused, &format!("{} | 01 6e6f", head(0, 1)));
    let failed = Outcome::Failed { order: Kind::Evacuate, reason: Text::cut("EIO") };
    answer(failed, &format!("{} | 45494f", head(7, 2)));
}

#[track_caller]
fn refuses(change: impl Fn(&mut Vec<u8>), expected: &str) {
    let mut bytes =
        encode_order(&Addressed { sequence: 1, fence: 1, what: Order::Drift { after: 0 } }).to_vec();
    change(&mut bytes);
    assert_eq!(decode_order(&bytes).unwrap_err().to_string(), expected);
}

#[test]
fn what_is_no_order_is_refused_by_name() {
    refuses(Vec::clear, "0 bytes are no message: 64 are");
    refuses(|bytes| bytes.truncate(63), "63 bytes are no message: 64 are");
    refuses(|bytes| bytes.push(0), "65 bytes are no message: 64 are");
    refuses(|bytes| bytes[0] = 0, "it does not begin with the magic word of a message of this direction");
    refuses(
        |bytes| bytes[4] = 2,
        "it speaks version 2, this side speaks 1: install the same release of both",
    );
    refuses(|bytes| bytes[6] = 0, "there is no order 0");
    refuses(|bytes| bytes[6] = 9, "there is no order 9");
    refuses(|bytes| bytes[7] = 1, "a byte that means nothing is not zero");
    refuses(|bytes| bytes[63] = 1, "a byte that means nothing is not zero");
    refuses(|bytes| bytes[6] = 7, "what to evacuate cannot be that");
    refuses(|bytes| bytes[6..].fill(3), "a byte that means nothing is not zero");
    let rings = |bytes: &mut Vec<u8>| {
        bytes[6] = 3;
        bytes[25] = 0x20; // CPU 8192: one more than there can be
    };
    refuses(rings, "the CPU cannot be that");
    let repair = |bytes: &mut Vec<u8>| {
        bytes[6] = 5;
        bytes[24..27].copy_from_slice(b"a\nb");
    };
    refuses(repair, "the knob's id cannot be that");
    // A text goes on after its end.
    let repair = |bytes: &mut Vec<u8>| {
        bytes[6] = 5;
        bytes[24..27].copy_from_slice(b"a\0b");
    };
    refuses(repair, "the knob's id cannot be that");
}

#[test]
fn a_later_version_is_told_from_noise_whatever_its_length() {
    let mut later = vec![0; 512];
    later[..5].copy_from_slice(b"qOrd\x02");
    assert_eq!(decode_order(&later), Err(Malformed::Version { theirs: 2, ours: 1 }));
    later[..5].copy_from_slice(b"qAns\x02");
    assert_eq!(decode_answer(&later), Err(Malformed::Version { theirs: 2, ours: 1 }));
}

#[test]
fn an_order_is_no_answer() {
    let mut bytes = encode_order(&Addressed { sequence: 1, fence: 1, what: Order::Status }).to_vec();
    bytes.resize(orders::ANSWER_BYTES, 0);
    assert_eq!(decode_answer(&bytes), Err(Malformed::Magic));
}

fn text<const N: usize>() -> impl Strategy<Value = Text<N>> {
    "[ -~]{0,70}".prop_map(|text| Text::cut(&text))
}

fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![
        text().prop_map(|version| Order::Hello { version }),
        Just(Order::Status),
        (0_u16..8192, any::<u8>()).prop_map(|(cpu, point)| Order::Rings { cpu: CpuId(cpu), point }),
        any::<u64>().prop_map(|after| Order::Drift { after }),
        text().prop_map(|knob| Order::Repair { knob }),
        Just(Order::Reverify),
        prop_oneof![Just(Evacuate::Irqs), Just(Evacuate::Workqueues), Just(Evacuate::Tasks)]
            .prop_map(|what| Order::Evacuate { what }),
        any::<u64>().prop_map(|to| Order::Fence { to }),
    ]
}

fn status() -> impl Strategy<Value = Status> {
    let numbers = any::<([u32; STATUS_WORDS.len()], [u64; 4], Option<u64>, Option<u64>, u32, bool)>();
    (text(), numbers, text()).prop_map(
        |(profile, (knobs, counts, journal, confirm_left_s, changes_left, fit), reason)| {
            let [drifts, repairs, fights, refused] = counts;
            Status {
                profile,
                knobs,
                drifts,
                repairs,
                fights,
                journal,
                confirm_left_s,
                refused,
                changes_left,
                fit,
                reason,
            }
        },
    )
}

fn drift() -> impl Strategy<Value = DriftEvent> {
    let texts = (text(), text(), text(), text(), text());
    let writer = proptest::option::of((any::<u32>(), text()).prop_map(|(pid, comm)| Writer { pid, comm }));
    let deed = prop_oneof![Just(Deed::Repaired), Just(Deed::Left), Just(Deed::Failed), Just(Deed::Observed)];
    (texts, any::<([u64; 3], Option<u64>)>(), writer, deed).prop_map(
        |((knob, attribute, identity, wanted, found), ([number, at, seen_at], repaired_at), writer, deed)| {
            DriftEvent {
                number,
                knob,
                attribute,
                identity,
                wanted,
                found,
                at,
                seen_at,
                repaired_at,
                writer,
                deed,
            }
        },
    )
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let kind = || proptest::sample::select(Kind::ALL.to_vec());
    let places = any::<(Option<u16>, Option<u16>)>();
    let done = prop_oneof![
        (text(), any::<bool>()).prop_map(|(version, holds)| Answer::Hello(Hello { version, holds })),
        status().prop_map(Answer::Status),
        (0_u16..8192, any::<u8>(), places).prop_map(|(cpu, point, (number_at, name_at))| {
            Answer::Ring(Ring { cpu: CpuId(cpu), point, number_at, name_at })
        }),
        proptest::option::of(drift()).prop_map(Answer::Drift),
        any::<(u32, Option<u64>)>().prop_map(|(written, id)| Answer::Repaired { written, id }),
        any::<[u32; STATUS_WORDS.len()]>().prop_map(Answer::Reverified),
        any::<(u32, Option<u64>)>().prop_map(|(written, id)| Answer::Evacuated { written, id }),
        Just(Answer::Fenced),
    ];
    let why = proptest::sample::select(Refusal::ALL.to_vec());
    prop_oneof![
        4 => done.prop_map(Outcome::Done),
        1 => (proptest::option::of(kind()), why, text())
            .prop_map(|(order, why, reason)| Outcome::Refused { order, why, reason }),
        1 => (kind(), text()).prop_map(|(order, reason)| Outcome::Failed { order, reason }),
    ]
}

proptest! {
    #[test]
    fn every_order_comes_back((sequence, fence, what) in (any::<u64>(), any::<u64>(), any_order())) {
        let order = Addressed { sequence, fence, what };
        prop_assert_eq!(decode_order(&encode_order(&order)), Ok(order));
    }

    #[test]
    fn every_answer_comes_back((sequence, fence, what) in (any::<u64>(), any::<u64>(), any_outcome())) {
        let answer = Addressed { sequence, fence, what };
        prop_assert_eq!(decode_answer(&encode_answer(&answer)), Ok(answer));
    }
}

/// A xorshift generator: a million messages that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

#[test]
fn of_a_million_mutated_orders_only_well_formed_ones_decode() {
    let seeds = [
        Order::Hello { version: Text::cut("0.1.0") },
        Order::Rings { cpu: CpuId(3), point: 0 },
        Order::Repair { knob: Text::cut("mem.swap") },
        Order::Evacuate { what: Evacuate::Irqs },
        Order::Fence { to: 4 },
    ]
    .map(|what| encode_order(&Addressed { sequence: 1, fence: 1, what }));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut decoded, mut refused) = (0, 0);
    for _ in 0..1_000_000 {
        let mut bytes = seeds[random.below(seeds.len())].to_vec();
        for _ in 0..=random.below(3) {
            let place = random.below(ORDER_BYTES);
            bytes[place] = random.byte();
        }
        if random.below(50) == 0 {
            bytes.resize(random.below(2 * ORDER_BYTES), 0);
        }
        let Ok(order) = decode_order(&bytes) else {
            refused += 1;
            continue;
        };
        decoded += 1;
        bytes[5] = orders::MINOR; // the sender's minor version is its own business
        assert_eq!(encode_order(&order).as_slice(), bytes, "{order:?} has a second form");
    }
    assert!(decoded > 100_000 && refused > 100_000, "{decoded} decoded, {refused} refused");
}

#[test]
fn of_mutated_answers_only_well_formed_ones_decode() {
    let drift = DriftEvent {
        number: 1,
        knob: Text::cut("mem.swap"),
        attribute: Text::cut("swappiness"),
        identity: Text::EMPTY,
        wanted: Text::cut("10"),
        found: Text::cut("60"),
        at: 1,
        seen_at: 2,
        repaired_at: Some(3),
        writer: Some(Writer { pid: 42, comm: Text::cut("sysctl") }),
        deed: Deed::Repaired,
    };
    let seeds = [Answer::Drift(Some(drift)), Answer::Status(Status::default())]
        .map(|answer| encode_answer(&Addressed { sequence: 1, fence: 1, what: Outcome::Done(answer) }));
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..200_000 {
        let mut bytes = seeds[random.below(seeds.len())];
        let place = random.below(bytes.len());
        bytes[place] = random.byte();
        if let Ok(answer) = decode_answer(&bytes) {
            bytes[5] = orders::MINOR;
            assert_eq!(encode_answer(&answer), bytes, "{answer:?} has a second form");
        }
    }
}
