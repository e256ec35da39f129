//! What users of existing tuners ask for or suffer most, each as a test named after it: the seventeen that come up again
//! and again in the trackers of TuneD, the node tuning operator, irqbalance, tuna and perftune.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use report::Exit;
use serde_json::Value;

use super::boot::bootable;
use super::{HOSTS, HUNG, ORIGINAL, SMALL, SWAPPINESS, Tuned, rows};
use crate::harness::require;

/// Linux 6.12 with cgroup v2, two memory nodes, and interrupts that belong to their drivers.
const LARGE: &str = HOSTS[1];

const TWO: &str = "'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 600 }";

fn list<'v>(json: &'v Value, name: &str) -> &'v Vec<Value> {
    json[name].as_array().unwrap_or_else(|| panic!("no list {name}: {json}"))
}

#[test]
fn show_the_difference_before_anything_is_written() {
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    let plan = tuned.run(["plan", "--profile", &tuned.profile(TWO), "--json"]).exits(Exit::Pending);
    let plan = plan.json("quell.plan/1");
    let shown: BTreeSet<String> = list(&plan, "changes")
        .iter()
        .map(|row| format!("{} {} {}", row["knob"], row["from"], row["to"]).replace('"', ""))
        .collect();
    assert_eq!(shown, ["iso.hung 120 600", "mem.swap 60 10"].map(str::to_owned).into());
    assert!(tuned.host.snapshot() == before && !tuned.state().exists());
}

#[test]
fn roll_back_without_a_daemon_and_after_a_crash() {
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    tuned.apply(TWO).succeeds();
    // As a kill leaves it: what was begun is on the disk, how it ended is not.
    let journal = tuned.state().join("journal");
    let text = fs::read_to_string(&journal).unwrap();
    let (begun, end) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(end.contains("\"kind\":\"end\""), "{end}");
    fs::write(&journal, format!("{begun}\n")).unwrap();
    fs::set_permissions(&journal, Permissions::from_mode(0o600)).unwrap();
    tuned.run(["rollback"]).succeeds();
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn stay_tuned_when_the_daemon_stops_or_starts_again() {
    let tuned = Tuned::small();
    let profile = tuned.profile(TWO);
    let policy = tuned.quell.file("policy.toml", &format!("profile = {profile:?}\n"));
    fs::set_permissions(policy, Permissions::from_mode(0o644)).unwrap();
    let keeper = || {
        let uid = nix::unistd::geteuid().to_string();
        let keeper = tuned.quell.program("quell-keeper").on(&tuned.host);
        keeper
            .args(["--policy", "policy.toml", "--socket", "keeper.sock", "--agent-uid", &uid])
            .start()
            .ready()
    };
    let running = keeper();
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n", "READY is said when it is tuned");
    running.stop();
    let stopped = tuned.host.snapshot();
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n");
    keeper().stop();
    assert!(tuned.host.snapshot() == stopped, "started again, it changes nothing");
}

#[test]
fn say_which_setting_fails_for_machines_too() {
    let tuned = Tuned::small();
    tuned.host.remove("/proc/sys/vm/dirty_bytes");
    let wanted = format!("{TWO}\n'mem.dirty' = {{ ratio = 5 }}");
    let applied = tuned.run(["apply", "--profile", &tuned.profile(&wanted), "--json"]).exits(Exit::Partly);
    let applied = applied.json("quell.apply/1");
    let failed: Vec<&Value> =
        list(&applied, "skipped").iter().filter(|row| row["status"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{applied}");
    assert_eq!(failed[0]["knob"], "mem.dirty");
    assert!(failed[0]["reason"].as_str().unwrap().starts_with("missing: "), "{applied}");
    assert_eq!(rows(&applied["changes"]), ["iso.hung timeout_secs ok", "mem.swap swappiness ok"]);
}

#[test]
fn absent_hardware_fails_no_verification_and_nothing_checked_passes_none() {
    let tuned = Tuned::small();
    let governor = "'cpu.gov' = { governor = 'performance' }"; // a virtual machine has no frequency control
    let both = format!("{TWO}\n{governor}");
    tuned.apply(&both).succeeds();
    let verified = tuned.run(["verify", "--profile", &tuned.profile(&both), "--json"]).succeeds();
    let verified = verified.json("quell.verify/1");
    let told: Vec<&Value> = list(&verified, "knobs").iter().filter(|row| row["knob"] == "cpu.gov").collect();
    assert!(told.iter().all(|row| row["status"] == "not-applicable"), "{verified}");
    assert!(told[0]["reason"].as_str().unwrap().contains("frequency"), "{verified}");
    let alone = tuned.run(["verify", "--profile", &tuned.profile(governor)]);
    assert_ne!(alone.code, Some(0), "nothing was checked: {alone}");
}

#[test]
fn fail_loudly_when_nothing_was_applied() {
    let tuned = Tuned::small();
    tuned
        .run(["apply", "--profile", "no-such-profile"])
        .exits(Exit::Usage)
        .says_one_line(&["no-such-profile"]);
    tuned.host.remove("/proc/sys/vm/dirty_bytes");
    let nothing = tuned.apply("'mem.dirty' = { ratio = 5 }").exits(Exit::Failure);
    assert!(nothing.stdout.contains("missing: "), "{nothing}");
}

#[test]
fn never_break_the_boot_loader() {
    let tuned = bootable();
    let others = |tuned: &Tuned| {
        let mut files = tuned.host.snapshot();
        files.retain(|(path, _)| path.starts_with("/boot/") && !path.starts_with("/boot/grub/quell/"));
        files
    };
    let (before, dir) = (others(&tuned), tuned.host.path().join("boot/grub/quell"));
    let sizes = |dir: &Path| -> Vec<u64> {
        let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        files.collect()
    };
    for knobs in
        ["'iso.skew' = { enabled = true }", "'iso.isolcpus' = { cpus = '1' }\n'iso.rcu' = { cpus = '1' }"]
    {
        tuned.apply(knobs).exits(Exit::NeedsReboot);
        assert!(others(&tuned) == before, "a file of the boot loader's was touched");
        assert!(sizes(&dir).iter().all(|size| *size == 1024), "a block is a block: {:?}", sizes(&dir));
    }
    tuned.run(["rollback", "--to", "baseline"]).succeeds();
    assert!(others(&tuned) == before);
}

#[test]
fn be_tuned_before_the_application_starts() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let keeper = fs::read_to_string(units.join("quell-keeper.service")).unwrap();
    let says = |line: &str| keeper.lines().any(|one| one == line);
    assert!(says("Type=notify"), "started is when it says that it has applied");
    let before = keeper.lines().find_map(|line| line.strip_prefix("Before=")).unwrap();
    assert!(before.split(' ').any(|unit| unit == "trading.slice"), "{before}");
    // That READY comes after the last write is shown by `stay_tuned_when_the_daemon_stops_or_starts_again`.
}

#[test]
fn apply_again_on_a_live_host_without_touching_it() {
    let tuned = Tuned::small();
    let profile = tuned.profile(TWO);
    tuned.run(["apply", "--profile", &profile]).succeeds();
    let written = |path: &str| fs::metadata(tuned.host.path().join(&path[1..])).unwrap().modified().unwrap();
    let before = [SWAPPINESS, HUNG].map(written);
    let again = tuned.run(["apply", "--profile", &profile, "--json"]).succeeds().json("quell.apply/1");
    assert_eq!((&again["writes"], &again["result"]), (&0.into(), &"unchanged".into()));
    assert!([SWAPPINESS, HUNG].map(written) == before, "not even the same value is written");
    // One of two differs: the other is left alone.
    let more = TWO.replace("600", "60");
    let other = tuned.run(["apply", "--profile", &tuned.profile(&more), "--json"]).succeeds();
    assert_eq!(other.json("quell.apply/1")["writes"], 1);
    assert!(written(SWAPPINESS) == before[0]);
}

#[test]
fn an_interrupt_that_belongs_to_its_driver_is_no_error() {
    let tuned = Tuned::new(LARGE);
    let applied = tuned.run(["apply", "--profile", &tuned.profile("'irq.aff' = { cpus = '0-1' }"), "--json"]);
    let applied = applied.succeeds().json("quell.apply/1");
    let managed = list(&applied, "skipped");
    assert!(managed.len() >= 8, "{applied}");
    assert!(managed.iter().all(|row| row["status"] == "not-applicable"), "{applied}");
    assert!(managed.iter().any(|row| row["reason"].as_str().unwrap().contains("managed")), "{applied}");
}

#[test]
fn threads_that_were_pinned_on_purpose_stay_where_they_are() {
    let tuned = Tuned::new(LARGE);
    // Three programs like the shell that was running: one anywhere, one pinned to the isolated CPU, one of the engine's
    // slice.
    let (stat, status) =
        (tuned.host.read("/proc/286/task/286/stat"), tuned.host.read("/proc/286/task/286/status"));
    for (number, cpus, group) in [(901, "0-3", "/"), (902, "3", "/"), (903, "0-3", "/trading.slice/engine")] {
        let dir = format!("/proc/{number}/task/{number}");
        tuned.host.write(&format!("{dir}/stat"), &stat.replacen("286 (", &format!("{number} ("), 1));
        let allowed = |line: &str| match line.split_once(":\t") {
            Some(("Cpus_allowed_list", _)) => format!("Cpus_allowed_list:\t{cpus}\n"),
            _ => format!("{line}\n"),
        };
        tuned.host.write(&format!("{dir}/status"), &status.lines().map(allowed).collect::<String>());
        tuned.host.write(&format!("{dir}/cgroup"), &format!("0::{group}\n"));
    }
    let profile =
        tuned.toml("tasks.toml", "[cpus]\nisolated = '3'\n[knobs]\n'iso.tasks' = { cpus = 'housekeeping' }");
    let plan = tuned.run(["plan", "--profile", &profile, "--json"]).exits(Exit::Pending).json("quell.plan/1");
    let moved: Vec<&str> = list(&plan, "changes")
        .iter()
        .filter(|row| row["attribute"] == "cpus")
        .filter_map(|row| row["identity"].as_str()?.split('@').next())
        .collect();
    assert!(moved.contains(&"901"), "{plan}");
    assert!(!moved.contains(&"902") && !moved.contains(&"903"), "{plan}");
}

#[test]
fn isolate_cpus_for_one_application_at_run_time() {
    let tuned = Tuned::new(LARGE);
    let knobs = "'iso.cpuset2' = { group = 'trading', cpus = '2-3', partition = 'isolated' }";
    tuned.host.write("/sys/fs/cgroup/cgroup.subtree_control", "cpuset cpu\n");
    let plan = tuned.run(["plan", "--profile", &tuned.profile(knobs), "--json"]).exits(Exit::Pending);
    let plan = plan.json("quell.plan/1");
    assert_eq!(plan["reboot_required"], false);
    assert!(
        list(&plan, "changes").iter().any(|row| row["knob"] == "iso.cpuset2" && row["to"] == "2-3"),
        "{plan}"
    );
    // Where the kernel has the older cpusets, it says which knob is for those.
    let older = Tuned::small();
    let plan =
        older.run(["plan", "--profile", &older.profile(knobs), "--json"]).succeeds().json("quell.plan/1");
    assert!(list(&plan, "skipped")[0]["reason"].as_str().unwrap().contains("iso.cpuset1"), "{plan}");
}

#[test]
fn what_another_owner_set_is_not_overwritten() {
    let tuned = Tuned::small();
    tuned.apply(TWO).succeeds();
    tuned.host.write(SWAPPINESS, "42\n");
    let back = tuned.run(["rollback"]).exits(Exit::Partly);
    assert!(back.stdout.contains("somebody set it to 42 since"), "{back}");
    assert_eq!(tuned.host.read(SWAPPINESS), "42\n");
}

#[test]
fn no_interpreter_no_bus_no_helper_programs() {
    if !require("strace") {
        return;
    }
    let tuned = Tuned::small();
    let profile = tuned.profile(TWO);
    let log = tuned.quell.folder().join("strace.log");
    let log = log.to_str().unwrap();
    let strace = ["strace", "-f", "-qq", "-o", log, "-e", "trace=execve,execveat,connect,socket"];
    tuned.command(["apply", "--profile", &profile]).under(strace).run().succeeds();
    let calls = fs::read_to_string(log).unwrap();
    let started = calls.lines().filter(|line| line.contains("exec")).count();
    assert_eq!(started, 1, "it runs itself and nothing else:\n{calls}");
    assert!(!calls.contains("socket("), "and speaks with nobody:\n{calls}");
}

#[test]
fn a_renumbered_interrupt_is_found_again() {
    let tuned = Tuned::small();
    tuned.apply("'irq.aff' = { cpus = '0' }").succeeds();
    for dir in ["proc/irq", "sys/kernel/irq"] {
        let dir = tuned.host.path().join(dir);
        fs::rename(dir.join("41"), dir.join("55")).unwrap();
    }
    tuned.run(["rollback"]).succeeds();
    assert_eq!(tuned.host.read("/proc/irq/55/smp_affinity_list"), "0-1\n");
}

#[test]
fn a_limit_on_idle_states_does_not_flap() {
    let tuned = Tuned::small();
    let profile = tuned.profile("'cpu.qos' = { cpus = '1', latency_us = 0 }");
    tuned.run(["apply", "--profile", &profile]).succeeds();
    let path = "/sys/devices/system/cpu/cpu1/power/pm_qos_resume_latency_us";
    assert_eq!(tuned.host.read(path), "n/a\n", "the kernel's 0 is no limit");
    let at = |path: &str| fs::metadata(tuned.host.path().join(&path[1..])).unwrap().modified().unwrap();
    let set = at(path);
    for verb in ["verify", "apply", "verify"] {
        tuned.run([verb, "--profile", &profile]).succeeds();
    }
    tuned.run(["drift"]).succeeds();
    assert!(at(path) == set && tuned.host.read(path) == "n/a\n", "set once, and by nobody's clock again");
}

#[test]
fn no_default_works_against_itself() {
    for host in HOSTS {
        let tuned = Tuned::new(host);
        for profile in ["observe", "balanced", "colo", "colo-rt"] {
            let plan = tuned.run(["plan", "--profile", profile, "--json"]).json("quell.plan/1");
            // A program that spins on the captured machine is that machine's, whatever the profile says.
            let of_host = |row: &&Value| row["what"].as_str().unwrap().starts_with("throttled-spinner: ");
            let of_profile = list(&plan, "contradictions").iter().filter(|row| !of_host(row)).count();
            assert_eq!(of_profile, 0, "{host} {profile}: {plan}");
        }
    }
    // Interrupts on the CPUs that the same profile keeps free are told before anything is written.
    let tuned = Tuned::new(SMALL);
    let text =
        "[cpus]\nisolated = '1'\n[knobs]\n'irq.default' = { cpus = '0-1' }\n'mem.swap' = { swappiness = 10 }";
    let profile = tuned.toml("against.toml", text);
    let plan = tuned.run(["plan", "--profile", &profile, "--json"]).json("quell.plan/1");
    assert!(list(&plan, "contradictions")[0].to_string().contains("CPU 1"), "{plan}");
    assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL);
}
