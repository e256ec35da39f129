//! The built keeper and a profile whose sessions say that it is something else now: from the start, after a kill, and after
//! root asked for another.

use nix::sys::signal::Signal;

use super::{Host, ORIGINAL, SWAPPINESS, WANTED};
use crate::harness::until;

/// On whenever the test runs.
const ALWAYS: &str = "[session.always]\ndays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']\nfrom = '00:00'\n\
                      to = '00:00'\nzone = 'UTC'\nlead = '0'\n[session.always.knobs]\n'mem.swap' = { swappiness = 40 }\n";

const WITHIN: &str = "40\n";

#[test]
fn the_session_that_is_on_stands_from_the_start_and_after_a_kill() {
    let host = Host::with("repair = true\n");
    host.quell.file("held.toml", &format!("{}{ALWAYS}", super::PROFILE));
    let mut keeper = host.start();
    assert_eq!(host.host.read(SWAPPINESS), WITHIN);
    assert!(host.status().fit);
    let told = keeper.wait_told("STATUS=");
    assert!(told.contains("in session always"), "{told}");
    host.host.write(SWAPPINESS, ORIGINAL);
    until("what is on is what is repaired", || (host.host.read(SWAPPINESS) == WITHIN).then_some(()));
    keeper.signal(Signal::SIGKILL);
    keeper.wait();
    let keeper = host.start();
    assert_eq!(host.host.read(SWAPPINESS), WITHIN);
    assert_eq!(host.audit("\"applied\"").len(), 1, "the second start had nothing to apply");
    let shown = host.quell.args(["tune", "sessions"]).on(&host.host).run().succeeds();
    assert!(shown.stdout.contains("always on"), "{}", shown.stdout);
    // Root asks for the same without sessions: that is another wish, and the base of it holds.
    let mine = host.quell.file("mine.toml", super::PROFILE).display().to_string();
    host.quell.args(["tune", "apply", "--profile", &mine]).on(&host.host).run().succeeds();
    assert_eq!(host.host.read(SWAPPINESS), WANTED);
    keeper.stop().succeeds();
    host.quell.args(["tune", "rollback", "--to", "baseline"]).on(&host.host).run().succeeds();
    assert_eq!(host.host.read(SWAPPINESS), ORIGINAL);
}
