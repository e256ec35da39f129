//! There and back on captured hosts: what each verb answers, and that originals come back.

use std::fs;

use nix::fcntl::{Flock, FlockArg};
use report::Exit;

use super::{HUNG, ORIGINAL, SMALL, SWAPPINESS, Tuned, among, rows};
use crate::harness::{Output, Quell, require, require_root};

#[test]
fn a_profile_there_and_back() {
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    tuned.run(["verify", "--profile", "balanced"]).exits(Exit::No);
    let applied = tuned.run(["apply", "--profile", "balanced"]).succeeds();
    let way_back = applied.stdout.split_once("to take it back: ").expect("the way back").1;
    assert_eq!(
        way_back.split_whitespace().collect::<Vec<_>>().join(" "),
        format!(
            "quell tune rollback --state-dir {} --root {}",
            tuned.state().display(),
            tuned.host.path().display()
        )
    );
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n");
    tuned.run(["verify", "--profile", "balanced"]).succeeds();
    tuned.run(["drift"]).succeeds();
    let again = tuned.run(["apply", "--profile", "balanced", "--json"]).succeeds().json("quell.apply/1");
    assert_eq!((&again["writes"], &again["result"]), (&0.into(), &"unchanged".into()));
    tuned.run(["rollback"]).succeeds();
    assert!(tuned.host.snapshot() == before);
    let nothing = tuned.run(["rollback", "--json"]).succeeds().json("quell.rollback/1");
    assert_eq!((&nothing["writes"], &nothing["result"]), (&0.into(), &"unchanged".into()));
    tuned.run(["drift"]).succeeds();
}

#[test]
fn a_trading_window_keeps_what_it_does_not_allow_and_never_a_roll_back() {
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    let always = "[[trading]]\nname = 'always'\ndays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']\nfrom = '00:00'\n\
                  to = '00:00'\nzone = 'UTC'\nallow = ['harmless']\n";
    let policy = tuned.quell.file("policy.toml", always).display().to_string();
    let harmless = tuned.toml("harmless.toml", "[knobs]\n'mem.swap' = { swappiness = 10 }");
    let stalls = tuned
        .toml("stalls.toml", "[knobs]\n'mem.swap' = { swappiness = 20 }\n'mem.thp' = { enabled = 'never' }");
    let apply = |profile: &str| tuned.run(["apply", "--profile", profile, "--policy-file", &policy]);
    let refused = apply(&stalls).exits(Exit::Refused);
    let told = "trading window always is open until ";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    assert!(refused.stderr.contains("and allows harmless, not mem.thp (stall)"), "{}", refused.stderr);
    assert!(tuned.host.snapshot() == before, "nothing was written, the harmless part neither");
    apply(&harmless).succeeds();
    tuned.run(["apply", "--profile", &stalls, "--policy-file", &policy, "--in-session"]).succeeds();
    tuned.run(["rollback", "--to", "baseline", "--policy-file", &policy]).succeeds();
    assert!(tuned.host.snapshot() == before);
    let broken = tuned.quell.file("broken.toml", "[[trading]]\nname = 'x'\n").display().to_string();
    let unread = tuned.run(["apply", "--profile", &harmless, "--policy-file", &broken]).exits(Exit::Usage);
    assert!(unread.stderr.contains("days is missing"), "{}", unread.stderr);
}

#[test]
fn history_tells_newest_first() {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    tuned.run(["rollback"]).succeeds();
    let json = tuned.run(["history", "--json"]).succeeds().json("quell.history/1");
    let seen: Vec<String> = json["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {} {}", one["id"], one["verb"], one["result"], one["undone"]))
        .collect();
    assert_eq!(seen, [r#""2" "rollback" "restored" false"#, r#""1" "apply" "applied" true"#]);
}

#[test]
fn a_step_back_or_all_the_way() {
    let tuned = Tuned::small();
    for value in [10, 20, 30] {
        tuned.swappiness(value).succeeds();
    }
    let go = |words: &[&str], expected: &str| {
        let output = tuned.run(["rollback"].iter().chain(words).copied()).succeeds();
        assert_eq!(tuned.host.read(SWAPPINESS), format!("{expected}\n"), "{words:?}");
        output
    };
    let step = go(&[], "20");
    assert!(step.stderr.contains("transaction 2 is still in effect (2 in all)"), "{step}");
    assert!(step.stderr.contains("--to baseline"), "{step}");
    go(&["--to", "1"], "10");
    assert_eq!(go(&["--to", "baseline"], "60").stderr, "");
    tuned
        .run(["rollback", "--to", "99"])
        .exits(Exit::Usage)
        .says_one_line(&["no transaction 99", "there are 1, 2"]);
    tuned
        .run(["rollback", "--to", "sideways"])
        .exits(Exit::Usage)
        .says_one_line(&["--to sideways", "baseline"]);
    let fresh = Tuned::small();
    fresh.run(["rollback", "--to", "1"]).exits(Exit::Usage).says_one_line(&["there is none"]);
    fresh.run(["rollback"]).succeeds();
    assert!(!fresh.state().exists(), "nothing to go back to is nothing to lock");
}

#[test]
fn what_somebody_else_set_stays_until_forced() {
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    tuned.apply("'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 600 }").succeeds();
    tuned.host.write(SWAPPINESS, "42\n");
    let drift = tuned.run(["drift", "--json"]).exits(Exit::No).json("quell.drift/1");
    assert_eq!(rows(&drift["drifted"]), ["mem.swap swappiness drifted"]);
    let back = tuned.run(["rollback"]).exits(Exit::Partly);
    assert!(back.stdout.contains("somebody set it to 42 since"), "{back}");
    assert!(back.stdout.contains("--force"), "{back}");
    assert_eq!((tuned.host.read(SWAPPINESS).as_str(), tuned.host.read(HUNG).as_str()), ("42\n", "120\n"));
    tuned.run(["drift"]).succeeds(); // nothing of ours stands, and what stands is its owner's
    // What the message told to do: it restores, whatever way back is taken.
    tuned.run(["rollback", "--force"]).succeeds();
    assert!(tuned.host.snapshot() == before);
    tuned.run(["rollback", "--to", "baseline"]).succeeds();
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn only_foreign_values_are_a_failed_rollback() {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    tuned.swappiness(20).succeeds();
    tuned.host.write(SWAPPINESS, "42\n");
    tuned.run(["rollback"]).exits(Exit::Failure);
    assert_eq!(tuned.host.read(SWAPPINESS), "42\n");
    tuned.run(["rollback", "--force"]).succeeds();
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n", "one step, as asked");
    tuned.run(["drift"]).succeeds();
    tuned.run(["rollback"]).succeeds();
    assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL);
    for force in ["--force", "--json"] {
        tuned.run(["rollback", "--to", "baseline", force]).succeeds();
        assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL, "no value of ours is left to pass for an original");
    }
}

#[test]
fn a_foreign_value_that_was_applied_over_is_a_step_of_its_own() {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    tuned.host.write(SWAPPINESS, "42\n");
    tuned.swappiness(10).succeeds();
    tuned.run(["rollback"]).succeeds();
    assert_eq!(tuned.host.read(SWAPPINESS), "42\n");
    tuned.run(["rollback"]).exits(Exit::Failure); // 42 is not ours to take away
    tuned.run(["rollback", "--force"]).succeeds();
    assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL);
}

const BOTH: &str = "'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 600 }";

/// The command with a real attribute in one knob's place, which refuses the 600 that the profile wants there: the kernel
/// knows three kinds of overcommitting memory.
fn refusing(tuned: &Tuned, quell: &Quell) -> Quell {
    let file = tuned.host.path().join(&HUNG[1..]);
    among(quell, &format!("mount --bind /proc/sys/vm/overcommit_memory {}", file.display()))
}

#[test]
fn a_refused_write_is_a_row_and_atomic_takes_the_rest_back() {
    if !(require_root() && require("unshare")) {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    let profile = tuned.profile(BOTH);
    let apply = |words: &[&str]| -> Output {
        let words = ["apply", "--json", "--profile", &profile].into_iter().chain(words.iter().copied());
        refusing(&tuned, &tuned.command(words)).run()
    };
    let undone = apply(&["--atomic"]).exits(Exit::RolledBack).json("quell.apply/1");
    assert_eq!(undone["result"], "undone");
    assert!(tuned.host.snapshot() == before);
    let partly = apply(&[]).exits(Exit::Partly).json("quell.apply/1");
    assert_eq!(rows(&partly["changes"]), ["iso.hung timeout_secs failed", "mem.swap swappiness ok"]);
    assert!(partly["changes"][1]["reason"].as_str().unwrap().contains("Invalid argument"), "{partly}");
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n");
    tuned.run(["rollback"]).succeeds();
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn a_step_back_passes_over_what_came_to_nothing() {
    if !(require_root() && require("unshare")) {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    tuned.apply("'mem.swap' = { swappiness = 10 }\n'mem.thp' = { defrag = 'madvise' }").succeeds();
    let profile = tuned.profile("'iso.hung' = { timeout_secs = 600 }");
    refusing(&tuned, &tuned.command(["apply", "--profile", &profile])).run().exits(Exit::Failure);
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n");
    tuned.run(["drift"]).succeeds();
    tuned.run(["rollback"]).succeeds();
    assert!(tuned.host.snapshot() == before, "the last apply that is in effect was undone");
}

/// The command with every write to one knob failing.
fn failing(quell: &Quell, tuned: &Tuned, path: &str) -> Quell {
    let (file, trace) = (tuned.host.path().join(&path[1..]), tuned.quell.folder().join("trace"));
    let words = ["strace", "-f", "-qq", "-e", "trace=write", "-P", file.to_str().unwrap()];
    let inject = ["-e", "inject=write:error=EIO", "-o", trace.to_str().unwrap()];
    quell.under(words.into_iter().chain(inject))
}

#[test]
fn what_could_not_be_put_back_is_tried_again() {
    if !require("strace") {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    tuned.apply(BOTH).succeeds();
    failing(&tuned.command(["rollback"]), &tuned, HUNG).run().exits(Exit::Partly);
    tuned.run(["rollback"]).succeeds();
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn another_engine_at_work_is_named() {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    let lock = fs::OpenOptions::new().write(true).truncate(true).open(tuned.state().join("lock")).unwrap();
    let held = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    fs::write(tuned.state().join("lock"), "4711").unwrap();
    tuned.swappiness(20).exits(Exit::Busy).says_one_line(&["process 4711", "lock"]);
    tuned.run(["rollback"]).exits(Exit::Busy).says_one_line(&["process 4711"]);
    for look in [
        &["drift"][..],
        &["history"],
        &["plan", "--profile", "observe"],
        &["verify", "--profile", "balanced"],
    ] {
        assert_ne!(tuned.run(look.iter().copied()).code, Some(9), "looking needs no lock: {look:?}");
    }
    drop(held);
    tuned.swappiness(20).succeeds();
}

#[test]
fn one_knob_is_explained_and_all_are_listed() {
    let list = Quell::new().args(["tune", "explain"]).run().succeeds();
    for knob in ["mem.swap", "mem.huge", "irq.aff", "cpu.qos", "iso.cpuset2"] {
        assert!(list.stdout.lines().any(|line| line.starts_with(knob)), "{list}");
        let one = Quell::new().args(["tune", "explain", knob]).run().succeeds();
        for word in ["source", "effect", "undo", "changes", "files"] {
            assert!(one.stdout.contains(&format!("\n  {word:<8} ")), "{word}: {one}");
        }
    }
    let unknown = Quell::new().args(["tune", "explain", "mem.swp"]).run().exits(Exit::Usage);
    unknown.says_one_line(&["mem.swp", "did you mean mem.swap?"]);
}

#[test]
fn the_page_of_knobs_is_what_the_registry_says() {
    let told = Quell::new().args(["tune", "explain", "--markdown"]).run().succeeds().stdout;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/knobs.md");
    if std::env::var_os("QUELL_BLESS").is_some() {
        fs::write(page, &told).unwrap();
    }
    let remedy = "cargo run -q -- tune explain --markdown > docs/knobs.md";
    assert!(fs::read_to_string(page).unwrap() == told, "docs/knobs.md is of another registry ({remedy})");
}

#[test]
fn the_registry_is_a_document_too() {
    let all = Quell::new().args(["tune", "explain", "--json"]).run().succeeds().json("quell.explain/1");
    let knobs = all["knobs"].as_array().unwrap();
    let listed = Quell::new().args(["tune", "explain"]).run().succeeds().stdout;
    assert_eq!(knobs.len(), listed.lines().count());
    for knob in knobs {
        let id = knob["id"].as_str().unwrap();
        let one =
            Quell::new().args(["tune", "explain", id, "--json"]).run().succeeds().json("quell.explain/1");
        assert_eq!(one["knobs"], serde_json::json!([knob]));
        for key in ["group", "doc", "source", "needs", "when", "blast", "absence", "effect", "undo"] {
            assert!(knob[key].as_str().is_some_and(|text| !text.is_empty()), "{id} {key}");
        }
    }
}

/// Everything a process can be doing when it is killed, by the call it is about to make; the engine's own crash tests
/// enumerate every call, these show that the command adds nothing that could not be killed.
#[test]
fn a_killed_apply_is_named_and_undone() {
    if !(require_root() && require("strace")) {
        return;
    }
    let (mut killed, mut named) = (0, 0);
    let knobs = [Some(SWAPPINESS), Some(HUNG)].map(|path| ("write", path));
    let calls = ["openat2", "openat", "write", "fdatasync", "fallocate", "ftruncate", "exit_group"];
    for (call, path) in calls.map(|call| (call, None)).into_iter().chain(knobs) {
        for when in [1, 2, 3, 5, 8, 13, 21, 34] {
            let tuned = Tuned::small();
            let before = tuned.host.snapshot();
            let profile = tuned.profile(BOTH);
            let trace = tuned.quell.folder().join("trace");
            let inject = format!("inject={call}:signal=KILL:when={when}");
            let words = ["strace", "-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o"];
            let file = path.map(|path| tuned.host.path().join(&path[1..]).display().to_string());
            let only = file.iter().flat_map(|file| ["-P", file]);
            let command = tuned.command(["apply", "--profile", &profile]);
            let output = command.under(words.into_iter().chain([trace.to_str().unwrap()]).chain(only)).run();
            if output.code == Some(0) {
                break; // it makes fewer calls than that
            }
            killed += 1;
            let drift = tuned.run(["drift"]);
            let touched = tuned.host.snapshot() != before;
            if drift.code == Some(3) {
                assert!(drift.stderr.contains("transaction 1 has not ended"), "{call} {when}: {drift}");
                named += 1;
            }
            let ended = tuned.run(["history"]).stdout.contains("applied");
            assert!(
                !touched || ended || drift.code == Some(3),
                "{call} {when}: changed and not named\n{drift}"
            );
            if when % 2 == 0 {
                // Applying again goes on from there, and leaves nothing in doubt.
                tuned.run(["apply", "--profile", &profile]).succeeds();
                tuned.run(["drift"]).succeeds();
            }
            tuned.run(["rollback", "--to", "baseline"]).succeeds();
            assert!(tuned.host.snapshot() == before, "{SMALL}: {call} {when}");
        }
    }
    assert!(killed >= 16 && named >= 4, "{killed} killed, {named} of them inside a transaction");
}
