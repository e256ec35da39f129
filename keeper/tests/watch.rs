//! The watch over a machine of plain files: real notices, real writers, a clock that the test moves.

#![expect(clippy::unwrap_used, reason = "a failed precondition of a test ends the test")]
#![expect(clippy::print_stdout, reason = "says what was skipped")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use host::Root;
use keeper::audit::Audit;
use keeper::duty::Duty;
use keeper::fence::Fence;
use keeper::moment::Moment;
use keeper::policy::Policy;
use keeper::source::Source;
use keeper::watch::Watch;
use nix::fcntl::{Flock, FlockArg};
use orders::{Deed, DriftEvent};
use sys_tuning::{ApplyOptions, Engine, Profile, RollbackOptions, RollbackTo, StateDir};
use units::Nanos;
use units::limits::{DRIFTS_TOLD_PER_MINUTE, NOTICED_PASSES_MAX};

const SWAPPINESS: &str = "proc/sys/vm/swappiness";
const HUNG: &str = "proc/sys/kernel/hung_task_timeout_secs";

/// A host, what keeps it, and the time.
struct Kept {
    dir: tempfile::TempDir,
    duty: Duty,
    watch: Watch,
    now: Moment,
    told: u64,
}

impl Kept {
    /// Held to swappiness 10.
    fn new(repair: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [(SWAPPINESS, "60\n"), (HUNG, "120\n")] {
            let path = dir.path().join("root").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let state = dir.path().join("state");
        let engine = Engine::new(Arc::new(Root::at(&dir.path().join("root"))), &state);
        let open = || StateDir::create(&state).unwrap();
        let policy =
            Policy { repair, settle: Nanos::from_secs(10), boot_settle: Nanos::ZERO, ..Policy::default() };
        let (audit, fence) = (Audit::open(open()).unwrap(), Fence::read(&open()).unwrap());
        let duty = Duty::new(engine, policy, audit, fence, open());
        let mut kept = Self { dir, duty, watch: Watch::default(), now: Moment::now(), told: 0 };
        kept.apply("'mem.swap' = { swappiness = 10 }");
        kept.duty.take_up(kept.now);
        kept.turn(0);
        kept.turn(0);
        kept
    }

    fn apply(&self, knobs: &str) {
        self.apply_with(knobs, &ApplyOptions::PLAIN);
    }

    fn apply_with(&self, knobs: &str, options: &ApplyOptions) {
        let text = format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}\n");
        let engine = &self.duty.engine;
        engine.apply(&engine.plan(&Profile::parse("p.toml", &text).unwrap()).unwrap(), options).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join("root").join(file)
    }

    fn get(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Another process writes; its number.
    fn put(&self, file: &str, text: &str) -> u32 {
        let script = format!("echo {text} > {}", self.path(file).display());
        let mut child = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        child.id()
    }

    /// The value changes without a write that anybody is told of.
    fn swap(&self, file: &str, text: &str) {
        let beside = self.path("beside");
        fs::File::create(&beside).unwrap().write_all(text.as_bytes()).unwrap();
        fs::rename(beside, self.path(file)).unwrap();
    }

    /// So many milliseconds later the loop calls; what was new.
    fn turn(&mut self, millis: u64) -> Vec<DriftEvent> {
        let later = Nanos::from_millis(millis);
        let Moment { monotonic, boottime, wall } = self.now;
        self.now =
            Moment { monotonic: monotonic + later, boottime: boottime + later, wall: wall.after(later) };
        self.watch.on_ready(self.now, &mut self.duty);
        let mut events = Vec::new();
        while let Some(event) = self.duty.drifts.after(self.told) {
            self.told = event.number;
            events.push(event);
        }
        events
    }

    /// The machine is asleep for so long.
    fn sleep(&mut self, millis: u64) {
        let Moment { boottime, wall, .. } = self.now;
        let later = Nanos::from_millis(millis);
        self.now = Moment { boottime: boottime + later, wall: wall.after(later), ..self.now };
    }

    /// Whether the loop would be woken by a notice.
    fn listens(&self) -> bool {
        let mut descriptors = Vec::new();
        self.watch.descriptors(&mut descriptors);
        !descriptors.is_empty()
    }

    fn deeds(&mut self, millis: u64) -> Vec<Deed> {
        self.turn(millis).into_iter().map(|event| event.deed).collect()
    }

    fn audit(&self) -> String {
        fs::read_to_string(self.dir.path().join("state/audit.log")).unwrap()
    }
}

fn may_name_writers(test: &str) -> bool {
    let may = nix::unistd::geteuid().is_root();
    assert!(
        may || std::env::var_os("QUELL_REQUIRE").is_none(),
        "{test} needs root, and QUELL_REQUIRE is set"
    );
    if !may {
        println!("{test}: skipped, it needs root, to learn who writes");
    }
    may
}

#[test]
fn a_write_is_noticed_put_back_and_its_writer_named() {
    let mut kept = Kept::new(true);
    let writer = kept.put(SWAPPINESS, "33");
    let events = kept.turn(0); // at the same moment: no sweep is due, the notice alone did it
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.found.as_str(), event.wanted.as_str(), event.deed), ("33", "10", Deed::Repaired));
    assert!(event.repaired_at.unwrap() > 0);
    assert_eq!(kept.get(SWAPPINESS), "10\n");
    if may_name_writers("a_write_is_noticed") {
        assert_eq!(event.writer.unwrap().pid, writer);
    }
    assert!(kept.audit().contains("\"event\":\"drift\""), "{}", kept.audit());
    assert!(kept.deeds(2000).is_empty(), "our own write is no drift");
}

#[test]
fn what_changes_without_a_write_is_seen_by_the_sweep() {
    let mut kept = Kept::new(true);
    kept.swap(SWAPPINESS, "33\n");
    assert!(kept.deeds(0).is_empty());
    let at_once = kept.deeds(1000);
    assert_eq!(kept.get(SWAPPINESS), "10\n", "nobody is waited for with that");
    let later = kept.deeds(200); // where writers can be named, this one's name is waited for
    assert_eq!([at_once, later].concat(), [Deed::Repaired]);
}

#[test]
fn a_writer_who_is_known_only_after_the_repair_is_named() {
    if !may_name_writers("a_writer_who_is_known_only_after") {
        return;
    }
    let mut kept = Kept::new(true);
    // A write of this process names nobody: the value is another, and who set it is not told yet.
    write(&kept.path(SWAPPINESS), "33\n");
    assert!(kept.deeds(0).is_empty(), "put back, and not told yet");
    assert_eq!(kept.get(SWAPPINESS), "10\n");
    let writer = kept.put(SWAPPINESS, "10");
    let events = kept.turn(50);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.deed, event.found.as_str()), (Deed::Repaired, "33"));
    assert_eq!(event.writer.map(|writer| writer.pid), Some(writer));
    assert_eq!(kept.audit().matches("\"event\":\"drift\"").count(), 1);
}

#[test]
fn what_the_policy_leaves_alone_is_told_and_left() {
    let mut kept = Kept::new(true);
    kept.duty.policy.repair_except = vec!["mem.swap".to_owned()];
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(2000), [Deed::Observed]);
    assert_eq!(kept.get(SWAPPINESS), "33\n");
    kept.duty.policy.repair_except = vec!["iso.hung".to_owned()];
    kept.put(SWAPPINESS, "34");
    assert_eq!(kept.deeds(0), [Deed::Repaired], "of the others nothing is left");
}

#[test]
fn a_fight_stops_and_is_taken_up_when_root_asks_again() {
    let mut kept = Kept::new(true);
    for _ in 0..3 {
        kept.put(SWAPPINESS, "33");
        assert_eq!(kept.deeds(2000), [Deed::Repaired]);
    }
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(2000), [Deed::Left]);
    for value in ["33", "34"] {
        kept.put(SWAPPINESS, value);
        assert!(kept.deeds(2000).is_empty(), "told once");
    }
    assert_eq!(kept.get(SWAPPINESS), "34\n");
    assert_eq!(kept.duty.drifts.fights, 1);
    kept.apply("'mem.swap' = { swappiness = 10 }");
    assert!(kept.deeds(2000).is_empty());
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(0), [Deed::Repaired]);
}

#[test]
fn a_fight_is_over_when_the_value_stays() {
    let mut kept = Kept::new(true);
    for _ in 0..4 {
        kept.put(SWAPPINESS, "33");
        kept.turn(2000);
    }
    kept.put(SWAPPINESS, "10"); // the rival gives in
    for _ in 0..12 {
        assert!(kept.deeds(1000).is_empty());
    }
    assert!(kept.audit().contains("fight-over"), "{}", kept.audit());
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(0), [Deed::Repaired]);
}

#[test]
fn without_leave_to_repair_it_is_told_once_and_left() {
    let mut kept = Kept::new(false);
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(0), [Deed::Observed]);
    assert!(kept.deeds(5000).is_empty());
    kept.put(SWAPPINESS, "34");
    assert_eq!(kept.deeds(0), [Deed::Observed], "another value is news");
    assert_eq!(kept.get(SWAPPINESS), "34\n");
}

#[test]
fn no_more_than_the_hour_allows() {
    let mut kept = Kept::new(true);
    kept.duty.policy.changes_per_hour_max = 1;
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(0), [Deed::Repaired]);
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(60_000), [Deed::Failed]);
    assert_eq!(kept.get(SWAPPINESS), "33\n");
    // By the sweep this time: where writers can be named, it waits a moment for this one's name.
    assert_eq!([kept.deeds(3_600_000), kept.deeds(200)].concat(), [Deed::Repaired]);
}

#[test]
fn what_root_does_is_no_drift() {
    let mut kept = Kept::new(true);
    let lock = fs::File::open(kept.dir.path().join("state/lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    kept.put(SWAPPINESS, "33"); // as an apply that is under way does
    assert!(kept.deeds(2000).is_empty());
    drop(lock);
    kept.apply("'mem.swap' = { swappiness = 33 }");
    assert!(kept.deeds(2000).is_empty());
    assert_eq!(kept.get(SWAPPINESS), "33\n");
    kept.duty.engine.rollback(&RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 }).unwrap();
    kept.put(SWAPPINESS, "44");
    assert!(kept.deeds(2000).is_empty(), "nothing is held any more");
    assert_eq!(kept.get(SWAPPINESS), "44\n");
}

#[test]
fn an_apply_of_all_or_nothing_that_was_cut_off_is_undone_within_a_second() {
    let mut kept = Kept::new(true);
    kept.turn(1000);
    kept.apply_with(
        "'mem.swap' = { swappiness = 20 }",
        &ApplyOptions { atomic: true, ..ApplyOptions::PLAIN },
    );
    let journal = kept.dir.path().join("state/journal");
    let text = fs::read_to_string(&journal).unwrap();
    let end = text.trim_end().rfind('\n').unwrap() + 1;
    fs::File::options().write(true).open(&journal).unwrap().set_len(end as u64).unwrap();
    kept.turn(1000);
    kept.turn(1000);
    assert_eq!(kept.get(SWAPPINESS), "10\n");
    assert!(kept.audit().contains("cut-off"), "{}", kept.audit());
}

#[test]
fn an_apply_that_nobody_confirms_is_undone_when_its_guard_is_gone() {
    let mut kept = Kept::new(true);
    let confirm_by = Some(kept.now.boottime + Nanos::from_secs(30));
    kept.apply_with("'mem.swap' = { swappiness = 20 }", &ApplyOptions { confirm_by, ..ApplyOptions::PLAIN });
    kept.turn(1000);
    kept.put(SWAPPINESS, "33");
    assert_eq!(kept.deeds(1000), [Deed::Repaired], "on trial it is held like any other");
    assert_eq!(kept.get(SWAPPINESS), "20\n");
    assert!(kept.watch.deadline().unwrap() <= kept.now.monotonic + Nanos::from_secs(1));
    kept.turn(40_000);
    assert_eq!(kept.get(SWAPPINESS), "10\n");
    assert!(kept.audit().contains("not-confirmed"), "{}", kept.audit());
    kept.turn(1000);
    kept.put(SWAPPINESS, "33");
    kept.turn(0);
    assert_eq!(kept.get(SWAPPINESS), "10\n", "what stood before is held again");
}

#[test]
fn time_that_the_machine_slept_counts_for_what_is_to_be_confirmed() {
    let mut kept = Kept::new(true);
    let confirm_by = Some(kept.now.boottime + Nanos::from_secs(30));
    kept.apply_with("'mem.swap' = { swappiness = 20 }", &ApplyOptions { confirm_by, ..ApplyOptions::PLAIN });
    kept.turn(1000);
    assert_eq!(kept.get(SWAPPINESS), "20\n");
    kept.sleep(60_000);
    kept.turn(1000);
    assert_eq!(kept.get(SWAPPINESS), "10\n");
}

#[test]
fn who_writes_without_end_does_not_keep_the_keeper_busy() {
    let mut kept = Kept::new(true);
    kept.duty.policy.changes_per_hour_max = 10_000;
    assert!(kept.listens());
    for _ in 0..NOTICED_PASSES_MAX {
        kept.put(SWAPPINESS, "33");
        kept.turn(1);
    }
    assert!(!kept.listens(), "the rest of this second is the sweep's");
    kept.turn(1000);
    assert!(kept.listens());
    let told = kept.audit().matches("\"event\":\"drift\"").count();
    for value in 0..3 * DRIFTS_TOLD_PER_MINUTE {
        kept.put(SWAPPINESS, &(100 + value).to_string());
        kept.duty.policy.repair = false; // each value is news
        kept.turn(10);
    }
    let told = kept.audit().matches("\"event\":\"drift\"").count() - told;
    assert!(told <= DRIFTS_TOLD_PER_MINUTE as usize, "{told} lines in a minute");
    assert!(kept.duty.drifts.seen > u64::from(DRIFTS_TOLD_PER_MINUTE), "all are counted");
}

#[test]
fn what_root_asks_for_while_another_quell_is_at_work_is_followed_afterwards() {
    let mut kept = Kept::new(true);
    kept.apply("'mem.swap' = { swappiness = 20 }");
    let lock = fs::File::open(kept.dir.path().join("state/lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    for _ in 0..10 {
        kept.turn(100);
    }
    assert!(!kept.audit().contains("holds the tuning lock"));
    for _ in 0..100 {
        kept.turn(100);
    }
    assert_eq!(kept.audit().matches("holds the tuning lock").count(), 1, "told, once: {}", kept.audit());
    drop(lock);
    kept.turn(100);
    kept.put(SWAPPINESS, "33");
    kept.turn(0);
    assert_eq!(kept.get(SWAPPINESS), "20\n");
    assert!(kept.duty.held.unfit.is_none(), "{:?}", kept.duty.held.unfit);
}

/// Queues that a card got since, and a card that went and came back: what stands is brought about on them too.
#[test]
fn queues_and_cards_that_come_get_what_stands() {
    let mut kept = Kept::new(true);
    let card = |file: &str| format!("sys/class/net/eth0/{file}");
    let put = |kept: &Kept, file: &str, text: &str| {
        fs::create_dir_all(kept.path(file).parent().unwrap()).unwrap();
        write(&kept.path(file), text);
    };
    for file in ["possible", "present", "online"] {
        put(&kept, &format!("sys/devices/system/cpu/{file}"), "0-1\n");
    }
    for file in ["offline", "isolated"] {
        put(&kept, &format!("sys/devices/system/cpu/{file}"), "\n");
    }
    put(&kept, "sys/devices/pci0000:00/0000:00:03.0/uevent", "DRIVER=virtio_net\n");
    put(&kept, &card("ifindex"), "2\n");
    put(&kept, &card("queues/rx-0/rps_cpus"), "0\n");
    std::os::unix::fs::symlink("../../../devices/pci0000:00/0000:00:03.0", kept.path(&card("device")))
        .unwrap();
    kept.apply("'mem.swap' = { swappiness = 10 }\n'irq.rps' = { rps_cpus = '0' }");
    let survey = |kept: &mut Kept| assert!(kept.deeds(11_000).is_empty());
    survey(&mut kept);
    survey(&mut kept);
    assert_eq!(kept.get(&card("queues/rx-0/rps_cpus")), "1\n");

    put(&kept, &card("queues/rx-1/rps_cpus"), "0\n");
    survey(&mut kept);
    assert_eq!(kept.get(&card("queues/rx-1/rps_cpus")), "1\n", "{}", kept.audit());

    // The same name and place, and another number: nothing that was set is left.
    put(&kept, &card("ifindex"), "7\n");
    for queue in 0..2 {
        kept.swap(&card(&format!("queues/rx-{queue}/rps_cpus")), "0\n");
    }
    let _ = kept.deeds(11_000); // told as drift or not: by then it stands
    let _ = kept.deeds(11_000);
    for queue in 0..2 {
        assert_eq!(kept.get(&card(&format!("queues/rx-{queue}/rps_cpus"))), "1\n", "{}", kept.audit());
    }
}

#[test]
fn looking_leaves_no_trace_on_the_disk() {
    let mut kept = Kept::new(true);
    let state = kept.dir.path().join("state");
    let stamp = |name: &str| fs::metadata(state.join(name)).unwrap().modified().unwrap();
    let before = ["lock", "journal", "audit.log"].map(stamp);
    for _ in 0..30 {
        assert!(kept.deeds(1000).is_empty());
    }
    assert_eq!(["lock", "journal", "audit.log"].map(stamp), before);
}

#[test]
fn a_damaged_journal_is_told_once_and_nothing_is_touched() {
    let mut kept = Kept::new(true);
    let journal = kept.dir.path().join("state/journal");
    let text = fs::read_to_string(&journal).unwrap().replace("swappiness", "swappinezz");
    write(&journal, &text);
    kept.put(SWAPPINESS, "33");
    assert!(kept.deeds(2000).is_empty() && kept.deeds(2000).is_empty());
    assert_eq!(kept.audit().matches("\"event\":\"watch\"").count(), 1, "{}", kept.audit());
    assert_eq!(kept.get(SWAPPINESS), "33\n");
}

fn write(path: &Path, text: &str) {
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}
