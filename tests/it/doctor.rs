//! `quell doctor`, the built command: what it finds on the captured hosts, and on the one it runs on.

use report::Exit;

use crate::harness::{Fixture, Quell, golden};

#[test]
fn each_captured_host_has_its_findings() {
    for (name, exit) in [
        ("firecracker-2cpu-6.18", Exit::Yes),
        ("qemu-4cpu-2node-6.12", Exit::Yes),
        ("qemu-4cpu-2node-6.1-rt", Exit::Yes),
    ] {
        let host = Fixture::copy(name);
        let before = host.snapshot();
        let text = Quell::new().args(["doctor"]).on(&host).run().exits(exit);
        golden(&format!("doctor/{name}.txt"), &text.stdout);
        assert_eq!(text.stderr, "");
        let json = Quell::new().args(["doctor", "--json"]).on(&host).run().exits(exit).json("quell.doctor/1");
        let findings = json["findings"].as_array().unwrap();
        let serious = findings.iter().any(|finding| finding["severity"] == "serious");
        assert_eq!(json["serious"], serious, "{name}");
        for finding in findings {
            let needs_a_fix = finding["severity"] != "fine";
            assert_eq!(finding["fix"].is_string(), needs_a_fix, "{finding}");
        }
        assert!(host.snapshot() == before, "{name}: looking changes nothing");
    }
}

#[test]
fn a_rival_is_named_with_the_way_to_end_it() {
    let host = Fixture::copy("firecracker-2cpu-6.18");
    let rival = host.path().join("proc/4711");
    std::fs::create_dir_all(&rival).unwrap();
    std::fs::write(rival.join("comm"), "irqbalance\n").unwrap();
    let told = Quell::new().args(["doctor"]).on(&host).run().exits(Exit::No);
    assert!(told.stdout.contains("irqbalance is alive"), "{told}");
    assert!(told.stdout.contains("systemctl disable --now irqbalance"), "{told}");
}

/// Whoever asks, with whatever rights: it reads what can be read and says what could not.
#[test]
fn the_machine_it_runs_on_is_looked_at_without_a_failure() {
    let told = Quell::new().args(["doctor", "--json"]).run();
    let codes = [Exit::Yes, Exit::No].map(|exit| Some(i32::from(exit.code())));
    assert!(codes.contains(&told.code), "{told}");
    assert!(!told.json("quell.doctor/1")["findings"].as_array().unwrap().is_empty());
}
