//! What the keeper leaves to the end of a trading window.

use nix::sys::signal::Signal;
use orders::{Order, Outcome, Refusal, Text};

use super::{Host, ORIGINAL, SWAPPINESS, WANTED};

/// Open whenever the test runs.
fn always(allow: &str) -> String {
    format!(
        "boot_settle = '0s'\nrepair = true\nallow = ['repair']\n[[trading]]\nname = 'always'\n\
         days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']\nfrom = '00:00'\nto = '00:00'\nzone = 'UTC'\n\
         allow = {allow}\n"
    )
}

#[test]
fn what_a_window_forbids_waits_and_is_told() {
    let host = Host::with(&always("[]"));
    let mut keeper = host.start();
    assert_eq!(host.host.read(SWAPPINESS), ORIGINAL);
    let status = host.status();
    assert!(!status.fit && status.reason.as_str().contains("trading window always"), "{status:?}");
    match host.client().ask(Order::Repair { knob: Text::cut("mem.swap") }) {
        Outcome::Refused { why: Refusal::Policy, reason, .. } => {
            assert!(reason.as_str().contains("trading window always"), "{reason:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(host.host.read(SWAPPINESS), ORIGINAL);

    let profile = host.quell.folder().join("held.toml").display().to_string();
    host.policy(&format!("profile = {profile:?}\n{}", always("['harmless']")));
    keeper.signal(Signal::SIGHUP);
    keeper.wait_told("READY=1");
    assert_eq!(host.host.read(SWAPPINESS), WANTED);
    assert!(host.status().fit);
    keeper.stop().succeeds();
}
