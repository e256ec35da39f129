//! The edges of sessions on a machine of plain files, with a clock that the test moves: crossed, missed, refused, repeated.

#![expect(clippy::unwrap_used, reason = "a failed precondition of a test ends the test")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use host::Root;
use keeper::audit::Audit;
use keeper::duty::Duty;
use keeper::edges::Edges;
use keeper::fence::Fence;
use keeper::moment::Moment;
use keeper::policy::Policy;
use keeper::source::Source;
use keeper::watch::Watch;
use report::WallTime;
use sys_tuning::{ApplyOptions, Engine, Profile, RollbackOptions, RollbackTo, Standing, StateDir, What};
use units::Nanos;

const SWAPPINESS: &str = "proc/sys/vm/swappiness";
const HUNG: &str = "proc/sys/kernel/hung_task_timeout_secs";

/// What stood there before quell.
const ORIGINAL: &str = "60\n";

const PROFILE: &str = "schema = 'quell.profile/1'\n[knobs]\n'mem.swap' = { swappiness = 10 }\n\
                       'iso.hung' = { timeout_secs = 600 }\n[session.night]\n\
                       days = ['mon', 'tue', 'wed', 'thu', 'fri']\nfrom = '22:30'\nto = '07:30'\nzone = 'Europe/Berlin'\n\
                       [session.night.knobs]\n'mem.swap' = { swappiness = 40 }\n";

/// A host, what keeps it, and the time.
struct Kept {
    dir: tempfile::TempDir,
    policy: String,
    duty: Duty,
    watch: Watch,
    edges: Edges,
    now: Moment,
}

impl Kept {
    /// Held to the profile, which was asked for at `at`.
    fn new(policy: &str, profile: &str, at: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [(SWAPPINESS, ORIGINAL), (HUNG, "120\n")] {
            let path = dir.path().join("root").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let hour = Nanos::from_secs(3600);
        let now = Moment { monotonic: hour, boottime: hour, wall: at.parse().unwrap() };
        let duty = duty(dir.path(), policy);
        let (watch, edges) = (Watch::default(), Edges::default());
        let mut kept = Self { dir, policy: policy.to_owned(), duty, watch, edges, now };
        kept.apply(profile, &ApplyOptions::PLAIN);
        kept.start();
        kept
    }

    fn apply(&self, profile: &str, options: &ApplyOptions) {
        let profile = Profile::parse("p.toml", profile).unwrap().at(self.now.wall_s());
        let engine = &self.duty.engine;
        engine.apply(&engine.plan(&profile).unwrap(), options).unwrap();
    }

    /// The keeper comes up, as after whatever became of the one before it.
    fn start(&mut self) {
        self.duty = duty(self.dir.path(), &self.policy);
        (self.watch, self.edges) = (Watch::default(), Edges::default());
        self.duty.take_up(self.now);
        self.turn();
    }

    /// One pass of the loop, in its order.
    fn turn(&mut self) {
        self.watch.on_ready(self.now, &mut self.duty);
        self.edges.on_ready(self.now, &mut self.duty);
        self.watch.on_ready(self.now, &mut self.duty);
    }

    /// Time goes on; nobody sets the clock.
    fn pass(&mut self, span: Nanos) {
        let Moment { monotonic, boottime, wall } = self.now;
        self.now = Moment { monotonic: monotonic + span, boottime: boottime + span, wall: wall.after(span) };
    }

    /// Sleeps as long as the loop would for the edges' sake.
    fn wait(&mut self) {
        let due = self.edges.deadline().unwrap();
        assert!(due >= self.now.monotonic, "due already");
        self.pass(due - self.now.monotonic);
    }

    /// Time goes on until then, and the loop is where it waits again.
    fn until(&mut self, at: &str) {
        let at: WallTime = at.parse().unwrap();
        self.pass(at.since(self.now.wall));
        self.turn();
    }

    /// Somebody sets the clock.
    fn set_clock(&mut self, at: &str) {
        self.now.wall = at.parse().unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join("root").join(file)
    }

    fn put(&self, file: &str, text: &str) {
        fs::File::create(self.path(file)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What stands there, and which session the journal says that is.
    fn stands(&self) -> String {
        let value = fs::read_to_string(self.path(SWAPPINESS)).unwrap();
        let session = match self.duty.engine.standing().unwrap() {
            Standing::Profile(standing) => format!("{:?}", standing.sessions),
            other => format!("{other:?}"),
        };
        format!("{} {session}", value.trim())
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        assert_eq!(self.stands(), expected);
        let drift = self.duty.engine.drift().unwrap();
        assert!(drift.drifted.is_empty() && drift.interrupted.is_none(), "{drift:?}");
    }

    /// The lines about edges.
    fn told(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("state/audit.log")).unwrap();
        log.lines().filter(|line| line.contains("\"deed\":\"session\"")).map(str::to_owned).collect()
    }

    fn transactions(&self) -> Vec<(What, Vec<String>)> {
        let history = self.duty.engine.history().unwrap();
        history.transactions.into_iter().map(|past| (past.what, past.sessions)).collect()
    }

    fn back_to_baseline(&self) {
        let rollback = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };
        self.duty.engine.rollback(&rollback).unwrap();
    }
}

fn duty(dir: &std::path::Path, policy: &str) -> Duty {
    let state = dir.join("state");
    let engine = Engine::new(Arc::new(Root::at(&dir.join("root"))), &state);
    let open = || StateDir::create(&state).unwrap();
    let policy = Policy::parse("policy.toml", &format!("boot_settle = '0s'\n{policy}")).unwrap();
    let (audit, fence) = (Audit::open(open()).unwrap(), Fence::read(&open()).unwrap());
    Duty::new(engine, policy, audit, fence, open())
}

const SECOND: Nanos = Nanos::from_secs(1);

#[test]
fn a_week_of_edges_is_crossed_at_the_second_with_one_switch_each() {
    // From a Wednesday over the Sunday on which Berlin goes back to winter time.
    let mut kept = Kept::new("repair = true\n", PROFILE, "2026-10-21T12:00:00Z");
    kept.check("10 []");
    let edges = [
        ("2026-10-21T20:30:00Z", "40 [\"night\"]"),
        ("2026-10-22T05:15:00Z", "10 []"), // 07:15 in summer time
        ("2026-10-22T20:30:00Z", "40 [\"night\"]"),
        ("2026-10-23T05:15:00Z", "10 []"),
        ("2026-10-23T20:30:00Z", "40 [\"night\"]"),
        ("2026-10-24T05:15:00Z", "10 []"),
        ("2026-10-26T21:30:00Z", "40 [\"night\"]"), // 22:30 in winter time
        ("2026-10-27T06:15:00Z", "10 []"),
    ];
    for (edge, after) in edges {
        let before = kept.stands();
        let edge: WallTime = edge.parse().unwrap();
        kept.until(&edge.before(SECOND.times(2)).to_string());
        kept.check(&before);
        kept.wait();
        assert_eq!(kept.now.wall, edge, "the loop wakes up for it");
        kept.turn();
        kept.check(after);
        for _ in 0..5 {
            kept.pass(SECOND.times(7));
            kept.turn();
        }
        kept.check(after);
    }
    let told = kept.told();
    assert_eq!(told.len(), edges.len(), "{told:?}");
    assert!(
        told[0].contains(
            "\"sessions\":\"night\",\"until\":\"2026-10-22T05:15:00Z\",\"written\":1,\"transaction\":2"
        ),
        "{}",
        told[0]
    );
    let transactions = kept.transactions();
    assert_eq!(transactions.len(), 1 + edges.len(), "one transaction an edge: {transactions:?}");
    assert_eq!(transactions[1], (What::Repair, vec!["night".to_owned()]));
    kept.back_to_baseline();
    assert_eq!(fs::read_to_string(kept.path(SWAPPINESS)).unwrap(), ORIGINAL);
}

#[test]
fn a_missed_edge_leads_to_the_right_session_at_once() {
    let mut kept = Kept::new("", PROFILE, "2026-11-30T12:00:00Z");
    kept.pass(SECOND.times(11 * 3600)); // nobody was there at 22:30
    kept.start();
    kept.check("40 [\"night\"]");
    kept.back_to_baseline();
    assert_eq!(fs::read_to_string(kept.path(SWAPPINESS)).unwrap(), ORIGINAL, "whatever session is on");
    kept.pass(SECOND.times(60));
    kept.turn();
    assert_eq!(fs::read_to_string(kept.path(SWAPPINESS)).unwrap(), ORIGINAL, "let go is let go");
}

#[test]
fn a_clock_that_jumps_is_followed_and_one_that_steps_is_not() {
    let mut kept = Kept::new("", PROFILE, "2026-11-30T12:00:00Z");
    kept.set_clock("2026-11-30T23:00:00Z");
    kept.wait();
    kept.turn();
    kept.check("40 [\"night\"]");
    kept.until("2026-12-01T06:15:00Z");
    kept.check("10 []");
    for _ in 0..10 {
        kept.set_clock("2026-12-01T06:14:50Z"); // as a time server may
        kept.wait();
        kept.turn();
        kept.check("10 []");
        kept.pass(SECOND.times(10));
        kept.turn();
    }
    assert_eq!(kept.told().len(), 2, "one switch an edge");
    kept.set_clock("2026-12-01T05:00:00Z");
    kept.wait();
    kept.turn();
    kept.check("40 [\"night\"]");
}

#[test]
fn a_switch_that_does_not_hold_is_told_and_tried_so_often_and_no_more() {
    let mut kept = Kept::new("", PROFILE, "2026-12-01T05:00:00Z");
    kept.check("40 [\"night\"]");
    let file = kept.path(SWAPPINESS);
    fs::rename(&file, kept.path("beside")).unwrap();
    fs::create_dir(&file).unwrap(); // neither read nor written
    kept.until("2026-12-01T06:15:00Z");
    assert_eq!(kept.told().len(), 1);
    assert!(kept.told()[0].contains("\"outcome\":\"failed; tried again\""), "{:?}", kept.told());
    assert!(
        kept.duty.held.late.as_ref().is_some_and(|why| why.contains("mem.swap")),
        "{:?}",
        kept.duty.held.late
    );
    let began = kept.now.monotonic;
    let mut pauses = Vec::new();
    while kept.told().len() < 8 {
        let before = kept.now.monotonic;
        kept.wait();
        kept.turn();
        pauses.push((kept.now.monotonic - before).0 / 1_000_000_000);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60]);
    assert!(kept.now.monotonic - began < SECOND.times(15 * 60), "before the hours that matter");
    assert!(kept.told()[7].contains("left to people"), "{:?}", kept.told());
    for _ in 0..100 {
        kept.wait();
        kept.turn();
    }
    assert_eq!(kept.told().len(), 8);
    fs::remove_dir(&file).unwrap();
    fs::rename(kept.path("beside"), &file).unwrap();
    kept.until("2026-12-01T21:30:00Z");
    kept.check("40 [\"night\"]");
    kept.until("2026-12-02T06:15:00Z");
    kept.check("10 []");
    assert_eq!(kept.duty.held.late, None);
}

#[test]
fn a_switch_that_comes_to_hold_before_the_open_is_told_as_done() {
    let mut kept = Kept::new("", PROFILE, "2026-12-01T05:00:00Z");
    let file = kept.path(SWAPPINESS);
    fs::rename(&file, kept.path("beside")).unwrap();
    fs::create_dir(&file).unwrap();
    kept.until("2026-12-01T06:15:00Z");
    kept.wait();
    kept.turn();
    fs::remove_dir(&file).unwrap();
    fs::rename(kept.path("beside"), &file).unwrap();
    kept.wait();
    kept.turn();
    kept.check("10 []");
    assert_eq!(kept.duty.held.late, None);
    let told = kept.told();
    assert_eq!(told.len(), 3);
    assert!(told[2].contains("\"written\":1"), "{told:?}");
}

#[test]
fn an_interrupted_switch_is_finished_wherever_it_was_killed() {
    // As the journal is when the end of the switch is missing; the write was made, or not yet.
    for (value, restart, expected) in [
        ("40\n", "2026-11-30T22:00:00Z", "40 [\"night\"]"),
        ("10\n", "2026-11-30T22:00:00Z", "40 [\"night\"]"),
        ("40\n", "2026-12-01T07:00:00Z", "10 []"),
        ("10\n", "2026-12-01T07:00:00Z", "10 []"),
    ] {
        let mut kept = Kept::new("", PROFILE, "2026-11-30T12:00:00Z");
        kept.until("2026-11-30T21:30:00Z");
        let journal = kept.dir.path().join("state/journal");
        let bytes = fs::read(&journal).unwrap();
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        fs::File::create(&journal).unwrap().write_all(&bytes[..=last]).unwrap();
        kept.put(SWAPPINESS, value);
        assert!(kept.duty.engine.drift().unwrap().interrupted.is_some());
        kept.set_clock(restart);
        kept.start();
        kept.check(expected);
        kept.back_to_baseline();
        assert_eq!(fs::read_to_string(kept.path(SWAPPINESS)).unwrap(), ORIGINAL);
    }
}

#[test]
fn what_stood_as_the_base_wants_it_is_held_as_the_session_wants_it() {
    // The base finds what it wants: there is nothing to write, and nothing but the session changes it.
    let as_it_was = PROFILE.replace("swappiness = 10", "swappiness = 60");
    let mut kept = Kept::new("repair = true\n", &as_it_was, "2026-11-30T12:00:00Z");
    kept.check("60 []");
    kept.until("2026-11-30T21:30:00Z");
    kept.check("40 [\"night\"]");
    kept.pass(SECOND.times(60));
    kept.turn();
    kept.check("40 [\"night\"]");
    kept.put(SWAPPINESS, "33\n");
    kept.pass(SECOND);
    kept.turn();
    kept.check("40 [\"night\"]"); // drift is put back to what is on now
    kept.put(SWAPPINESS, "60\n"); // somebody is ahead of the way back
    kept.duty.policy.repair = false;
    kept.until("2026-12-01T06:15:00Z");
    kept.check("60 []");
    kept.back_to_baseline();
    assert_eq!(fs::read_to_string(kept.path(SWAPPINESS)).unwrap(), ORIGINAL);
}

#[test]
fn an_edge_changes_what_sessions_are_about_and_nothing_else() {
    let mut kept = Kept::new("repair = false\n", PROFILE, "2026-11-30T12:00:00Z");
    kept.put(HUNG, "7\n"); // drift that root wants told and not put back
    kept.until("2026-11-30T21:30:00Z");
    assert_eq!(kept.stands(), "40 [\"night\"]");
    assert_eq!(fs::read_to_string(kept.path(HUNG)).unwrap(), "7\n");
}

#[test]
fn what_a_trading_window_forbids_waits_for_its_end() {
    let window = "[[trading]]\nname = 'late'\ndays = ['mon']\nfrom = '22:00'\nto = '23:00'\n\
                  zone = 'Europe/Berlin'\nallow = []\n";
    let mut kept = Kept::new(window, PROFILE, "2026-11-30T12:00:00Z");
    kept.until("2026-11-30T21:30:00Z");
    kept.check("10 []");
    for _ in 0..20 {
        kept.wait();
        kept.turn();
    }
    let told = kept.told();
    assert_eq!(told.len(), 1, "told once: {told:?}");
    assert!(told[0].contains("\"outcome\":\"waits\"") && told[0].contains("trading window late"), "{told:?}");
    assert!(kept.duty.held.late.is_some());
    kept.until("2026-11-30T22:00:00Z");
    kept.check("40 [\"night\"]");
    assert_eq!(kept.duty.held.late, None);
}

#[test]
fn what_waits_to_be_confirmed_is_not_switched() {
    let mut kept = Kept::new("", "schema = 'quell.profile/1'\n", "2026-11-30T12:00:00Z");
    let options = ApplyOptions { confirm_by: Some(Nanos::MAX), ..ApplyOptions::PLAIN };
    kept.apply(PROFILE, &options);
    kept.until("2026-11-30T21:30:00Z");
    assert_eq!(kept.stands(), "10 []");
    assert!(kept.told()[0].contains("waits to be confirmed"), "{:?}", kept.told());
    kept.duty.engine.confirm(None, kept.now.boottime).unwrap();
    kept.pass(SECOND.times(5));
    kept.turn();
    kept.check("40 [\"night\"]");
}

#[test]
fn a_reboot_comes_up_in_the_session_that_is_on() {
    let mut kept = Kept::new("", PROFILE, "2026-11-30T12:00:00Z");
    let boot = kept.path("proc/sys/kernel/random/boot_id");
    fs::create_dir_all(boot.parent().unwrap()).unwrap();
    kept.put("proc/sys/kernel/random/boot_id", "22222222-735c-4f0b-8721-54d9cd01e8e9\n");
    kept.put(SWAPPINESS, ORIGINAL);
    kept.put(HUNG, "120\n");
    kept.set_clock("2026-11-30T23:00:00Z");
    kept.start();
    kept.check("40 [\"night\"]");
    kept.until("2026-12-01T06:15:00Z");
    kept.check("10 []");
}
