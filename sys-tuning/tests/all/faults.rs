//! Full disks, failing disks, read-only trees, missing rights: one clear answer, and nothing half done.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use sys_tuning::{ApplyOptions, Error, Outcome, Profile, RollbackOptions, RollbackTo, Status};

use crate::model::lies::{Kind, Lie};
use crate::model::mount::{Modelled, may_mount};
use crate::model::{self, CAPTURED};
use crate::tree::{Machine, PROFILE};
use crate::{is_root, may_run, process};

const NOW: ApplyOptions = ApplyOptions::PLAIN;
const ATOMIC: ApplyOptions = ApplyOptions { atomic: true, ..NOW };
const BASELINE: RollbackOptions = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };

fn everything() -> Profile {
    Profile::parse("test.toml", PROFILE).unwrap()
}

/// A mount table of this test's thread alone: what it mounts, nobody else sees, and it goes with the thread.
fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

/// Something mounted below a machine; gone before the machine is, which could not remove its folder else.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

fn make_read_only(dir: &Path) -> Mounted {
    mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, dir, None::<&str>, read_only, None::<&str>).unwrap();
    Mounted(dir.to_owned())
}

/// A disk of this size at `dir`, for root alone.
fn small_disk(dir: &Path, size: &str) -> Mounted {
    fs::create_dir(dir).unwrap();
    let options = format!("size={size},mode=0700");
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
    Mounted(dir.to_owned())
}

/// Calls of the engine, the error each is made to fail with, and how many of its occurrences are passed over between two
/// that fail: reading the machine takes hundreds that are much alike.
const FAILURES: &[(&str, &str, usize)] = &[
    ("write", "ENOSPC", 1),
    ("write", "EIO", 1),
    ("fdatasync", "EIO", 1),
    ("fsync", "EIO", 1),
    ("fallocate", "ENOSPC", 1),
    ("lseek", "EIO", 1),
    ("flock", "EINTR", 1),
    ("mkdirat", "ENOSPC", 1),
    ("unlinkat", "EIO", 1),
    ("clone3", "EAGAIN", 1),
    ("openat", "EMFILE", 1),
    ("openat2", "EMFILE", 29),
];

#[test]
fn every_call_of_apply_and_roll_back_fails_once() {
    let has_strace = std::process::Command::new("strace").arg("-V").output().is_ok();
    if !may_run("every_call_fails_once", "strace", has_strace) {
        return;
    }
    for victim in ["apply", "apply-atomic", "rollback"] {
        let (mut runs, mut spoiled) = (0, 0);
        for (call, error, step) in FAILURES {
            for nth in (1..).step_by(*step) {
                let Some(code) = fail_once(victim, call, error, nth) else { break };
                runs += 1;
                spoiled += u32::from(code != 0);
            }
        }
        println!("{victim}: {runs} runs with one failing call, {spoiled} spoiled by it, 0 originals lost");
        assert!(spoiled > 10, "the injections hit nothing");
    }
}

/// Makes the `nth` occurrence of `call` fail in `victim`, then goes back in good order: the machine is as it was. `None`
/// when there is no such occurrence.
fn fail_once(victim: &str, call: &str, error: &str, nth: usize) -> Option<i32> {
    let machine = Machine::new();
    let before = machine.snapshot();
    let profile = machine.profile(PROFILE);
    let (root, state, log) = (machine.root(), machine.state(), machine.root().with_extension("log"));
    if victim == "rollback" {
        assert_eq!(process::run(&root, &state, "apply", &profile), 0);
    }
    let log_name = log.display().to_string();
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}:when={nth}"));
    let strace = ["strace", "-f", "-qq", "-o", &log_name, "-e", &trace, "-e", &inject];
    let program = std::env::current_exe().unwrap();
    let code =
        process::finish(&mut process::command_under(&strace, &program, &root, &state, victim, &profile));
    let halfway = machine.snapshot();
    let undone = process::run(&root, &state, "rollback", &profile);
    let lost = machine.snapshot() != before;
    assert!(undone == 0 && !lost, "{victim}: {call} {nth} {error}: {code}, then {undone}, lost: {lost}");
    // An error of the command as a whole says that nothing was written.
    let refused = victim != "rollback" && code == 1;
    assert!(!refused || halfway == before, "{victim}: {call} {nth} {error}: failed after it had written");
    fs::read_to_string(log).unwrap().contains("(INJECTED)").then_some(code)
}

#[test]
fn a_disk_without_room_for_the_journal_stops_an_apply() {
    if !may_run("a_disk_without_room", "root, to mount a small file system", is_root()) {
        return;
    }
    own_mounts();
    let machine = Machine::new();
    let before = machine.snapshot();
    let _disk = small_disk(&machine.state(), "16k");
    let engine = machine.engine();
    let plan = engine.plan(&everything()).unwrap();
    let error = engine.apply(&plan, &NOW).unwrap_err();
    assert!(matches!(&error, Error::State { .. }), "{error}");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert_eq!(engine.root().write_count(), 0);
    assert!(machine.snapshot() == before);
}

#[test]
fn a_roll_back_is_recorded_on_a_disk_that_filled_up_since() {
    if !may_run("a_roll_back_on_a_full_disk", "root, to mount a small file system", is_root()) {
        return;
    }
    own_mounts();
    let machine = Machine::new();
    let before = machine.snapshot();
    let _disk = small_disk(&machine.state(), "128k");
    let engine = machine.engine();
    engine.apply(&engine.plan(&everything()).unwrap(), &NOW).unwrap();
    fill_up(&machine.state().join("somebody-elses"));
    let rolled_back = engine.rollback(&BASELINE).unwrap();
    assert_eq!((rolled_back.result, rolled_back.unrecorded, rolled_back.id), (Outcome::Done, None, Some(2)));
    assert!(machine.snapshot() == before);
    assert_eq!(engine.history().unwrap().transactions.len(), 2);
}

fn fill_up(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
}

#[test]
fn a_read_only_journal_does_not_keep_a_host_from_its_originals() {
    if !may_run("a_read_only_journal", "root, to mount read-only", is_root()) {
        return;
    }
    own_mounts();
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    engine.apply(&engine.plan(&everything()).unwrap(), &NOW).unwrap();
    let _read_only = make_read_only(&machine.state());
    let plan = engine.plan(&Profile::load("balanced").unwrap()).unwrap();
    assert!(matches!(engine.apply(&plan, &NOW).unwrap_err(), Error::State { .. }), "no journal, no change");
    let rolled_back = engine.rollback(&BASELINE).unwrap();
    assert_eq!((rolled_back.result, rolled_back.id), (Outcome::Done, None));
    assert!(rolled_back.unrecorded.unwrap().contains("Read-only file system"));
    assert!(machine.snapshot() == before);
}

#[test]
fn read_only_files_are_told_before_anything_is_written() {
    if !may_run("read_only_files", "root, to mount read-only", is_root()) {
        return;
    }
    own_mounts();
    let machine = Machine::new();
    let _read_only = make_read_only(&machine.file("/proc/sys/vm"));
    let before = machine.snapshot();
    let engine = machine.engine();
    let text = "schema = \"quell.profile/1\"\n[knobs]\n'mem.swap' = { swappiness = 10 }\n\
                'iso.hung' = { timeout_secs = 600 }";
    let plan = engine.plan(&Profile::parse("p", text).unwrap()).unwrap();
    let [skipped] = plan.skipped.as_slice() else { panic!("{plan:#?}") };
    assert_eq!(skipped.status, Status::Failed);
    assert_eq!(
        skipped.reason,
        "/proc/sys/vm/swappiness: cannot be written: Read-only file system (os error 30)"
    );
    let atomic = engine.apply(&plan, &ApplyOptions { atomic: true, ..NOW }).unwrap_err();
    assert!(matches!(atomic, Error::Refused(_)), "all or nothing is nothing: {atomic}");
    assert!(machine.snapshot() == before);
    let applied = engine.apply(&plan, &NOW).unwrap();
    assert_eq!((applied.result, applied.changes.len()), (Outcome::Partly, 1));
    engine.rollback(&BASELINE).unwrap();
    assert!(machine.snapshot() == before);
}

#[test]
fn the_first_failure_takes_an_atomic_apply_back() {
    if !may_run("an_atomic_apply", "root, to mount read-only", is_root()) {
        return;
    }
    own_mounts();
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    let plan = engine.plan(&everything()).unwrap();
    let _read_only = make_read_only(&machine.file("/proc/irq")); // after the plan was made, in the middle of its changes
    let applied = engine.apply(&plan, &ApplyOptions { atomic: true, ..NOW }).unwrap();
    assert_eq!(applied.result, Outcome::RolledBack, "{applied:#?}");
    assert!(machine.snapshot() == before);
    let failed: Vec<_> = applied.changes.iter().filter(|one| one.reason.contains("put back")).collect();
    assert!(failed.len() > 5, "{applied:#?}");
    assert!(engine.rollback(&BASELINE).unwrap().changes.is_empty(), "nothing is left to undo");

    let applied = engine.apply(&plan, &NOW).unwrap();
    assert_eq!(applied.result, Outcome::Partly);
    let refused: Vec<_> = applied.changes.iter().filter(|one| one.status == Status::Failed).collect();
    assert_eq!(refused.len(), 3, "{applied:#?}");
    assert!(refused.iter().all(|one| one.reason.contains("mounted read-only")), "{refused:#?}");
    engine.rollback(&BASELINE).unwrap();
    assert!(machine.snapshot() == before);
}

/// What was written and takes effect with the next interrupt, or the next boot, is taken back like what is in effect at
/// once.
#[test]
fn an_atomic_apply_takes_back_what_has_no_effect_yet() {
    if !may_mount("an_atomic_apply_takes_back_what_has_no_effect_yet") {
        return;
    }
    let mut base = model::modelled(CAPTURED[0]);
    base.remove("/proc/irq/0"); // the timer's, which no kernel lets be moved
    base.habits.quiet_irqs =
        base.list("/proc/irq").into_iter().filter(|(_, is_dir)| *is_dir).map(|(name, _)| name).collect();
    let machine = Modelled::new(base.clone());
    let text =
        "schema = \"quell.profile/1\"\n[knobs]\n'irq.aff' = { cpus = '0' }\n'mem.swap' = { swappiness = 11 }";
    let profile = Profile::parse("p", text).unwrap();
    let engine = machine.engine("honest");
    let applied = engine.apply(&engine.plan(&profile).unwrap(), &ATOMIC).unwrap();
    let pending = applied.changes.iter().filter(|row| row.status == Status::Pending).count();
    assert!(applied.result == Outcome::Done && pending > 0, "waiting is no failure: {applied:#?}");
    engine.rollback(&BASELINE).unwrap();

    machine.kernel().lies = vec![Lie::new("/proc/sys/vm/swappiness", Kind::Refused(nix::libc::EIO))];
    let engine = machine.engine("refusing");
    let applied = engine.apply(&engine.plan(&profile).unwrap(), &ATOMIC).unwrap();
    assert_eq!(applied.result, Outcome::RolledBack, "{applied:#?}");
    let differs = model::differences(&machine.kernel().settings(), &base.settings());
    assert!(differs.is_empty(), "{differs:#?}");
}

#[test]
fn an_atomic_apply_whose_boot_line_cannot_be_written_is_taken_back() {
    if !may_run("an_atomic_apply_whose_boot_line_fails", "root, to mount read-only", is_root()) {
        return;
    }
    own_mounts();
    let machine = crate::boot::machine();
    let before = machine.snapshot();
    let engine = machine.engine();
    let text = "schema = \"quell.profile/1\"\n[knobs]\n'mem.swap' = { swappiness = 11 }\n'iso.skew' = { enabled = true }";
    let plan = engine.plan(&Profile::parse("p", text).unwrap()).unwrap();
    assert_eq!(plan.changes.len(), 2, "{plan:#?}");
    let read_only = make_read_only(&machine.file("/boot/grub/quell")); // after the plan was made
    let applied = engine.apply(&plan, &ATOMIC).unwrap();
    assert_eq!(applied.result, Outcome::RolledBack, "{applied:#?}");
    assert!(machine.snapshot() == before);
    drop(read_only);
    let applied = engine.apply(&plan, &ATOMIC).unwrap();
    assert_eq!(applied.result, Outcome::Done, "a reboot that is due is no failure: {applied:#?}");
    assert!(applied.changes.iter().any(|row| row.status == Status::NeedsReboot), "{applied:#?}");
}

#[test]
fn without_rights_one_can_look_and_is_told_what_is_missing() {
    let has_setpriv = std::process::Command::new("setpriv").arg("--version").output().is_ok();
    if !may_run("without_rights", "root and setpriv, to become nobody", is_root() && has_setpriv) {
        return;
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let profile = dir.path().join("p.toml");
    crate::tree::write(&profile, "schema = \"quell.profile/1\"\n[knobs]\n'mem.swap' = { swappiness = 1 }\n");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let act = |state: &Path, verb: &str| {
        let mut command = process::command_under(&nobody, &program, Path::new("/"), state, verb, &profile);
        process::finish(&mut command)
    };
    let before = fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    let rooted = dir.path().join("state");
    fs::create_dir(&rooted).unwrap();
    fs::set_permissions(&rooted, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(act(&rooted, "plan"), 10, "changes are pending, and that can be seen");
    assert_eq!(act(&rooted, "verify"), 0);
    assert_eq!(act(&rooted, "apply"), 4);
    assert_eq!(act(&rooted, "rollback"), 4);
    let own = Path::new("/tmp").join(format!("quell-test-{}", std::process::id()));
    assert_eq!(act(&own, "apply"), 4, "an own journal does not give a right to the kernel");
    assert!(!own.exists(), "and nothing was begun");
    assert_eq!(fs::read_to_string("/proc/sys/vm/swappiness").unwrap(), before);
}
