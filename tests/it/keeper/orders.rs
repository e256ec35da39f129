//! What the keeper does when the agent asks, and what it does not.

use orders::{Answer, Evacuate, Hello, Order, Outcome, Refusal, STATUS_WORDS, Text};

use super::{Host, SWAPPINESS, WANTED};

/// The outcome in a word: `done`, or why not.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Refused { why, .. } => why.word(),
        Outcome::Failed { .. } => "failed",
    }
}

fn repair(knob: &str) -> Order {
    Order::Repair { knob: Text::cut(knob) }
}

#[test]
fn a_hello_tells_who_answers() {
    let host = Host::with("");
    let keeper = host.start();
    let hello = host.client().ask(Order::Hello { version: Text::cut("0.1.0") });
    let version = Text::cut(env!("CARGO_PKG_VERSION"));
    assert_eq!(hello, Outcome::Done(Answer::Hello(Hello { version, holds: true })));
    keeper.stop().succeeds();
}

#[test]
fn without_leave_only_looking_is_allowed() {
    let host = Host::with("");
    let keeper = host.start();
    let mut client = host.client();
    host.host.write(SWAPPINESS, "55\n");
    for (order, expected) in [
        (Order::Status, "done"),
        (Order::Reverify, "done"),
        (repair("mem.swap"), "policy"),
        (Order::Evacuate { what: Evacuate::Irqs }, "policy"),
        (Order::Fence { to: 1 }, "policy"),
        (Order::Rings { cpu: units::CpuId(0), point: 0 }, "policy"),
    ] {
        assert_eq!(word(&client.ask(order)), expected, "{order:?}");
    }
    assert_eq!(host.host.read(SWAPPINESS), "55\n");
    assert_eq!(host.audit("\"outcome\":\"policy\"").len(), 4, "each refusal is written down");
    assert_eq!(host.status().refused, 4);
    keeper.stop().succeeds();
}

#[test]
fn a_repair_puts_back_what_the_profile_wants_and_nothing_else() {
    let host = Host::with("allow = ['repair']\nmax_changes_per_hour = 2\n");
    let keeper = host.start();
    let mut client = host.client();
    let counts = |outcome| match outcome {
        Outcome::Done(Answer::Reverified(counts)) => counts,
        other => panic!("{other:?}"),
    };
    let drifted = STATUS_WORDS.iter().position(|word| *word == "drifted").unwrap();
    host.host.write(SWAPPINESS, "55\n");
    assert_eq!(counts(client.ask(Order::Reverify))[drifted], 1);
    assert_eq!(client.ask(repair("mem.swap")), Outcome::Done(Answer::Repaired { written: 1, id: Some(2) }));
    assert_eq!(host.host.read(SWAPPINESS), WANTED);
    assert_eq!(counts(client.ask(Order::Reverify))[drifted], 0);
    let nothing = Outcome::Done(Answer::Repaired { written: 0, id: None });
    assert_eq!(client.ask(repair("mem.swap")), nothing, "nothing to do is done");
    for knob in ["mem.nothing", "../../etc/passwd", "", "mem.numa"] {
        assert_eq!(word(&client.ask(repair(knob))), "knob", "{knob:?}");
    }
    // The hour's second change, and no third.
    host.host.write(SWAPPINESS, "55\n");
    assert_eq!(word(&client.ask(repair("mem.swap"))), "done");
    host.host.write(SWAPPINESS, "55\n");
    assert_eq!(word(&client.ask(repair("mem.swap"))), Refusal::Ceiling.word());
    assert_eq!(host.host.read(SWAPPINESS), "55\n");
    assert_eq!(host.status().changes_left, 0);
    assert_eq!(host.audit("\"outcome\":\"done\"").len(), 3, "each change and each try is written down");
    keeper.stop().succeeds();
    host.quell.args(["tune", "rollback", "--to", "baseline", "--force"]).on(&host.host).run().succeeds();
    assert_eq!(host.host.read(SWAPPINESS), super::ORIGINAL, "repairs are undone with what they repair");
}

#[test]
fn what_the_profile_does_not_want_is_not_evacuated() {
    let host = Host::with("allow = ['evacuate']\n");
    let keeper = host.start();
    for what in [Evacuate::Irqs, Evacuate::Workqueues, Evacuate::Tasks] {
        assert_eq!(word(&host.client().ask(Order::Evacuate { what })), "knob", "{what:?}");
    }
    keeper.stop().succeeds();
}

#[test]
fn an_order_under_an_older_fence_is_outdated_also_after_a_restart() {
    let host = Host::with("allow = ['fence', 'repair']\n");
    let keeper = host.start();
    let mut client = host.client();
    assert_eq!(client.ask(Order::Fence { to: 7 }), Outcome::Done(Answer::Fenced));
    assert_eq!(client.fence, 7, "the answer bears it");
    assert_eq!(word(&client.ask(Order::Fence { to: 6 })), "fence", "it only rises");
    assert_eq!(word(&client.ask(repair("mem.swap"))), "done");
    keeper.stop().succeeds();
    let keeper = host.start();
    let mut client = host.client();
    client.fence = 6;
    let outdated = client.ask(repair("mem.swap"));
    let Outcome::Refused { why: Refusal::Fence, reason, .. } = outdated else { panic!("{outdated:?}") };
    assert_eq!(reason.as_str(), "outdated by fence 7");
    client.fence = 6;
    assert_eq!(word(&client.ask(Order::Status)), "done", "looking is never outdated");
    keeper.stop().succeeds();
}

#[test]
fn one_order_raises_the_fence_by_so_much_and_no_more() {
    let host = Host::with("allow = ['fence']\n");
    let keeper = host.start();
    let mut client = host.client();
    for (to, expected) in
        [(1025, "fence"), (u64::MAX, "fence"), (1024, "done"), (2049, "fence"), (2048, "done")]
    {
        assert_eq!(word(&client.ask(Order::Fence { to })), expected, "{to}");
        client.fence = u64::MAX; // whatever it bears itself
    }
    assert_eq!(host.audit("\"outcome\":\"fence\"").len(), 3, "each refusal is written down");
    keeper.stop().succeeds();
}

#[test]
fn orders_that_change_something_come_so_many_at_once() {
    let host = Host::with("allow = ['repair', 'fence']\n");
    let keeper = host.start();
    let mut client = host.client();
    let asked = std::time::Instant::now();
    let words: Vec<&str> = (0..200).map(|_| word(&client.ask(repair("mem.swap")))).collect();
    let (done, refused) = (words.iter().filter(|word| **word == "done").count(), words.contains(&"busy"));
    // One comes back each second: on a machine that takes long for two hundred answers, more are let through.
    let most = 32 + 1 + usize::try_from(asked.elapsed().as_secs()).unwrap();
    assert!(refused && (32..=most).contains(&done), "{done} of {most}: {words:?}");
    assert_eq!(word(&client.ask(Order::Status)), "done", "looking is not measured");
    assert!(!host.audit("\"outcome\":\"busy\"").is_empty(), "refusals are written down");
    keeper.stop().succeeds();
}
