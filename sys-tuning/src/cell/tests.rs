//! What cells read, and what is written to get from one value to another.

use super::*;
use proptest::prelude::*;

fn pair() -> Cell {
    Cell::plain("/r", Form::Pair { bytes: "/b".into() })
}

fn mask() -> Cell {
    Cell::plain("/m", Form::CpuMask { online: Box::new("0-1".parse().unwrap()), requested: None })
}

fn thread() -> Cell {
    let online = Box::new("0-3".parse().unwrap());
    Cell::plain(
        "/proc/7/task/7/status",
        Form::Affinity { tid: Pid(7), start_ticks: 42, online, is_kernel: false },
    )
}

#[track_caller]
fn check_satisfies(cell: &Cell, now: &str, want: &str, expected: bool) {
    assert_eq!(cell.satisfies(now, want), expected, "{now:?} for {want:?}");
}

#[test]
fn what_is_good_enough() {
    check_satisfies(&thread(), "0-1", "0-1", true);
    check_satisfies(&thread(), "1", "0-1", true); // it keeps itself to fewer
    check_satisfies(&thread(), "0-1,5", "0-1", true); // 5 is off line
    check_satisfies(&thread(), "0-2", "0-1", false);
    let partition = Cell::plain("/p", Form::Partition);
    check_satisfies(&partition, "isolated", "isolated", true);
    check_satisfies(&partition, "isolated invalid (why)", "isolated", false);
    check_satisfies(&partition, "isolated", "isolated invalid (why)", true); // an original, put back
    check_satisfies(&partition, "root invalid (why)", "isolated invalid (why)", false);
}

/// What is written to get from one value to another.
#[track_caller]
fn check(cell: &Cell, from: &str, to: &str, expected: &str) {
    let step = |step: &Step| match step {
        Step::Write { path, text } => format!("{path}={text}"),
        Step::MakeDir { path } => format!("mkdir {path}"),
        Step::RemoveDir { path } => format!("rmdir {path}"),
        Step::Affinity { tid, start_ticks, cpus } => format!("{tid}@{start_ticks}={cpus}"),
        Step::Schedule { tid, start_ticks, policy } => format!("{tid}@{start_ticks}={policy}"),
        Step::Link { address, values, .. } => format!("{}: {values}", address.name),
        Step::Spread { address, to } => format!("{}: {to}", address.name),
        Step::Steer { address, flow, queue } => {
            format!("{}: {flow} {}", address.name, flow::canonical(*queue))
        }
        Step::Swap { area, to: None } => format!("{area}: off"),
        Step::Swap { area, to: Some(to) } => format!("{area}: {to}"),
        Step::BootLine { dir, line, .. } => format!("{dir}: {line}"),
    };
    let told = match cell.steps(from, to) {
        Ok(steps) => steps.iter().map(step).collect::<Vec<_>>().join(" "),
        Err(problem) => format!("error: {problem}"),
    };
    assert_eq!(told, expected);
}

#[test]
fn steps() {
    let number = Cell::plain("/n", Form::Number);
    check(&number, "60", "10", "/n=10");
    check(&number, "60", "-1", "/n=-1");
    check(&number, "60", "10\n20", "error: \"10\\n20\" is not one number");
    check(&number, "60", "0x10", "error: \"0x10\" is not one number");
    check(&pair(), "ratio 20", "bytes 8192", "/b=8192");
    check(&pair(), "bytes 8192", "ratio 20", "/r=20");
    check(&pair(), "bytes 8192", "ratio 0", "/r=1 /r=0"); // 0 over 0 would change nothing
    check(&pair(), "ratio 20", "ratio 0", "/r=0");
    check(&pair(), "ratio 20", "20", "error: \"20\" is not \"ratio N\" or \"bytes N\"");
    check(&mask(), "0-1", "1", "/m=2");
    check(&mask(), "0-1", "x", "error: \"x\": \"x\" is no CPU number; a CPU list reads like 0-3,7");
    let list = Cell::plain("/l", Form::CpuList);
    check(&list, "0-1", "1", "/l=1");
    check(&list, "0-1", "", "/l=\n"); // a write of no bytes would be none
    let word = Cell::plain("/w", Form::Word);
    check(&word, "0", "n/a", "/w=n/a");
    check(&word, "a", "b c", "error: \"b c\" is not one word");
    check(&word, "a", "|/bin/sh", "error: \"|/bin/sh\" is not one word");
    let group = Cell::plain("/g", Form::Directory);
    check(&group, "absent", "present", "mkdir /g");
    check(&group, "present", "absent", "rmdir /g");
    check(&group, "present", "elsewhere", "error: \"elsewhere\" is no value of it");
    let inside = Cell { lives_in: Some("/g".into()), ..Cell::plain("/g/c", Form::CpuList) };
    check(&inside, "0", "absent", ""); // goes with its group
    let partition = Cell::plain("/p", Form::Partition);
    check(&partition, "member", "isolated", "/p=isolated");
    check(&partition, "member", "isolated invalid (Parent is not a partition root)", "/p=isolated");
    check(&thread(), "0-3", "0-1", "7@42=0-1");
    check(&thread(), "0-3", "", "error: a thread needs a CPU");
    let schedule = Cell::plain("/s", Form::Schedule { tid: Pid(7), start_ticks: 42 });
    check(&schedule, "other", "fifo:11", "7@42=fifo:11");
    check(&schedule, "fifo:11", "other", "7@42=other");
    check(
        &schedule,
        "other",
        "rr:5",
        "error: \"rr:5\" is no scheduling policy; use other, or fifo:1 to fifo:99",
    );
    let area = Form::SwapArea { area: "/dev/vda2".into(), floor: Floor::default() };
    let area = Cell::plain("swap area /dev/vda2", area);
    let on = "on: partition, 1048572 KiB, priority -2";
    check(&area, on, "off", "/dev/vda2: off");
    check(&area, "off", on, "/dev/vda2: partition, 1048572 KiB, priority -2");
    check(&area, "off", "on", "error: \"on\" is no value of it");
    check(&area, "off", "on: /bin/sh", "error: \"/bin/sh\" does not say how an area is swapped to");
    assert!(area.same(on, "on: partition, 1048572 KiB, priority -3") && !area.same(on, "off"));
    assert!(!area.same(on, "on: partition, 1048572 KiB, priority 5"));
    let address = || Address { index: 2, name: "eth0".into() };
    let spread = Cell::plain("eth0 flows", Form::Spread { address: address() });
    check(&spread, "0,1,2,3 times 32", "0,1 times 64", "eth0: 0,1 times 64");
    check(&spread, "0,1 times 64", "0;1", "error: \"0;1\" is no table of queues, as in \"0,1 times 64\"");
    let flow = "udp4 to 239.1.1.1:14310".parse().unwrap();
    let rule = Cell::plain("eth0 flows", Form::FlowRule { address: address(), flow });
    check(&rule, "none", "queue 3", "eth0: udp4 to 239.1.1.1:14310 queue 3");
    check(&rule, "queue 3", "none", "eth0: udp4 to 239.1.1.1:14310 none");
    check(&rule, "none", "queue x", "error: \"queue x\" is no queue");
    assert!(rule.on_the_way("queue 2", "queue 3", "none") && !rule.on_the_way("none", "queue 3", "none"));
    let ways = Cell::plain("/c", Form::CacheWays);
    check(&ways, "0=7ff;1=7ff", "0=ff0;1=7ff", "/c=L3:0=ff0;1=7ff\n");
    check(&ways, "0=7ff", "0=x", "error: \"x\" is no mask of cache ways, as in 7ff");
    let switch = Cell::plain("/s", Form::Switch("cpuset"));
    check(&switch, "off", "on", "/s=+cpuset");
    check(&switch, "on", "off", "/s=-cpuset");
}

#[test]
fn what_an_interrupted_change_may_leave() {
    let pages = pages(NodeId(0), PageSize::M2, Floor::default());
    for (cell, from, to, now, expected) in [
        (&pages, "0", "512", "64", true),
        (&pages, "0", "512", "512", true),
        (&pages, "0", "512", "0", false), // nothing was done yet
        (&pages, "0", "512", "600", false),
        (&pages, "512", "0", "0", true),
        (&pair(), "bytes 8192", "ratio 0", "ratio 1", true),
        (&pair(), "ratio 20", "bytes 8192", "ratio 0", true), // plain files, one after the other
        (&pair(), "ratio 20", "bytes 8192", "ratio 5", false),
        (&mask(), "0-1", "1", "1", true),
        (&mask(), "0-1", "1", "0", false),
    ] {
        assert_eq!(cell.on_the_way(from, to, now), expected, "{from} to {to}: {now}");
    }
}

#[test]
fn masks_are_compared_where_cpus_are_on_line() {
    assert!(mask().same("0-3", "0-1"), "the kernel shows CPUs that are off line");
    assert!(!mask().same("0", "1"));
    assert!(!mask().same("garbage", "0-1"));
}

proptest! {
    /// Whatever a record says, what is written is one well-formed value that reads back as what was asked for.
    #[test]
    fn nothing_malformed_is_ever_written(to in "\\PC{0,12}|[-+]?[0-9]{1,20}|(ratio|bytes) [0-9]{1,6}|[0-9,-]{1,9}") {
        let cells = [
            Cell::plain("/n", Form::Number),
            Cell::plain("/w", Form::Word),
            Cell::plain("/l", Form::CpuList),
            mask(),
            pair(),
            pages(NodeId(0), PageSize::M2, Floor::default()),
        ];
        for cell in cells {
            for step in cell.steps("1", &to).unwrap_or_default() {
                let Step::Write { text, .. } = step else { panic!("{step:?}") };
                let line = text.trim_end_matches('\n');
                prop_assert!(text == "\n" || !line.is_empty() && line.len() == text.len());
                prop_assert!(line.bytes().all(|b| b.is_ascii_graphic()), "{:?}", text);
            }
        }
    }
}
