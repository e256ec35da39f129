//! Profiles that are something else within certain hours.

use report::Exit;
use serde_json::Value;

use super::kernel::{Kernel, SWAPPINESS};
use crate::harness::{Fixture, Quell, require_root};

const FILE: &str = "/proc/sys/vm/swappiness";

/// A session that is on whenever the test runs, and one of a night.
const KNOBS: &str = "'mem.swap' = { swappiness = 10 }\n\
                       'iso.hung' = { timeout_secs = 600 }\n'iso.vmstat' = { stat_interval = 60 }\n[session.always]\n\
                       days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']\nfrom = '00:00'\nto = '00:00'\n\
                       zone = 'UTC'\nlead = '0'\n[session.always.knobs]\n'mem.swap' = { swappiness = 40 }\n[session.night]\n\
                       days = ['mon']\nfrom = '22:30'\nto = '07:30'\nzone = 'Europe/Berlin'\n[session.night.knobs]\n\
                       'iso.hung' = { timeout_secs = 0 }\n";

/// The profile as a file in the folder of `quell`.
fn profile(quell: &Quell, knobs: &str) -> String {
    let text = format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}\n");
    quell.file("sessions.toml", &text).display().to_string()
}

#[test]
fn a_plan_shows_what_another_hour_would_change() {
    let (host, quell) = (Fixture::copy("firecracker-2cpu-6.18"), Quell::new());
    let profile = profile(&quell, KNOBS);
    let plan = |at: &str| {
        let words = ["tune", "plan", "--json", "--profile", &profile, "--at", at];
        let plan: Value =
            serde_json::from_str(&quell.args(words).on(&host).run().exits(Exit::Pending).stdout).unwrap();
        let changes = plan["changes"].as_array().unwrap().iter();
        let changes: Vec<String> =
            changes.map(|change| format!("{} {}", change["knob"], change["to"])).collect();
        format!("{} {}", plan["sessions"], changes.join(" ").replace('"', ""))
    };
    assert_eq!(
        plan("2026-11-30T12:00:00Z"),
        "[\"always\"] mem.swap 40 iso.vmstat 60 iso.hung 600",
        "a Monday at noon"
    );
    assert_eq!(plan("2026-11-30T21:30:00Z"), "[\"always\",\"night\"] mem.swap 40 iso.vmstat 60 iso.hung 0");
    assert_eq!(
        plan("2026-12-01T06:15:00Z"),
        "[\"always\"] mem.swap 40 iso.vmstat 60 iso.hung 600",
        "a quarter past seven"
    );
    let odd = ["tune", "plan", "--profile", &profile, "--at", "tomorrow"];
    quell.args(odd).on(&host).run().exits(Exit::Usage);
}

#[test]
fn what_is_on_is_applied_shown_and_taken_back() {
    let (host, quell) = (Fixture::copy("firecracker-2cpu-6.18"), Quell::new());
    let profile = profile(&quell, KNOBS);
    let tune = |words: &[&str]| quell.args(["tune"]).args(words.iter().copied()).on(&host).run();
    let nothing = tune(&["sessions"]).succeeds();
    assert!(nothing.stdout.contains("held to no profile"), "{}", nothing.stdout);
    let original = host.read(FILE);
    tune(&["apply", "--profile", &profile]).succeeds();
    assert_eq!(host.read(FILE), "40\n");
    tune(&["verify", "--profile", &profile]).succeeds();
    tune(&["drift"]).succeeds();
    let history: Value = serde_json::from_str(&tune(&["history", "--json"]).stdout).unwrap();
    assert!(
        history["transactions"][0]["sessions"].as_array().unwrap().contains(&"always".into()),
        "{history}"
    );
    let shown: Value = serde_json::from_str(&tune(&["sessions", "--json"]).succeeds().stdout).unwrap();
    assert_eq!(shown["sessions"][0]["name"], "always");
    assert_eq!(shown["sessions"][0]["on"], true);
    assert_eq!(shown["sessions"][0]["overrides"][0]["within"], "40");
    assert!(shown["next_edge"].is_string() && shown["brought_to"].is_array(), "{shown}");
    let other = tune(&["sessions", "--profile", &profile, "--at", "2026-12-01T00:00:00Z"]).succeeds();
    assert!(other.stdout.contains("night: on until 2026-12-01 07:15 Europe/Berlin"), "{}", other.stdout);
    tune(&["rollback", "--to", "baseline"]).succeeds();
    assert_eq!(host.read(FILE), original);
}

#[test]
fn mistakes_of_sessions_come_with_their_lines() {
    let (host, quell) = (Fixture::copy("firecracker-2cpu-6.18"), Quell::new());
    let knobs = KNOBS.replace(
        "[session.night.knobs]\n",
        "[session.night.knobs]\n'mem.swap' = { swappiness = 60 }\n'mem.thp' = { enabled = 'never' }\n",
    );
    profile(&quell, &knobs);
    let refused =
        quell.args(["tune", "plan", "--profile", "./sessions.toml"]).on(&host).run().exits(Exit::Usage);
    for part in [
        "both set mem.swap swappiness and overlap",
        "session.night: mem.thp enabled has no value to go back to",
    ] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
}

#[test]
fn on_this_kernel_a_session_is_applied_verified_and_taken_back() {
    if !require_root() {
        return;
    }
    let kernel = Kernel::new();
    let profile = kernel.profile(KNOBS);
    kernel.run(["apply", "--profile", &profile]).succeeds();
    assert_eq!(std::fs::read_to_string(SWAPPINESS).unwrap(), "40\n");
    kernel.run(["verify", "--profile", &profile]).succeeds();
    kernel.run(["sessions"]).succeeds();
    kernel.run(["rollback", "--to", "baseline"]).succeeds();
    kernel.is_as_it_was();
}
