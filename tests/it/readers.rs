//! `quell report`, `budgets` and `stalls`: what the running agent knows, and what when there is none.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use report::{BudgetsDocument, Exit, Report, StallsDocument};

use crate::agent::{QUIET, settled};
use crate::harness::socket::impostor;
use crate::harness::{Agent, Quell, until};

/// A budget that no host meets: a wake-up takes more than the two readings of the clock around it.
const BREACHED: &str = r#"
[measure]
cpus = "0"
probes = ["timer-wakeup"]
stall = "1us"

[[budget]]
name = "impossible"
channel = "timer-wakeup"
limit = "p50 <= 20ns for 200ms over 1s"
"#;

/// A budget that is not judged before a minute of samples.
const SLOW: &str = r#"
[measure]
cpus = "0"
probes = ["timer-wakeup"]

[[budget]]
name = "slow"
channel = "timer-wakeup"
limit = "p99.9 <= 1s for 5s over 30s"
"#;

#[test]
fn a_met_budget_is_a_yes() {
    let agent = Agent::start(QUIET);
    settled(&agent);
    let text = agent.reader("budgets").run().succeeds().stdout;
    assert!(text.starts_with("OK: ") && text.contains("1 of 1 budgets met"), "{text}");
    let output = agent.reader("budgets").args(["--json"]).run().succeeds();
    output.json("quell.budgets/1");
    let budgets = BudgetsDocument::from_json(&output.stdout).unwrap().budgets;
    assert_eq!((budgets[0].state.as_str(), budgets[0].breaches), ("ok", Some(0)));
    assert!(budgets[0].samples >= 20 && budgets[0].value.is_some(), "{budgets:?}");
    // The budget is met; on a machine that loses samples the host is not fit all the same, and the code says so too.
    let report = agent.reader("report").run();
    let expected = if report.stdout.starts_with("FIT: ") { Exit::Yes } else { Exit::No };
    assert!(!report.stdout.starts_with("UNKNOWN: "), "{}", report.stdout);
    report.exits(expected);
}

#[test]
fn a_breach_is_a_no_and_has_its_numbers() {
    let agent = Agent::start(BREACHED);
    until("the budget is breached", || (agent.budgets()[0]["state"] == "breached").then_some(()));
    let text = agent.reader("budgets").run().exits(Exit::No).stdout;
    assert!(text.starts_with("BREACHED: ") && text.contains("impossible"), "{text}");
    let budget = until("the last second has samples", || {
        let output = agent.reader("budgets").args(["--json"]).run().exits(Exit::No);
        let budget = BudgetsDocument::from_json(&output.stdout).unwrap().budgets.remove(0);
        (budget.samples > 20).then_some(budget)
    });
    assert_eq!((budget.limit.0, budget.breaches), (20, Some(1)));
    assert!(budget.exceeded.unwrap() * 2 > budget.samples, "{budget:?}");
    let text = agent.reader("report").run().exits(Exit::No).stdout;
    assert!(text.starts_with("DEGRADED: ") && text.contains("impossible"), "{text}");
    let output = agent.reader("report").args(["--json"]).run().exits(Exit::No);
    output.json("quell.report/1");
    let report = Report::from_json(&output.stdout).unwrap();
    assert!(
        report.fitness.reasons.iter().any(|reason| reason.contains("impossible")),
        "{:?}",
        report.fitness
    );
    let said = agent.stop().succeeds().stderr;
    assert!(said.contains("budget impossible") && said.contains("-> breached"), "{said}");
}

#[test]
fn too_little_is_unknown_and_neither_yes_nor_breach() {
    let agent = Agent::start(SLOW);
    let text = agent.reader("budgets").run().exits(Exit::No).stdout;
    assert!(text.starts_with("UNKNOWN: "), "{text}");
    assert_eq!(agent.budgets()[0]["state"], "unknown");
    assert_eq!(agent.budgets()[0]["value"], serde_json::Value::Null, "absent is null, never 0");
    let text = agent.reader("report").run().exits(Exit::No).stdout;
    assert!(!text.starts_with("FIT"), "unknown is never fit: {text}");
}

#[test]
fn stalls_are_listed_longest_first() {
    let agent = Agent::start(BREACHED); // every wake-up is a stall there
    let stalls = || StallsDocument::from_json(&agent.ask("/v1/stalls").body).unwrap();
    until("there are more stalls than are kept", || (stalls().stalls_dropped > Some(0)).then_some(()));
    let output = agent.reader("stalls").args(["--json"]).run().succeeds();
    output.json("quell.stalls/1");
    let document = StallsDocument::from_json(&output.stdout).unwrap();
    let kept = u64::try_from(document.stalls.len()).unwrap();
    assert_eq!(
        document.stalls_seen,
        document.stalls_dropped.map(|dropped| kept + dropped),
        "every one is counted"
    );
    assert!(document.stalls.is_sorted_by_key(|stall| std::cmp::Reverse(stall.duration)), "{document:?}");
    assert!(document.stalls.iter().all(|stall| stall.cpu.index() == 0 && !stall.cause.kind.is_empty()));
    let text = agent.reader("stalls").run().succeeds().stdout;
    assert!(text.lines().next().unwrap().contains("stalls, ") && text.contains("longer kept"), "{text}");
}

#[test]
fn without_an_agent_the_way_to_one_is_told() {
    for verb in ["report", "budgets", "stalls"] {
        let output = Quell::new().args([verb, "--socket", "report.sock"]).run();
        output.exits(Exit::Unreachable).says_one_line(&[
            "report.sock: cannot ask the agent: No such file",
            "systemctl start quell-agent, or quell up",
        ]);
    }
}

#[test]
fn another_server_is_told_from_an_agent() {
    #[track_caller]
    fn check(part: &str, talk: impl FnOnce(UnixStream) + Send + 'static) {
        let quell = Quell::new().args(["report", "--socket", "report.sock"]);
        impostor(&quell.folder().join("report.sock"), talk);
        let output = quell.run().exits(Exit::Unreachable).says_one_line(&["report.sock", part]);
        assert_eq!(output.stdout, "", "half an answer is none");
    }
    let says = |answer: &'static str| {
        move |mut stream: UnixStream| {
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer.as_bytes()));
        }
    };
    check("not an HTTP answer", says("SSH-2.0-OpenSSH_9.2p1\r\n"));
    check("not an HTTP answer", says("HTTP/1.1 200 OK\r\ncontent-le"));
    check("cut off", says("HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"schema\":\"quell.report/1\""));
    check("", says("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>It works!"));
    check("", says("HTTP/1.1 200 OK\r\ncontent-length: 29\r\n\r\n{\"schema\":\"quell.stalls/1\"}  "));
    check("", says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    check("", says(""));
    check("did not answer in time", |mut stream| {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // until the reader gives up
    });
}
