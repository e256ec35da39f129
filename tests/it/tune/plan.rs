//! A plan changes nothing, needs few rights, and is what an apply then does.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use report::Exit;

use super::{HOSTS, SWAPPINESS, Tuned};
use crate::harness::{Quell, golden, require, require_root};

#[test]
fn a_plan_says_whether_something_would_change() {
    let tuned = Tuned::small();
    let check = |knobs: &str, exit| tuned.run(["plan", "--profile", &tuned.profile(knobs)]).exits(exit);
    check("'mem.swap' = { swappiness = 10 }", Exit::Pending);
    check("'mem.swap' = { swappiness = 60 }", Exit::Yes); // as it is
    check("", Exit::Yes);
    check("'cpu.gov' = { governor = 'performance' }", Exit::Yes); // not applicable in a virtual machine
    check("'mem.huge' = { 2M = { node0 = 100000 } }", Exit::No); // nothing would be changed, and nothing is as wanted
    fs::remove_file(tuned.host.path().join("proc/sys/vm/dirty_bytes")).unwrap();
    check("'mem.dirty' = { ratio = 10 }", Exit::No);
}

#[test]
fn a_plan_is_text_and_json() {
    let tuned = Tuned::small();
    let text = tuned.run(["plan", "--profile", "balanced"]).exits(Exit::Pending);
    golden("tune/plan-balanced-small.txt", &text.stdout);
    assert_eq!(text.stderr, "");
    let output = tuned.run(["plan", "--profile", "balanced", "--json"]).exits(Exit::Pending);
    golden("tune/plan-balanced-small.json", &output.stdout);
    let json = output.json("quell.plan/1");
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    for key in ["profile", "changes", "skipped", "contradictions", "dangers", "reboot_required"] {
        assert!(keys.iter().any(|have| *have == key), "{key}: {keys:?}");
    }
}

#[test]
fn contradictions_are_told_before_anything_is_written_and_can_be_seen_alone() {
    let tuned = Tuned::small();
    let dir = tuned.host.path().join("etc/sysctl.d");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("90-local.conf"), "# ours\nvm.swappiness = 60\n").unwrap();
    let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
    let told = "sysctl-line: /etc/sysctl.d/90-local.conf:2 sets /proc/sys/vm/swappiness to 60";
    let before = tuned.host.snapshot();
    let alone = tuned.run(["plan", "--contradictions", "--profile", &profile]).exits(Exit::No);
    assert!(alone.stdout.starts_with(told) && alone.stdout.lines().count() == 1, "{alone}");
    let whole = tuned.run(["plan", "--json", "--profile", &profile]).exits(Exit::Pending);
    let what = whole.json("quell.plan/1")["contradictions"][0]["what"].to_string();
    assert!(what.contains(told), "{what}");
    let text = tuned.run(["plan", "--profile", &profile]).exits(Exit::Pending);
    assert!(text.stdout.contains("Contradictions") && text.stdout.contains("sysctl-line"), "{text}");
    assert!(tuned.host.snapshot() == before);
    let kept = tuned.profile("'mem.swap' = { swappiness = 60 }");
    let none = tuned.run(["plan", "--contradictions", "--profile", &kept]).exits(Exit::Yes);
    assert_eq!(none.stdout, "no contradictions\n");
    let rule = Quell::new().args(["tune", "explain", "sysctl-line"]).run().succeeds();
    assert!(rule.stdout.contains("at the next boot"), "{rule}");
    let all = Quell::new().args(["tune", "explain", "contradictions"]).run().succeeds();
    golden("tune/contradictions.txt", &all.stdout);
}

/// Calls that change a file system, and the flags with which a file is opened to be changed.
const CHANGING: [&str; 13] = [
    "O_WRONLY",
    "O_RDWR",
    "O_CREAT",
    "O_TRUNC",
    "mkdir",
    "rmdir",
    "unlink",
    "rename",
    "link(",
    "chmod",
    "chown",
    "truncate",
    "fallocate",
];
const TRACED: &str = "trace=open,openat,openat2,creat,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,\
                      link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat,chown,fchown,fchownat,truncate,ftruncate,\
                      fallocate";

/// The traced calls of one command, one a line.
fn traced(quell: &Quell) -> (crate::harness::Output, String) {
    let trace = quell.folder().join("trace");
    let wrapper = ["strace", "-f", "-qq", "-e", "signal=none", "-e", TRACED, "-o", trace.to_str().unwrap()];
    let output = quell.under(wrapper).run();
    (output, fs::read_to_string(trace).unwrap())
}

fn changing(trace: &str) -> Vec<&str> {
    trace.lines().filter(|line| CHANGING.iter().any(|word| line.contains(word))).collect()
}

#[test]
fn looking_opens_nothing_for_writing() {
    if !require("strace") {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    for verb in ["plan", "verify"] {
        let (_, trace) = traced(&tuned.command([verb, "--profile", "balanced"]));
        assert!(trace.contains("sys/vm/swappiness"), "{verb}: the trace shows what was read:\n{trace}");
        assert_eq!(changing(&trace), [""; 0], "{verb}");
    }
    for verb in ["drift", "history"] {
        let (output, trace) = traced(&tuned.command([verb]));
        output.succeeds();
        assert_eq!(changing(&trace), [""; 0], "{verb}");
    }
    assert!(tuned.host.snapshot() == before);
    assert!(!tuned.state().exists(), "no state directory for a look");
    // The same look at an apply finds what it does, and at the second one, that it does nothing.
    let (output, trace) = traced(&tuned.command(["apply", "--profile", "balanced"]));
    output.succeeds();
    assert!(changing(&trace).iter().any(|line| line.contains("sys/vm/swappiness")), "{trace}");
    let (output, trace) = traced(&tuned.command(["apply", "--profile", "balanced", "--json"]));
    assert_eq!(output.succeeds().json("quell.apply/1")["writes"], 0);
    let knobs: Vec<&str> =
        changing(&trace).into_iter().filter(|line| line.contains("sys/") || line.contains("irq/")).collect();
    assert_eq!(knobs, [""; 0], "applying again");
}

/// The command for `nobody`: a copy of the binary where that user may run it.
fn as_nobody(quell: &Quell) -> Quell {
    let shared = quell.folder();
    fs::set_permissions(shared, Permissions::from_mode(0o755)).unwrap();
    let copy = shared.join("quell-for-all");
    // By another process: a file that one of our threads has open for writing cannot be run if another one forks just then.
    let copied = Command::new("install").args(["-m", "755", env!("CARGO_BIN_EXE_quell")]).arg(&copy).status();
    assert!(copied.unwrap().success());
    let script =
        format!("shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups {} \"$@\"", copy.display());
    quell.under(["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()])
}

#[test]
fn a_plan_needs_no_rights_where_files_are_readable() {
    if !(require_root() && require("setpriv")) {
        return;
    }
    let _turn = super::kernel::turn();
    let quell = Quell::new().cwd("/");
    let plan = ["tune", "plan", "--profile", "balanced", "--json"];
    let (root, nobody) = (quell.args(plan).run(), as_nobody(&quell).args(plan).run());
    assert_eq!(nobody.code, root.code, "{nobody}");
    assert_eq!(nobody.json("quell.plan/1")["changes"], root.json("quell.plan/1")["changes"]);
    let state = quell.folder().join("state");
    let apply = ["tune", "apply", "--profile", "balanced", "--state-dir", state.to_str().unwrap()];
    let refused = as_nobody(&quell).args(apply).run().exits(Exit::Permission);
    refused.says_one_line(&["/proc/sys/", "run it as root"]);
    assert!(!state.exists());
}

#[test]
fn what_cannot_be_read_is_named() {
    if !(require_root() && require("setpriv")) {
        return;
    }
    let tuned = Tuned::small();
    fs::set_permissions(tuned.host.path(), Permissions::from_mode(0o755)).unwrap();
    let secret = tuned.host.path().join(&SWAPPINESS[1..]);
    fs::set_permissions(secret, Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(tuned.quell.folder(), Permissions::from_mode(0o755)).unwrap();
    let command = tuned.command(["plan", "--profile", "observe", "--json"]);
    as_nobody(&command).run().succeeds();
    let profile = tuned.profile("'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 600 }");
    let output =
        as_nobody(&tuned.command(["plan", "--profile", &profile, "--json"])).run().exits(Exit::Pending);
    let json = output.json("quell.plan/1");
    assert_eq!(json["changes"].as_array().unwrap().len(), 1, "{output}");
    assert_eq!(json["skipped"][0]["knob"], "mem.swap");
    assert!(json["skipped"][0]["reason"].as_str().unwrap().contains("Permission denied"), "{output}");
    let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
    as_nobody(&tuned.command(["plan", "--profile", &profile])).run().exits(Exit::No);
}

/// A tree's files, with what differs between a kernel and plain files taken out: which word is in brackets.
fn meaning(files: Vec<(String, String)>) -> BTreeMap<String, String> {
    let current = |text: String| {
        let bracketed = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        bracketed.map_or(text.trim().to_owned(), |(word, _)| word.to_owned())
    };
    files.into_iter().map(|(path, text)| (path, current(text))).collect()
}

const BY_THE_KERNEL: [&str; 3] = [
    "/proc/sys/vm/dirty_background_bytes",
    "/proc/sys/vm/dirty_bytes",
    "/sys/devices/virtual/workqueue/cpumask_requested",
];

#[test]
fn a_script_does_what_an_apply_does() {
    for name in HOSTS {
        let (applied, scripted) = (Tuned::new(name), Tuned::new(name));
        applied.run(["apply", "--profile", "balanced"]).succeeds();
        let script = scripted.run(["plan", "--profile", "balanced", "--script"]).exits(Exit::Pending).stdout;
        // The script names the machine's own paths; here they are the tree's.
        let root = scripted.host.path().display();
        let script = script.replace("> /proc/", &format!("> {root}/proc/"));
        let script = script.replace("> /sys/", &format!("> {root}/sys/"));
        let file = scripted.quell.file("plan.sh", &script);
        let sh = |words: &[&str]| Command::new("sh").args(words).arg(&file).status().unwrap().success();
        assert!(sh(&["-n"]), "{name}: {script}");
        assert!(sh(&["-e"]), "{name}: {script}");
        let (scripted, mut applied) = (meaning(scripted.host.snapshot()), meaning(applied.host.snapshot()));
        // What the kernel does itself when its neighbour is written, and plain files do not.
        for path in BY_THE_KERNEL {
            applied.extend(scripted.get_key_value(path).map(|(path, text)| (path.clone(), text.clone())));
        }
        let differs = |(path, text): &(&String, &String)| applied.get(*path) != Some(text);
        assert_eq!(scripted.iter().filter(differs).collect::<Vec<_>>(), [], "{name}: {script}");
        assert_eq!(scripted.len(), applied.len());
    }
}

#[test]
fn a_plan_is_what_an_apply_does() {
    for name in HOSTS {
        let tuned = Tuned::new(name);
        let before = tuned.host.snapshot();
        let plan =
            tuned.run(["plan", "--profile", "balanced", "--json"]).exits(Exit::Pending).json("quell.plan/1");
        let apply = tuned.run(["apply", "--profile", "balanced", "--json"]).succeeds().json("quell.apply/1");
        let values = |list: &serde_json::Value| -> Vec<String> {
            let rows = list.as_array().unwrap().iter();
            rows.map(|row| format!("{} {} {} {}", row["knob"], row["identity"], row["from"], row["to"]))
                .collect()
        };
        assert_eq!(values(&plan["changes"]), values(&apply["changes"]), "{name}");
        tuned.run(["plan", "--profile", "balanced"]).exits(Exit::Yes);
        tuned.run(["rollback"]).succeeds();
        assert!(tuned.host.snapshot() == before, "{name}");
    }
}
