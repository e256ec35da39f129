//! Full disks and read-only kernels: said, and nothing half done.

use std::fs;

use report::Exit;

use super::{ORIGINAL, SWAPPINESS, Tuned, among, rows};
use crate::harness::{require, require_root};

fn may_mount() -> bool {
    require_root() && require("unshare")
}

#[test]
fn a_full_disk_stops_an_apply_before_the_first_write() {
    if !may_mount() {
        return;
    }
    // Where the state directory cannot hold what a roll-back may need, and where not even the journal fits.
    for (size, words) in [("8k", "set bytes aside for a roll-back"), ("4k", "No space left on device")] {
        let tuned = Tuned::small();
        let before = tuned.host.snapshot();
        fs::create_dir(tuned.state()).unwrap();
        let mount = format!("mount -t tmpfs -o size={size},mode=0700 none {}", tuned.state().display());
        let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
        let output =
            among(&tuned.command(["apply", "--profile", &profile]), &mount).run().exits(Exit::Failure);
        output.says_one_line(&[words, "No space left on device", "no knob was written"]);
        assert!(tuned.host.snapshot() == before, "{size}");
    }
}

#[test]
fn a_full_disk_does_not_keep_a_host_from_its_originals() {
    if !may_mount() {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
    let quell = env!("CARGO_BIN_EXE_quell");
    let state = tuned.state();
    fs::create_dir(&state).unwrap();
    let (root, at) = (tuned.host.path().display(), state.display());
    // All of it in one namespace: apply, fill the disk to the last byte, roll back.
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=0700 none {at} && {quell} tune apply --profile {profile} --root {root} \
         --state-dir {at} >&2 && {{ cat /dev/zero > {at}/filler 2>/dev/null; true; }} && exec \"$@\""
    );
    let words =
        ["unshare".to_owned(), "-m".to_owned(), "sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()];
    let output = tuned.command(["rollback", "--json"]).under(words).run().succeeds();
    let json = output.json("quell.rollback/1");
    assert_eq!(
        (&json["result"], json["id"].as_str()),
        (&"restored".into(), Some("2")),
        "recorded too: {output}"
    );
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn a_kernel_that_is_mounted_read_only() {
    if !may_mount() {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    let knobs = tuned.host.path().join("proc/sys");
    let mount = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", knobs.display());
    let run = |words: &[&str]| among(&tuned.command(words.iter().copied()), &mount).run();
    let sysctls = tuned.profile("'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 600 }");
    run(&["plan", "--profile", &sysctls]).exits(Exit::No);
    let none = run(&["apply", "--profile", &sysctls, "--json"]).exits(Exit::Failure);
    let json = none.json("quell.apply/1");
    assert_eq!(
        rows(&json["skipped"]),
        ["iso.hung timeout_secs failed", "mem.swap swappiness failed"],
        "{none}"
    );
    assert!(json["skipped"][0]["reason"].as_str().unwrap().contains("Read-only file system"), "{none}");
    assert!(!tuned.state().exists(), "nothing done is nothing to record");
    let mixed =
        tuned.toml("mixed.toml", "[knobs]\n'mem.swap' = { swappiness = 10 }\n'iso.wq' = { cpus = '0' }");
    run(&["apply", "--atomic", "--profile", &mixed])
        .exits(Exit::Refused)
        .says_one_line(&["mem.swap", "--atomic"]);
    assert!(tuned.host.snapshot() == before);
    let partly = run(&["apply", "--profile", &mixed]).exits(Exit::Partly);
    assert!(partly.stdout.contains("Read-only file system"), "{partly}");
    assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL);
    tuned.run(["rollback"]).succeeds();
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn originals_wait_while_the_kernel_is_read_only() {
    if !may_mount() {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    tuned.swappiness(10).succeeds();
    let knobs = tuned.host.path().join("proc/sys");
    let mount = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", knobs.display());
    let failed = among(&tuned.command(["rollback"]), &mount).run().exits(Exit::Failure);
    assert!(failed.stdout.contains("mounted read-only"), "{failed}");
    tuned.run(["rollback"]).succeeds();
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn looking_beside_an_apply_never_fails() {
    let tuned = Tuned::small();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for value in [10, 20, 10, 20, 10, 20] {
                tuned.swappiness(value).succeeds();
            }
        });
        while !writer.is_finished() {
            for words in [&["plan", "--profile", "balanced"][..], &["drift"], &["history"]] {
                let look = tuned.run(words.iter().copied());
                assert!(matches!(look.code, Some(0 | 3 | 10)), "{look}");
            }
        }
    });
}
