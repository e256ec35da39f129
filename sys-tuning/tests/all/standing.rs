//! What a host is to be held to, through applies, roll-backs, confirmations and reboots.

use std::path::Path;
use std::sync::Arc;

use host::Root;
use sys_tuning::{
    Applied, ApplyOptions, Asker, Due, DueWhy, Engine, Error, Over, Profile, RollbackOptions, RollbackTo,
    RolledBack, Standing, Status, What,
};
use units::Nanos;

use crate::tree::Machine;

const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const HUNG: &str = "/proc/sys/kernel/hung_task_timeout_secs";
const BOOTS: [&str; 3] = [
    "11111111-735c-4f0b-8721-54d9cd01e8e9",
    "22222222-735c-4f0b-8721-54d9cd01e8e9",
    "33333333-735c-4f0b-8721-54d9cd01e8e9",
];

/// A machine that reboots: its kernel values become what they were at its first start.
struct Host {
    machine: Machine,
}

impl Host {
    fn new() -> Self {
        let host = Self { machine: Machine::new() };
        host.boot(0);
        host
    }

    fn boot(&self, number: usize) {
        self.machine.put("/proc/sys/kernel/random/boot_id", &format!("{}\n", BOOTS[number]));
        self.machine.put(SWAPPINESS, "60\n");
        self.machine.put(HUNG, "120\n");
    }

    fn engine(&self) -> Engine {
        self.machine.engine()
    }

    fn apply_with(&self, name: &str, options: &ApplyOptions) -> Result<Applied, Error> {
        let engine = self.engine();
        engine.apply(&engine.plan(&profile(name))?, options)
    }

    fn apply(&self, name: &str) -> Applied {
        self.apply_with(name, &ApplyOptions::PLAIN).unwrap()
    }

    /// As the keeper does it: what stands is brought about.
    fn hold(&self) -> Option<Applied> {
        let Standing::Profile(held) = self.engine().standing().unwrap() else { return None };
        let engine = self.engine();
        let options = ApplyOptions {
            is_hold: true,
            by: held.by,
            accept_dangers: held.accepts_dangers,
            ..ApplyOptions::PLAIN
        };
        Some(engine.apply(&engine.plan(&held.profile).unwrap(), &options).unwrap())
    }

    fn back(&self, to: RollbackTo) -> RolledBack {
        self.engine().rollback(&RollbackOptions { to, force: false, at: 0 }).unwrap()
    }

    /// What stands, and the swappiness that goes with it.
    #[track_caller]
    fn check(&self, standing: &str, swappiness: &str) {
        let told = match self.engine().standing().unwrap() {
            Standing::NeverAsked => "never asked".to_owned(),
            Standing::Released => "released".to_owned(),
            Standing::Profile(held) => {
                let trial = if held.is_on_trial { " on trial" } else { "" };
                format!("{} by {:?} as {}{trial}", held.profile.name, held.by, held.transaction)
            }
        };
        assert_eq!((told.as_str(), self.machine.get(SWAPPINESS).trim()), (standing, swappiness));
    }
}

fn profile(name: &str) -> Profile {
    let knobs = match name {
        "ten" => "'mem.swap' = { swappiness = 10 }",
        "twenty" => "'mem.swap' = { swappiness = 20 }",
        "hung" => "'iso.hung' = { timeout_secs = 600 }",
        "nothing" => "",
        _ => panic!("{name}"),
    };
    Profile::parse(name, &format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}\n")).unwrap()
}

#[test]
fn the_last_profile_that_was_asked_for_stands() {
    let host = Host::new();
    host.check("never asked", "60");
    host.apply("ten");
    host.check("ten by Root as 1", "10");
    host.apply("twenty");
    host.check("twenty by Root as 2", "20");
    host.back(RollbackTo::Last);
    host.check("ten by Root as 1", "10");
    host.back(RollbackTo::Last);
    host.check("released", "60");
    host.apply("nothing");
    host.check("nothing by Root as 5", "60"); // to ask for nothing is a wish, too
    host.back(RollbackTo::Baseline);
    host.check("released", "60");
}

#[test]
fn a_reboot_takes_values_and_leaves_the_wish() {
    let host = Host::new();
    host.apply("ten");
    host.apply("twenty");
    host.boot(1);
    host.check("twenty by Root as 2", "60");
    assert_eq!(host.hold().unwrap().id, Some(3));
    host.check("twenty by Root as 3", "20");
    assert_eq!(host.hold().unwrap().id, None, "it is held already");
    host.boot(2);
    host.hold();
    host.check("twenty by Root as 4", "20");
    host.back(RollbackTo::Last); // one step, whatever was rebooted between
    host.check("ten by Root as 1", "60");
    host.hold();
    host.check("ten by Root as 6", "10");
    host.back(RollbackTo::Baseline);
    host.check("released", "60");
    host.boot(0);
    host.check("released", "60");
    assert!(host.hold().is_none());
}

#[test]
fn a_wish_of_an_earlier_boot_can_be_taken_back_before_anybody_holds_the_host_to_it() {
    for to in [RollbackTo::Last, RollbackTo::Baseline] {
        let host = Host::new();
        host.apply("ten");
        host.boot(1);
        assert!(host.back(to).changes.is_empty());
        host.check("released", "60");
    }
}

#[test]
fn what_policy_wants_stands_beneath_what_root_asks() {
    let host = Host::new();
    let by_policy = ApplyOptions { by: Asker::Policy, ..ApplyOptions::PLAIN };
    host.apply_with("hung", &by_policy).unwrap();
    host.apply("ten");
    host.check("ten by Root as 2", "10");
    host.back(RollbackTo::Last);
    host.check("hung by Policy as 1", "60");
    host.boot(1);
    host.apply_with("twenty", &by_policy).unwrap(); // the policy is another one now
    host.check("twenty by Policy as 4", "20");
    host.back(RollbackTo::Last);
    host.check("released", "60");
}

#[test]
fn what_is_missing_is_brought_about_as_part_of_what_was_asked_for() {
    let host = Host::new();
    host.apply("ten");
    host.machine.put(SWAPPINESS, "33\n");
    assert_eq!(host.hold().unwrap().id, Some(2));
    host.check("ten by Root as 1", "10");
    let repair = host.engine().history().unwrap().transactions.pop().unwrap();
    assert_eq!((repair.what, repair.is_live), (What::Repair, false), "no layer of its own");
    let back = host.back(RollbackTo::Last);
    assert_eq!((back.undone.as_slice(), back.changes[0].status), (&[1][..], Status::Ok));
    host.check("released", "60");
}

#[test]
fn a_cell_that_only_a_repair_wrote_goes_back_with_its_apply() {
    let host = Host::new();
    host.machine.put(SWAPPINESS, "10\n");
    host.apply("ten"); // holds already: nothing is written
    host.machine.put(SWAPPINESS, "33\n");
    host.hold();
    host.check("ten by Root as 1", "10");
    assert_eq!(host.engine().drift().unwrap().checked, 1);
    host.back(RollbackTo::Last);
    host.check("released", "33"); // what stood there when we wrote it first
}

#[test]
fn folding_the_journal_keeps_what_stands() {
    let host = Host::new();
    let engine = host.engine().with_journal_bytes_max(4 << 10);
    let apply = |name, options: &ApplyOptions| {
        engine.apply(&engine.plan(&profile(name)).unwrap(), options).unwrap();
    };
    let back = |to| engine.rollback(&RollbackOptions { to, force: false, at: 0 }).unwrap();
    apply("hung", &ApplyOptions::PLAIN);
    for _ in 0..20 {
        apply("ten", &ApplyOptions::PLAIN);
        apply("twenty", &ApplyOptions::PLAIN);
        back(RollbackTo::Last);
        host.check_name("ten", "10");
        back(RollbackTo::Last);
        host.check_name("hung", "60");
    }
    apply("ten", &ApplyOptions::PLAIN);
    for round in 30..70 {
        host.machine.put(SWAPPINESS, &format!("{round}\n"));
        apply("ten", &ApplyOptions { is_hold: true, ..ApplyOptions::PLAIN });
        host.check_name("ten", "10");
    }
    let length = std::fs::metadata(host.machine.state().join("journal")).unwrap().len();
    assert!(length < 8 << 10, "{length} bytes");
    back(RollbackTo::Baseline);
    host.check("released", "60");
    assert_eq!(host.machine.get(HUNG), "120\n");
}

impl Host {
    #[track_caller]
    fn check_name(&self, name: &str, swappiness: &str) {
        let Standing::Profile(held) = self.engine().standing().unwrap() else { panic!("nothing stands") };
        assert_eq!((held.profile.name.as_str(), self.machine.get(SWAPPINESS).trim()), (name, swappiness));
    }
}

const SOON: Nanos = Nanos::from_secs(100);
const LATE: Nanos = Nanos::from_secs(200);

fn on_trial(host: &Host, name: &str) -> Applied {
    host.apply_with(name, &ApplyOptions { confirm_by: Some(LATE), ..ApplyOptions::PLAIN }).unwrap()
}

#[test]
fn what_is_not_confirmed_is_undone_by_whoever_looks() {
    let host = Host::new();
    host.apply("ten");
    on_trial(&host, "twenty");
    host.check("twenty by Root as 2 on trial", "20");
    assert!(host.engine().undo_due(SOON, 0).unwrap().is_none());
    host.check("twenty by Root as 2 on trial", "20");
    assert_eq!(host.engine().undo_due(LATE, 0).unwrap().unwrap().undone, [2]);
    host.check("ten by Root as 1", "10");
    assert!(host.engine().undo_due(LATE, 0).unwrap().is_none());
}

/// What could not be put back is tried again as often as somebody likes, unless something else was asked for since.
#[test]
fn what_could_not_be_undone_is_undone_later() {
    for is_asked_since in [false, true] {
        let host = Host::new();
        on_trial(&host, "ten");
        let (file, aside) = (host.machine.file(SWAPPINESS), host.machine.file("/aside"));
        std::fs::rename(&file, &aside).unwrap();
        std::fs::create_dir(&file).unwrap();
        let undone = host.engine().undo_due(LATE, 0).unwrap().unwrap();
        assert!(undone.changes[0].status.is_trouble(), "{:?}", undone.changes);
        let again = host.engine().undo_rest(1, 0).unwrap().unwrap();
        assert!(again.changes[0].status.is_trouble(), "{:?}", again.changes);
        std::fs::remove_dir(&file).unwrap();
        std::fs::rename(&aside, &file).unwrap();
        if is_asked_since {
            host.apply("twenty");
            assert!(host.engine().undo_rest(1, 0).unwrap().is_none());
            host.check_name("twenty", "20");
            continue;
        }
        assert_eq!(host.engine().undo_rest(1, 0).unwrap().unwrap().changes[0].status, Status::Ok);
        assert!(host.engine().undo_rest(1, 0).unwrap().is_none(), "nothing is left");
        host.check("never asked", "60");
    }
}

#[test]
fn what_is_confirmed_stays() {
    let host = Host::new();
    on_trial(&host, "ten");
    let wrong = host.engine().confirm(Some(7), SOON).unwrap_err().to_string();
    assert_eq!(wrong, "refused, nothing was written: transaction 7 does not wait to be confirmed, 1 does");
    let late = host.engine().confirm(None, LATE).unwrap_err().to_string();
    assert_eq!(late, "refused, nothing was written: the time to confirm transaction 1 is over");
    assert_eq!(host.engine().confirm(Some(1), SOON).unwrap(), 1);
    assert!(host.engine().undo_due(LATE, 0).unwrap().is_none());
    host.check("ten by Root as 1", "10");
    assert!(host.engine().confirm(None, SOON).is_err(), "once is enough");
    host.back(RollbackTo::Last);
    host.check("released", "60");
}

#[test]
fn one_undecided_apply_at_a_time() {
    let host = Host::new();
    on_trial(&host, "ten");
    let second = host.apply_with("twenty", &ApplyOptions::PLAIN).unwrap_err();
    assert!(matches!(&second, Error::Refused(_)), "{second}");
    assert!(second.to_string().contains("`quell tune confirm 1` keeps it"), "{second}");
    assert!(host.hold().unwrap().id.is_none(), "whoever holds the host waits, too");
    host.back(RollbackTo::Last);
    host.check("never asked", "60"); // it was never kept, so taking it back is no word to let the host go
    assert!(host.engine().undo_due(LATE, 0).unwrap().is_none());
}

/// Whoever goes back to the baseline wants nothing of quell, whatever was confirmed: the policy's profile is not for him.
#[test]
fn going_back_to_the_baseline_lets_the_host_go_also_from_a_first_trial() {
    let host = Host::new();
    on_trial(&host, "ten");
    host.back(RollbackTo::Baseline);
    host.check("released", "60");
    assert!(host.engine().undo_due(LATE, 0).unwrap().is_none());
    host.boot(1);
    host.check("released", "60");
    on_trial(&host, "ten");
    host.engine().undo_due(LATE, 0).unwrap().unwrap();
    host.check("released", "60"); // a trial after it asks for nothing for good
}

#[test]
fn a_reboot_before_the_confirmation_counts_as_none() {
    let host = Host::new();
    host.apply("ten");
    on_trial(&host, "twenty");
    host.boot(1);
    host.check("ten by Root as 1", "60");
    host.hold();
    host.check("ten by Root as 3", "10");
    assert!(host.engine().confirm(Some(2), SOON).is_err());
}

#[test]
fn an_apply_on_trial_is_undone_though_its_end_is_torn_off() {
    let host = Host::new();
    on_trial(&host, "ten");
    let path = host.machine.state().join("journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let end = text.trim_end().rfind('\n').unwrap() + 1;
    crate::tree::write(&path, &text[..end + 20]);
    assert_eq!(host.engine().on_trial().unwrap().map(|trial| trial.id), Some(1));
    host.engine().undo_due(LATE, 0).unwrap().unwrap();
    host.check("never asked", "60");
}

/// Its end is missing, as when it was killed behind its last write.
fn cut_off(host: &Host) {
    let path = host.machine.state().join("journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let end = text.trim_end().rfind('\n').unwrap() + 1;
    crate::tree::write(&path, &text[..end]);
}

#[test]
fn an_apply_of_all_or_nothing_that_was_cut_off_is_undone_by_whoever_looks() {
    let atomic = ApplyOptions { atomic: true, ..ApplyOptions::PLAIN };
    let host = Host::new();
    host.apply("ten");
    host.apply_with("twenty", &atomic).unwrap();
    host.check("twenty by Root as 2", "20");
    assert_eq!(host.engine().due(LATE).unwrap(), None, "it has ended");
    cut_off(&host);
    host.check("ten by Root as 1", "20"); // by halves it is nobody's wish
    let due = Due { id: 2, profile: "twenty".to_owned(), why: DueWhy::CutOff };
    assert_eq!(host.engine().due(Nanos::ZERO).unwrap(), Some(due));
    let undone = host.engine().undo_due(Nanos::ZERO, 0).unwrap().unwrap();
    assert_eq!(undone.undone, [2]);
    host.check("ten by Root as 1", "10");
    assert!(host.engine().undo_due(LATE, 0).unwrap().is_none());
    // Its values went with the boot, and so did what is due.
    host.apply_with("twenty", &atomic).unwrap();
    cut_off(&host);
    host.boot(1);
    assert_eq!(host.engine().due(LATE).unwrap(), None);
    host.check("ten by Root as 1", "60");
    // One that may be done by halves stands, for whoever goes on with it.
    host.apply("twenty");
    cut_off(&host);
    assert_eq!(host.engine().due(LATE).unwrap(), None);
    host.check("twenty by Root as 5", "20");
}

#[test]
fn an_apply_of_all_or_nothing_that_is_under_way_is_left_to_who_is_at_it() {
    let host = Host::new();
    host.apply_with("ten", &ApplyOptions { atomic: true, ..ApplyOptions::PLAIN }).unwrap();
    cut_off(&host);
    let file = std::fs::File::open(host.machine.state().join("lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    assert!(matches!(host.engine().undo_due(LATE, 0), Err(Error::Busy { .. })));
    host.check("never asked", "10");
    drop(lock);
    host.engine().undo_due(LATE, 0).unwrap().unwrap();
    host.check("never asked", "60");
}

#[test]
fn a_journal_that_cannot_be_trusted_says_nothing_about_what_stands() {
    let host = Host::new();
    host.apply("ten");
    let path = host.machine.state().join("journal");
    let text = std::fs::read_to_string(&path).unwrap().replace("swappiness", "swappinezz");
    crate::tree::write(&path, &text);
    assert!(matches!(host.engine().standing(), Err(Error::Integrity { .. })));
    assert!(matches!(host.engine().undo_due(LATE, 0), Err(Error::Integrity { .. })));
    // Nor is it believed in the boots after it: the wish that cannot be read would be passed over for an older one.
    host.boot(1);
    assert!(matches!(host.engine().standing(), Err(Error::Integrity { .. })));
    let elsewhere = Engine::new(Arc::new(Root::at(&host.machine.root())), Path::new("/nonexistent"));
    assert!(matches!(elsewhere.standing(), Ok(Standing::NeverAsked)), "no journal, no wish");
}

/// A keeper that looked, and root who was faster.
#[test]
fn what_root_asks_for_between_a_look_and_the_lock_is_not_overruled() {
    let host = Host::new();
    let engine = host.engine();
    let over = |name: &str, over| {
        let plan = engine.plan(&profile(name)).unwrap();
        let options = ApplyOptions { is_hold: true, over, ..ApplyOptions::PLAIN };
        engine.apply(&plan, &options)
    };
    let busy =
        |result: Result<Applied, Error>| assert!(matches!(result, Err(Error::Busy { .. })), "{result:?}");
    let id = host.apply("ten").id.unwrap();
    busy(over("ten", Over::Nothing));
    over("ten", Over::Standing(id)).unwrap();
    host.apply("twenty");
    busy(over("ten", Over::Standing(id)));
    host.check("twenty by Root as 2", "20");
    host.back(RollbackTo::Baseline);
    busy(over("ten", Over::Standing(id)));
    busy(over("ten", Over::Nothing));
    host.check("released", "60");
}

#[test]
fn a_wish_of_an_earlier_boot_that_is_damaged_is_not_passed_over() {
    let host = Host::new();
    host.apply("hung");
    host.back(RollbackTo::Baseline);
    host.boot(1);
    host.apply("ten");
    host.boot(2);
    let path = host.machine.state().join("journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let damaged = text.replacen("\"what\":\"rollback\"", "\"what\":\"rollbacc\"", 1);
    assert_ne!(damaged, text);
    crate::tree::write(&path, &damaged);
    assert!(matches!(host.engine().standing(), Err(Error::Integrity { .. })));
}

/// What is switched on and off for a measurement is no step back for what was asked for before.
#[test]
fn a_trial_that_is_taken_back_by_its_number_leaves_what_stood_before() {
    let host = Host::new();
    host.apply("hung");
    let trial =
        ApplyOptions { confirm_by: Some(Nanos::from_secs(3600)), atomic: true, ..ApplyOptions::PLAIN };
    let id = host.apply_with("ten", &trial).unwrap().id.unwrap();
    host.check("ten by Root as 2 on trial", "10");
    let back = host.engine().take_back(id, 0).unwrap();
    assert_eq!((back.undone.as_slice(), back.changes.len()), (&[id][..], 1), "{back:?}");
    host.check("hung by Root as 1", "60");
    assert_eq!(host.machine.get(HUNG).trim(), "600");
    let again = host.engine().take_back(id, 0).unwrap();
    assert!(again.id.is_none() && again.changes.is_empty(), "{again:?}");
    host.check("hung by Root as 1", "60");
    assert_eq!(host.machine.get(HUNG).trim(), "600");
}
