//! The machine the tests run on, with the rights they run with and with none.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use host::tasks::Pid;
use host::{Root, cgroups, process, tasks};

use crate::facts;

/// A fact is told, or the kernel lacks the file, or the right to read it is missing: nothing else happens here.
#[test]
fn every_reader_answers_on_this_machine() {
    let facts = facts::all(&Root::system());
    for (key, fact) in &facts {
        if let Err(error) = fact {
            assert!(error.is_absent() || error.is_permission(), "{key}: {error}");
        }
    }
    for key in ["boot", "cpus", "memory", "stat", "tasks.own", "process.memory", "rt", "irqs.counts"] {
        assert!(facts[key].is_ok(), "{key}: {:?}", facts[key]);
    }
}

/// The test above once more, as a user without any right.
#[test]
fn every_reader_answers_without_rights() {
    if !nix::unistd::Uid::effective().is_root() {
        return; // the test above ran without rights already
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("tests"); // the build directory may be closed to others
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let answer = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .arg(&copy)
        .args(["--exact", "live::every_reader_answers_on_this_machine"])
        .current_dir("/")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&answer.stdout);
    assert!(answer.status.success() && output.contains("1 passed"), "{output}{answer:?}");
}

#[test]
fn this_process_has_a_number_too() {
    let root = Root::system();
    let pid = Pid(std::process::id());
    assert_eq!(cgroups::of(&root, pid).unwrap(), cgroups::own(&root).unwrap());
    assert_eq!(
        process::Memory::of(&root, pid).unwrap().text_bytes,
        process::Memory::own(&root).unwrap().text_bytes
    );
    assert!(tasks::of(&root, pid).unwrap().iter().any(|task| task.stat.tid == pid));
    assert!(tasks::of(&root, Pid(u32::MAX)).unwrap_err().is_absent());
}
