//! What the engine does, on machines of plain files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};
use sys_tuning::{
    Agreement, Applied, ApplyOptions, Engine, Error, Outcome, Plan, Profile, RollbackOptions, RollbackTo,
    RolledBack, Status, Verified, What, script,
};

use crate::tree::{Machine, PROFILE};

const NOW: ApplyOptions = ApplyOptions { at: 1_790_000_000, ..ApplyOptions::PLAIN };
const SWAPPINESS: &str = "/proc/sys/vm/swappiness";

fn profile(text: &str) -> Result<Profile, Error> {
    Profile::parse("test.toml", &format!("schema = \"quell.profile/1\"\n{text}"))
}

fn plan(engine: &Engine, text: &str) -> Result<Plan, Error> {
    engine.plan(&profile(text)?)
}

fn apply(engine: &Engine, text: &str) -> Result<Applied, Error> {
    engine.apply(&plan(engine, text)?, &NOW)
}

fn apply_everything(engine: &Engine) -> Applied {
    engine.apply(&engine.plan(&Profile::parse("test.toml", PROFILE).unwrap()).unwrap(), &NOW).unwrap()
}

fn back(engine: &Engine, to: RollbackTo, force: bool) -> Result<RolledBack, Error> {
    engine.rollback(&RollbackOptions { to, force, at: 1_790_000_001 })
}

/// Words for what became of each cell, for tables.
fn restored(back: &RolledBack) -> String {
    let row =
        |change: &sys_tuning::Restored| format!("{} {} {}", change.knob, change.attribute, change.status);
    back.changes.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn verified(verified: &Verified) -> String {
    let row = |knob: &sys_tuning::Verifying| {
        let name = [knob.knob, &knob.attribute, &knob.identity].join(" ");
        format!("{}: {} {}", name.trim_end(), knob.status, knob.reason).trim_end().to_owned()
    };
    verified.knobs.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn count(applied: &Applied, status: Status) -> usize {
    applied.changes.iter().filter(|change| change.status == status).count()
}

#[test]
fn a_whole_profile_there_and_back() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    let applied = apply_everything(&engine);
    assert_eq!((applied.result, applied.id, applied.changes.len()), (Outcome::Done, Some(1), 17));
    assert_eq!((count(&applied, Status::Ok), count(&applied, Status::Pending)), (16, 1));
    assert_eq!(machine.get(SWAPPINESS), "10\n");
    assert_eq!(machine.get("/proc/sys/vm/dirty_ratio"), "0\n", "the kernel zeroes the other member");
    assert_eq!(machine.get("/proc/sys/vm/dirty_bytes"), "104857600\n");
    assert_eq!(machine.get("/proc/sys/vm/dirty_background_ratio"), "3\n");
    assert_eq!(machine.get("/sys/kernel/mm/transparent_hugepage/enabled"), "always madvise [never]\n");
    assert_eq!(machine.get("/proc/irq/default_smp_affinity"), "1\n");
    assert_eq!(machine.get("/proc/irq/41/smp_affinity_list"), "0\n");
    assert_eq!(machine.get("/sys/devices/system/cpu/cpu1/power/pm_qos_resume_latency_us"), "n/a\n");
    let rolled_back = back(&engine, RollbackTo::Last, false).unwrap();
    assert_eq!((rolled_back.result, rolled_back.undone.as_slice()), (Outcome::Done, &[1][..]));
    assert!(machine.snapshot() == before, "{}", restored(&rolled_back));
    assert!(back(&engine, RollbackTo::Last, false).unwrap().changes.is_empty(), "nothing is left to undo");
}

#[test]
fn applying_again_writes_nothing() {
    let machine = Machine::new();
    apply_everything(&machine.engine());
    let journal = fs::read(machine.state().join("journal")).unwrap();
    let engine = machine.engine();
    let again = apply_everything(&engine);
    assert_eq!((again.result, again.id, again.changes.len()), (Outcome::Done, None, 0));
    assert_eq!((again.satisfied, engine.root().write_count()), (18, 0));
    assert_eq!(fs::read(machine.state().join("journal")).unwrap(), journal, "not even a record");
}

#[test]
fn another_profile_changes_only_the_difference() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 600 }").unwrap();
    let before = engine.root().write_count();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 60 }").unwrap();
    assert_eq!(engine.root().write_count() - before, 1);
}

#[test]
fn what_somebody_else_set_stays() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply_everything(&engine);
    machine.put(SWAPPINESS, "42\n");
    for _ in 0..2 {
        let rolled_back = back(&engine, RollbackTo::Baseline, false).unwrap();
        assert_eq!(rolled_back.changes.iter().filter(|change| change.status == Status::Foreign).count(), 1);
        assert_eq!(machine.get(SWAPPINESS), "42\n", "42 stays 42");
    }
    let forced = back(&engine, RollbackTo::Baseline, true).unwrap();
    assert_eq!((forced.result, machine.get(SWAPPINESS).as_str()), (Outcome::Done, "60\n"));
}

#[test]
fn a_value_that_came_back_by_itself_is_left_at_that() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    apply_everything(&engine);
    machine.put(SWAPPINESS, "60\n");
    let rolled_back = back(&engine, RollbackTo::Baseline, false).unwrap();
    assert_eq!(rolled_back.result, Outcome::Done);
    assert!(machine.snapshot() == before);
}

#[test]
fn going_back_one_step_or_to_a_transaction_or_to_the_beginning() {
    let machine = Machine::new();
    let engine = machine.engine();
    let set = |value| {
        apply(&engine, &format!("[knobs]\n'mem.swap' = {{ swappiness = {value} }}")).unwrap().id.unwrap()
    };
    let (first, _, _) = (set(10), set(20), set(30));
    let go = |to, expected: &str| {
        back(&engine, to, false).unwrap();
        assert_eq!(machine.get(SWAPPINESS), expected, "{to:?}");
    };
    go(RollbackTo::Last, "20\n");
    go(RollbackTo::Id(first), "10\n");
    set(40);
    go(RollbackTo::Last, "10\n");
    go(RollbackTo::Last, "60\n");
    go(RollbackTo::Last, "60\n"); // nothing is left
    set(50);
    go(RollbackTo::Baseline, "60\n");
    let error = back(&engine, RollbackTo::Id(99), false).unwrap_err();
    assert!(matches!(error, Error::NoSuchTransaction { id: 99, .. }), "{error}");
}

#[test]
fn history_tells_what_was_done() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply_everything(&engine);
    back(&engine, RollbackTo::Last, false).unwrap();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }").unwrap();
    let history = engine.history().unwrap();
    let past: Vec<_> = history
        .transactions
        .iter()
        .map(|past| (past.id, past.what, past.changes, past.outcome, past.is_live))
        .collect();
    let done = Some(Outcome::Done);
    let expected = [
        (1, What::Apply, 17, done, false),
        (2, What::Rollback, 17, done, false),
        (3, What::Apply, 1, done, true),
    ];
    assert_eq!(past, expected);
}

#[test]
fn drift_is_noticed_in_what_was_set_and_in_what_was_found() {
    let machine = Machine::new();
    let engine = machine.engine();
    // One value is changed, the other is as wanted already; both are watched from then on.
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 120 }").unwrap();
    let drift = engine.drift().unwrap();
    assert_eq!((drift.checked, drift.drifted.len()), (2, 0));
    machine.put(SWAPPINESS, "42\n");
    machine.put("/proc/sys/kernel/hung_task_timeout_secs", "7\n");
    let drifted = engine.drift().unwrap().drifted;
    let seen: Vec<_> =
        drifted.iter().map(|one| (one.want.as_str(), one.have.as_deref().unwrap(), one.status)).collect();
    assert_eq!(seen, [("120", "7", Status::Drifted), ("10", "42", Status::Drifted)]);
}

#[test]
fn verify_tells_what_is_what() {
    let machine = Machine::new();
    let engine = machine.engine();
    let text = "[knobs]\n'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 600 }\n\
                'cpu.gov' = { governor = 'performance' }\n'mem.numa' = { balancing = 0 }";
    fs::remove_file(machine.file("/proc/sys/kernel/numa_balancing")).unwrap();
    let verify = || engine.verify(&profile(text).unwrap()).unwrap();
    assert_eq!(
        verified(&verify()),
        "cpu.gov: not-applicable the kernel has no frequency control (no cpufreq directory)\n\
         mem.swap swappiness: failed not applied\n\
         mem.numa balancing: ok this kernel does no NUMA balancing\n\
         iso.hung timeout_secs: failed not applied"
    );
    assert_eq!(verify().agreement(), Agreement::No);
    apply(&engine, text).unwrap();
    assert_eq!(verify().agreement(), Agreement::Yes);
    let swap =
        |verified: &Verified| verified.knobs.iter().find(|knob| knob.knob == "mem.swap").unwrap().clone();
    assert_eq!(swap(&verify()).owner.as_deref(), Some("quell (transaction 1)"));
    machine.put(SWAPPINESS, "42\n");
    let drifted = swap(&verify());
    assert_eq!((drifted.status, drifted.owner), (Status::Drifted, None));
    assert_eq!(drifted.reason, "was 10 when it was applied, and is 42 now");
}

#[test]
fn nothing_checked_is_not_yes() {
    let machine = Machine::new();
    let engine = machine.engine();
    let agreement = |text: &str| engine.verify(&profile(text).unwrap()).unwrap().agreement();
    assert_eq!(agreement(""), Agreement::NothingChecked);
    assert_eq!(agreement("[knobs]\n'cpu.gov' = { governor = 'performance' }"), Agreement::NothingChecked);
}

/// The plan's lists, one line each.
#[track_caller]
fn check_plan(machine: &Machine, text: &str, expected: &str) {
    let told = match plan(&machine.engine(), text) {
        Err(error) => format!("error: {error}"),
        Ok(plan) => {
            let change = |change: &sys_tuning::Change| {
                format!("{} {}: {} -> {}", change.knob, change.attribute, change.from, change.to)
            };
            let skipped = |one: &sys_tuning::Skipped| format!("{} {}: {}", one.knob, one.status, one.reason);
            let mut lines: Vec<String> = plan.changes.iter().map(change).collect();
            lines.extend(plan.skipped.iter().map(skipped));
            lines.extend(plan.contradictions.iter().map(|one| format!("{}: {}", one.rule, one.reason)));
            lines.extend(plan.dangers.iter().map(|one| format!("danger {}: {}", one.knob, one.reason)));
            lines.join("\n")
        }
    };
    assert_eq!(told, expected);
}

#[test]
fn plans() {
    let machine = Machine::new();
    let check = |text: &str, expected: &str| check_plan(&machine, text, expected);
    check("", "");
    check("[knobs]\n'mem.swap' = { swappiness = 60 }", ""); // as it is
    check("[knobs]\n'mem.swap' = { swappiness = 10 }", "mem.swap swappiness: 60 -> 10");
    check(
        "[knobs]\n'irq.default' = { cpus = '1' }",
        "irq.default cpus: 0-1 -> 1\n\
         irq-default-on-isolated: irq.default sends new interrupts to CPU 1, which the profile isolates",
    );
    check(
        "[knobs]\n'irq.default' = { cpus = '7' }",
        "error: test.toml:3: irq.default.cpus: CPU 7 does not exist; this machine has CPUs 0-1",
    );
    check(
        "[cpus]\nisolated = '5'",
        "error: test.toml:3: cpus.isolated: CPU 5 does not exist; this machine has CPUs 0-1",
    );
    check(
        "[cpus]\nisolated = '0-1'",
        "danger cpus: CPU 0-1 are isolated, which leaves no housekeeping CPU to interrupts, the kernel's work and \
         everybody else",
    );
    check(
        "[cpus]\nisolated = '0'",
        "danger cpus: CPU 0 is isolated; the kernel keeps work there that cannot be moved",
    );
    check(
        "[knobs]\n'iso.rtthrottle' = { runtime_us = 1000001 }",
        "error: test.toml:3: iso.rtthrottle.runtime_us: 1000001 us do not fit into the period of 1000000 us; the kernel \
         refuses it",
    );
    check(
        "[knobs]\n'iso.rtthrottle' = { runtime_us = -1 }",
        "iso.rtthrottle runtime_us: 950000 -> -1\n\
         danger iso.rtthrottle: without throttling, and without a fair server beside it, one spinning real-time thread can \
         take the only housekeeping CPU for \
         ever (1 housekeeping CPU, 2 wanted)",
    );
    check(
        "[knobs]\n'mem.huge' = { 2M = { node0 = 100000 } }",
        "danger mem.huge: node0: 100000 × 2M (held: 0; test.toml:3) would take 200000 MiB more; 3570 MiB are free and \
         1036 MiB of file cache can be had, 1024 MiB of them stay free (10 %, at least 1 GiB) and 128 MiB are left for \
         others, so at most 3454 MiB can be given",
    );
    check(
        "[knobs]\n'mem.huge' = { 2M = { node7 = 1 } }",
        "error: test.toml:3: mem.huge: node7 does not exist; this machine has node0",
    );
    check(
        "[knobs]\n'mem.dirty' = { ratio = 5, background_ratio = 5 }",
        "mem.dirty limit: ratio 20 -> ratio 5\n\
         mem.dirty background: bytes 268435456 -> ratio 5\n\
         dirty-background-above-limit: mem.dirty: the background limit 5 is not below the limit 5; the kernel then acts \
         as if it were half of it",
    );
    check(
        "[knobs]\n'iso.cpuset2' = { cpus = '1' }\n'cpu.gov' = { governor = 'performance' }",
        "cpu.gov not-applicable: the kernel has no frequency control (no cpufreq directory)\n\
         iso.cpuset2 not-applicable: cpusets are cgroup v1 here (/sys/fs/cgroup/cpuset): see iso.cpuset1",
    );
    check(
        "[cpus]\nisolated = ''\n[knobs]\n'cpu.qos' = { cpus = 'isolated', latency_us = 0 }",
        "cpu.qos not-applicable: there are no isolated CPUs on this machine",
    );
    check("[knobs]\n'cpu.qos' = { cpus = '1', latency_us = 'any' }", "");
    check("[knobs]\n'cpu.qos' = { cpus = '1', latency_us = 20 }", "cpu.qos latency_us: 0 -> 20");
    check(
        "[knobs]\n'cpu.qos' = { latency_us = 20 }",
        "error: test.toml:3: cpu.qos: cpus is missing; say which CPUs, as in cpus = \"isolated\"",
    );
}

#[test]
fn absence_has_three_meanings() {
    let machine = Machine::new();
    for path in
        ["/proc/sys/kernel/timer_migration", "/proc/sys/kernel/numa_balancing", "/proc/sys/vm/dirty_bytes"]
    {
        fs::remove_file(machine.file(path)).unwrap();
    }
    check_plan(
        &machine,
        "[knobs]\n'iso.timermig' = { enabled = false }\n'mem.numa' = { balancing = 0 }\n'mem.dirty' = { ratio = 5 }",
        "mem.dirty failed: missing: every kernel since 2.6.29 has it\n\
         mem.numa ok: already so: this kernel does no NUMA balancing\n\
         iso.timermig not-applicable: this kernel does not migrate timers\n\
         timers-stay-on-isolated: iso.timermig is false: timers armed on CPU 1 stay there (TuneD network-latency wants it \
         so; cluster-node-tuning-operator does not, because isolated CPUs cannot be evacuated)",
    );
}

#[test]
fn dangers_stop_an_apply_unless_accepted_or_unacceptable() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    let try_it = |text: &str, accept_dangers| {
        engine.apply(&plan(&engine, text).unwrap(), &ApplyOptions { accept_dangers, ..NOW })
    };
    let throttle = "[knobs]\n'iso.rtthrottle' = { runtime_us = -1 }";
    let error = try_it(throttle, false).unwrap_err();
    assert!(matches!(&error, Error::Refused(reasons) if reasons.len() == 1), "{error}");
    assert!(machine.snapshot() == before);
    assert!(!machine.state().exists(), "nothing was journaled either");
    assert_eq!(try_it(throttle, true).unwrap().result, Outcome::Done);
    let deadly = "[knobs]\n'mem.huge' = { 2M = { node0 = 100000 } }";
    assert!(
        matches!(try_it(deadly, true).unwrap_err(), Error::Refused(_)),
        "no flag gives away the last memory"
    );
}

#[test]
fn every_mistake_of_a_profile_at_once() {
    let text = "include = ['balancd', 'a/b.toml']\nincloude = 1\n[cpus]\nisolated = '3-1'\n[knobs]\n\
                'mem.swp' = { swappiness = 1 }\n'mem.swap' = { swappines = 1 }\n\
                'iso.hung' = { timeout_secs = '10 min' }\n'iso.vmstat' = { stat_interval = 0 }\n\
                'mem.thp' = { enabled = 'Never' }\n'mem.dirty' = { ratio = 1, bytes = 8192 }\n\
                'mem.huge' = { 2M = { nodeX = 1 } }\n'cpu.qos' = { latency_us = -1 }";
    let told = profile(text).unwrap_err().to_string();
    let expected = [
        "a/b.toml: cannot read: No such file or directory (os error 2)",
        "test.toml:2: there is no profile \"balancd\"; did you mean \"balanced\"?",
        "test.toml:3: unknown key \"incloude\"; did you mean \"include\"?",
        "test.toml:5: cpus.isolated: \"3-1\": 3-1: range runs backwards, or auto for what the kernel shows",
        "test.toml:7: unknown key \"knobs.mem.swp\"; did you mean \"mem.swap\"?",
        "test.toml:8: unknown key \"knobs.mem.swap.swappines\"; did you mean \"swappiness\"?",
        "test.toml:9: knobs.iso.hung.timeout_secs must be an integer, not a string",
        "test.toml:10: knobs.iso.vmstat.stat_interval = 0 is outside 1 to 3600",
        "test.toml:11: enabled = \"Never\": no such choice; did you mean \"never\"?",
        "test.toml:12: knobs.mem.dirty: ratio and bytes are two ways to say one thing; keep one of them",
        "test.toml:13: 2M.nodeX: \"nodeX\" is no memory node, as in node0",
        "test.toml:14: latency_us = -1 is outside 0 to 2147483647 us",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_profile_states_its_schema() {
    let told = |text: &str| Profile::parse("p", text).unwrap_err().to_string();
    assert_eq!(told(""), "p:1: schema = \"quell.profile/1\" is missing");
    assert_eq!(
        told("schema = 'quell.profile/2'"),
        "p:1: schema \"quell.profile/2\": this version of quell reads \"quell.profile/1\""
    );
    assert_eq!(told("schema = 1"), "p:1: schema must be a string, not an integer");
}

#[test]
fn includes_override_attribute_by_attribute_and_never_run_in_circles() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        crate::tree::write(&path, &format!("schema = \"quell.profile/1\"\n{text}"));
        path
    };
    file(
        "base.toml",
        "[knobs]\n'mem.dirty' = { ratio = 5, background_ratio = 2 }\n'mem.swap' = { swappiness = 1 }",
    );
    let top = file("top.toml", "include = ['base.toml']\n[knobs]\n'mem.dirty' = { bytes = 8192 }");
    let machine = Machine::new();
    let plan = machine.engine().plan(&Profile::load(top.to_str().unwrap()).unwrap()).unwrap();
    let changes: Vec<_> = plan.changes.iter().map(|change| change.to.as_str()).collect();
    // The later file's bytes replace the earlier file's ratio; everything else is kept.
    assert_eq!(changes, ["1", "bytes 8192", "ratio 2"]);

    file("one.toml", "include = ['two.toml']");
    let circle = file("two.toml", "include = ['one.toml']");
    let told = Profile::load(circle.to_str().unwrap()).unwrap_err().to_string();
    assert!(told.contains("include \"two.toml\": it includes this file in turn"), "{told}");
}

#[test]
fn shipped_profiles_are_sound_on_every_captured_machine() {
    for host in ["firecracker-2cpu-6.18", "qemu-4cpu-2node-6.12", "qemu-4cpu-2node-6.1-rt"] {
        let machine = Machine::captured(host);
        let before = machine.snapshot();
        let engine = machine.engine();
        for (name, _) in sys_tuning::SHIPPED {
            let profile = Profile::load(name).unwrap();
            let plan = engine.plan(&profile).unwrap();
            if *name == "qualify" && host == "firecracker-2cpu-6.18" {
                let told: Vec<&str> = plan.dangers.iter().map(|danger| danger.knob).collect();
                assert_eq!(told, ["assert"], "no CPU is isolated there, and one must be");
                continue;
            }
            assert!(plan.dangers.is_empty() && plan.unreadable.is_empty(), "{host} {name}: {plan:#?}");
            let unexpected: Vec<_> = plan.skipped.iter().filter(|one| one.status.is_trouble()).collect();
            assert!(unexpected.is_empty(), "{host} {name}: {unexpected:#?}");
            let applied = engine.apply(&plan, &NOW).unwrap();
            assert_eq!(applied.result, Outcome::Done, "{host} {name}: {applied:#?}");
            assert!(
                engine.plan(&profile).unwrap().changes.is_empty(),
                "{host} {name}: the plan was not the result"
            );
        }
        let rolled_back = back(&engine, RollbackTo::Baseline, false).unwrap();
        assert!(machine.snapshot() == before, "{host}: {}", restored(&rolled_back));
        println!("{host}: {} cells there and back", rolled_back.changes.len());
    }
}

#[test]
fn a_hundred_requests_for_too_many_huge_pages_are_refused_with_the_arithmetic() {
    let mut refused = 0;
    for host in ["firecracker-2cpu-6.18", "qemu-4cpu-2node-6.12", "qemu-4cpu-2node-6.1-rt"] {
        let machine = Machine::captured(host);
        let (before, engine) = (machine.snapshot(), machine.engine());
        let nodes = host::numa::nodes(engine.root()).unwrap();
        let mut dice = 1u64;
        for round in 0..100 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let node = host::numa::node(engine.root(), nodes[round % nodes.len()]).unwrap();
            let held = host::hugepages::pool(engine.root(), Some(node.id), host::hugepages::PageSize::M2)
                .unwrap()
                .nr;
            let floor = (node.total_bytes / 10).max(1 << 30);
            let had = node.free_bytes + node.clean_cache_bytes / 2;
            let spare = had.saturating_sub(floor + (128 << 20)) >> 21;
            let pages = held + spare + 1 + (dice >> 33) % 1_000_000;
            let wanted = format!("[knobs]\n'mem.huge' = {{ 2M = {{ {} = {pages} }} }}", node.id);
            let told = apply(&engine, &wanted).unwrap_err().to_string();
            for part in [
                "refused, nothing was written".to_owned(),
                format!("{}: {pages} × 2M (held: {held};", node.id),
                format!("would take {} MiB more", (pages - held) * 2),
                format!("{} MiB are free", node.free_bytes >> 20),
                format!("{} MiB of them stay free", floor >> 20),
            ] {
                assert!(told.contains(&part), "{part}: {told}");
            }
            refused += 1;
        }
        assert!(machine.snapshot() == before && engine.root().write_count() == 0, "{host}");
    }
    assert_eq!(refused, 300);
}

/// Linux 6.12 with CPU 3 in an isolated partition.
#[test]
fn real_time_guards() {
    let machine = Machine::captured("qemu-4cpu-2node-6.12");
    let check = |text: &str, expected: &str| check_plan(&machine, text, expected);
    check(
        "[knobs]\n'iso.fairserver' = { cpus = 'isolated', runtime_us = 0 }",
        "iso.fairserver runtime_us: 50000000 -> 0",
    );
    check(
        "[knobs]\n'iso.fairserver' = { cpus = '0,3', runtime_us = 0 }",
        "iso.fairserver runtime_us: 50000000 -> 0\n\
         iso.fairserver runtime_us: 50000000 -> 0\n\
         danger iso.fairserver: without it a spinning real-time thread starves everything else on housekeeping CPU 0 as \
         soon as throttling is off",
    );
    check(
        "[cpus]\nisolated = '1-3'\n[knobs]\n'iso.fairserver' = { cpus = 'isolated', runtime_us = 0 }",
        "iso.fairserver runtime_us: 50000000 -> 0\n\
         iso.fairserver runtime_us: 50000000 -> 0\n\
         iso.fairserver runtime_us: 50000000 -> 0\n\
         danger iso.fairserver: without it what is bound to CPU 1-3 can be starved for ever, and 1 housekeeping CPU is \
         left to notice (2 wanted)",
    );
    check(
        "[knobs]\n'iso.fairserver' = { runtime_us = 0 }",
        "error: test.toml:3: iso.fairserver: cpus is missing; say which CPUs, as in cpus = \"isolated\"",
    );
    // The fair server guards the only housekeeping CPU.
    let one = "[cpus]\nisolated = '1-3'\n[knobs]\n'iso.rtthrottle' = { runtime_us = -1 }";
    check(
        one,
        "iso.rtthrottle runtime_us: 950000 -> -1\n\
         fair-server-without-throttling: iso.rtthrottle is -1, and the fair server still stops a spinning real-time thread \
         on CPU 1-3: see iso.fairserver",
    );
    let before = "there is no fair server here: it came with Linux 6.12, and it is set in debugfs, which must be mounted";
    check_plan(
        &Machine::captured("qemu-4cpu-2node-6.1-rt"),
        "[knobs]\n'iso.fairserver' = { cpus = '3', runtime_us = 0 }",
        &format!("iso.fairserver not-applicable: {before}"),
    );
    // What is in force is told beside what was asked for.
    let kept = profile("[knobs]\n'iso.rtthrottle' = { runtime_us = 950000 }").unwrap();
    let verified = machine.engine().verify(&kept).unwrap();
    let told = "throttled to 950 ms of each 1.00 s, fair server on CPU 0-3";
    assert_eq!(verified.knobs[0].effective.as_deref(), Some(told));
}

#[test]
fn queues_keep_to_their_cpus_and_new_ones_are_seen() {
    let machine = Machine::captured("qemu-4cpu-2node-6.12");
    let engine = machine.engine();
    let wanted = "[knobs]\n'iso.wq' = { cpus = '0-1' }";
    apply(&engine, wanted).unwrap();
    assert_eq!(machine.get("/sys/devices/virtual/workqueue/writeback/cpumask"), "3\n");
    assert!(engine.drift().unwrap().drifted.is_empty());
    machine.put("/sys/devices/virtual/workqueue/mlx5_health/per_cpu", "0\n");
    machine.put("/sys/devices/virtual/workqueue/mlx5_health/cpumask", "f\n");
    let drifted: Vec<_> =
        engine.drift().unwrap().drifted.into_iter().map(|row| (row.attribute, row.have)).collect();
    assert_eq!(drifted, [("beyond".to_owned(), Some("1 queues: mlx5_health".to_owned()))]);
    apply(&engine, wanted).unwrap();
    assert!(engine.drift().unwrap().drifted.is_empty());
}

#[test]
fn a_partition_below_another_group_gets_its_cpus_handed_down() {
    let machine = Machine::captured("qemu-4cpu-2node-6.12");
    for (file, text) in [
        ("cgroup.subtree_control", "cpu\n"),
        ("trading/cgroup.subtree_control", "cpu\n"),
        ("trading/engine/cpuset.cpus", "\n"),
        ("trading/engine/cpuset.cpus.effective", "0-2\n"),
        ("trading/engine/cpuset.cpus.exclusive", "\n"),
        ("trading/engine/cpuset.cpus.partition", "member\n"),
    ] {
        machine.put(&format!("/sys/fs/cgroup/{file}"), text);
    }
    let before = machine.snapshot();
    let engine = machine.engine();
    let wanted = "[knobs]\n'iso.cpuset2' = { group = 'trading/engine', cpus = '2', partition = 'isolated' }";
    let changes: Vec<_> = plan(&engine, wanted)
        .unwrap()
        .changes
        .iter()
        .map(|one| format!("{} {}: {}->{}", one.attribute, one.identity, one.from, one.to))
        .collect();
    assert_eq!(
        changes,
        [
            "controller : off->on",
            "controller trading: off->on",
            "exclusive trading: ->2",
            "cpus trading/engine: ->2",
            "exclusive trading/engine: ->2",
            "partition trading/engine: member->isolated",
        ]
    );
    apply(&engine, wanted).unwrap();
    back(&engine, RollbackTo::Baseline, false).unwrap();
    assert!(machine.snapshot() == before);
}

#[test]
fn a_partition_of_cgroup_v2_is_adopted_and_given_back() {
    let machine = Machine::captured("qemu-4cpu-2node-6.12");
    // The capture has no list of enabled controllers; a machine with such a group has one.
    machine.put("/sys/fs/cgroup/cgroup.subtree_control", "cpuset cpu io memory pids\n");
    let before = machine.snapshot();
    let engine = machine.engine();
    let wanted = "[knobs]\n'iso.cpuset2' = { group = 'trading', cpus = '2-3', partition = 'root' }";
    let changes: Vec<_> = plan(&engine, wanted)
        .unwrap()
        .changes
        .iter()
        .map(|one| format!("{}->{}", one.from, one.to))
        .collect();
    assert_eq!(changes, ["3->2-3", "isolated->root"]);
    apply(&engine, wanted).unwrap();
    assert_eq!(machine.get("/sys/fs/cgroup/trading/cpuset.cpus.partition"), "root\n");
    back(&engine, RollbackTo::Baseline, false).unwrap();
    assert!(machine.snapshot() == before);
}

#[test]
fn entries_of_another_boot_are_void() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }").unwrap();
    machine.put("/proc/sys/kernel/random/boot_id", "99999999-735c-4f0b-8721-54d9cd01e8e9\n");
    assert!(back(&engine, RollbackTo::Baseline, false).unwrap().changes.is_empty());
    assert_eq!(machine.get(SWAPPINESS), "10\n", "whoever set it in this boot, it was not us");
    let past = engine.history().unwrap().transactions;
    assert_eq!((past[0].is_this_boot, past[0].is_live), (false, false));
    assert_eq!((past.len(), past[1].what), (2, What::Rollback), "that nothing is to be held is on record");
}

#[test]
fn the_journal_of_another_machine_is_refused() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }").unwrap();
    machine.put("/etc/machine-id", "ffffffffffffffffffffffffffffffff\n");
    for force in [false, true] {
        let error = back(&engine, RollbackTo::Baseline, force).unwrap_err();
        assert!(matches!(error, Error::Integrity { .. }), "{error}");
    }
    assert_eq!(machine.get(SWAPPINESS), "10\n");
}

#[test]
fn a_damaged_journal_stops_everything_but_force() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }").unwrap();
    apply(&engine, "[knobs]\n'iso.hung' = { timeout_secs = 10 }").unwrap();
    let path = machine.state().join("journal");
    let mut text = fs::read_to_string(&path).unwrap();
    // The end of the first transaction: what it left is then known to a set of values only.
    let end = text.find("\"kind\":\"end\"").unwrap();
    text.replace_range(end..end + 3, "xxx");
    crate::tree::write(&path, &text);
    let applied = apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 20 }");
    assert!(matches!(applied.unwrap_err(), Error::Integrity { .. }));
    assert!(matches!(back(&engine, RollbackTo::Baseline, false).unwrap_err(), Error::Integrity { .. }));
    assert_eq!(machine.get(SWAPPINESS), "10\n", "nothing was written");
    let forced = back(&engine, RollbackTo::Baseline, true).unwrap();
    assert!(forced.damage.is_some());
    assert!(machine.snapshot() == before, "{}", restored(&forced));
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "the damaged journal is evidence and stays");
}

#[test]
fn a_torn_tail_is_cut_off_and_nothing_is_lost() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }").unwrap();
    let path = machine.state().join("journal");
    let mut text = fs::read_to_string(&path).unwrap();
    // Longer than what is appended next, which therefore cannot hide it.
    text.push_str("q1 1234abcd 0000");
    text.push_str(&"x".repeat(50_000));
    crate::tree::write(&path, &text);
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 20 }").unwrap();
    back(&engine, RollbackTo::Baseline, false).unwrap();
    assert!(machine.snapshot() == before);
    assert!(
        !fs::read_to_string(&path).unwrap().contains("xxx"),
        "the torn bytes are cut off, not written over"
    );
}

#[test]
fn the_journal_stays_small_and_forgets_nothing_that_counts() {
    const BYTES_MAX: u64 = 8 << 10;
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine().with_journal_bytes_max(BYTES_MAX);
    apply_everything(&engine);
    for round in 0..60 {
        let value = 10 + round % 50;
        apply(&engine, &format!("[knobs]\n'mem.swap' = {{ swappiness = {value} }}")).unwrap();
        let length = fs::metadata(machine.state().join("journal")).unwrap().len();
        assert!(length <= BYTES_MAX + 2048, "round {round}: {length} bytes"); // an end may come on top
    }
    let text = fs::read_to_string(machine.state().join("journal")).unwrap();
    assert!(text.contains("\"kind\":\"ledger\""), "it was never rewritten");
    let history = engine.history().unwrap().transactions;
    assert!(history.len() > 5 && history.last().unwrap().id == 61, "{} kept", history.len());
    back(&engine, RollbackTo::Last, false).unwrap();
    assert_eq!(machine.get(SWAPPINESS), "18\n");
    back(&engine, RollbackTo::Baseline, false).unwrap();
    assert!(machine.snapshot() == before);
}

#[test]
fn a_second_engine_is_told_who_is_first() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }").unwrap();
    let lock = fs::OpenOptions::new().write(true).open(machine.state().join("lock")).unwrap();
    let held = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let busy = apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 20 }").unwrap_err();
    let own = std::process::id();
    assert!(matches!(busy, Error::Busy { pid: Some(pid), .. } if pid == own), "{busy}");
    assert!(matches!(back(&engine, RollbackTo::Last, false).unwrap_err(), Error::Busy { .. }));
    assert!(engine.plan(&Profile::load("balanced").unwrap()).is_ok(), "looking needs no lock");
    drop(held);
    back(&engine, RollbackTo::Last, false).unwrap();
    assert_eq!(machine.get(SWAPPINESS), "60\n");
}

#[test]
fn a_state_directory_that_others_can_reach_is_not_believed() {
    type Spoil = fn(&Machine);
    let spoil: [(&str, Spoil); 4] = [
        ("open to others", |machine| {
            fs::set_permissions(machine.state(), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("a symbolic link", |machine| {
            fs::rename(machine.state().join("journal"), machine.root().join("canary")).unwrap();
            symlink(machine.root().join("canary"), machine.state().join("journal")).unwrap();
        }),
        ("a second name", |machine| {
            fs::hard_link(machine.state().join("journal"), machine.root().join("canary")).unwrap();
        }),
        ("written by others", |machine| {
            let path = machine.state().join("journal");
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }),
    ];
    for (words, spoil) in spoil {
        let machine = Machine::new();
        let engine = machine.engine();
        apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }").unwrap();
        spoil(&machine);
        let error = apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 20 }").unwrap_err();
        assert!(matches!(error, Error::Integrity { .. }) && error.to_string().contains(words), "{error}");
        assert_eq!(machine.get(SWAPPINESS), "10\n");
    }
}

#[test]
fn a_plan_writes_nothing_and_leaves_no_trace() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let engine = machine.engine();
    let plan = engine.plan(&Profile::parse("test.toml", PROFILE).unwrap()).unwrap();
    engine.verify(&Profile::load("balanced").unwrap()).unwrap();
    engine.drift().unwrap();
    assert!(!plan.changes.is_empty());
    assert_eq!(engine.root().write_count(), 0);
    assert!(machine.snapshot() == before && !machine.state().exists());
}

#[test]
fn a_plan_can_be_read_as_shell() {
    let machine = Machine::new();
    let engine = machine.engine();
    let text = "[knobs]\n'mem.swap' = { swappiness = 10 }\n'irq.aff' = { cpus = '0' }";
    assert_eq!(
        script::of_plan(&plan(&engine, text).unwrap()),
        "#!/bin/sh -e\n\
         # profile test.toml\n\
         # mem.swap swappiness: 60 -> 10\n\
         echo 10 > /proc/sys/vm/swappiness\n\
         # irq.aff cpus IO-APIC ACPI:Ged: 0-1 -> 0\n\
         echo 0 > /proc/irq/24/smp_affinity_list\n\
         # irq.aff cpus PCI-MSIX-0000:00:04.0 virtio3-rx: 0-1 -> 0\n\
         echo 0 > /proc/irq/41/smp_affinity_list\n"
    );
    apply(&engine, text).unwrap();
    let options = RollbackOptions { to: RollbackTo::Last, force: false, at: 0 };
    let steps = engine.rollback_steps(&options).unwrap();
    assert_eq!(
        script::shell(&steps),
        "echo 0-1 > /proc/irq/41/smp_affinity_list\n\
         echo 0-1 > /proc/irq/24/smp_affinity_list\n\
         echo 60 > /proc/sys/vm/swappiness\n"
    );
}

#[test]
fn an_interrupt_that_is_gone_is_reported_and_the_rest_goes_back() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'mem.swap' = { swappiness = 10 }\n'irq.aff' = { cpus = '0' }").unwrap();
    fs::remove_dir_all(machine.file("/proc/irq/41")).unwrap();
    let rolled_back = back(&engine, RollbackTo::Baseline, false).unwrap();
    assert_eq!(
        restored(&rolled_back),
        "irq.aff cpus not-applicable\nirq.aff cpus ok\nmem.swap swappiness ok"
    );
    assert_eq!(machine.get(SWAPPINESS), "60\n");
}

#[test]
fn what_cannot_be_understood_does_not_keep_the_rest_from_going_back() {
    let machine = Machine::new();
    let engine = machine.engine();
    let text = "[knobs]\n'mem.swap' = { swappiness = 10 }\n'irq.aff' = { cpus = '0' }\n'cpu.qos' = { cpus = '1', latency_us = 0 }";
    apply(&engine, text).unwrap();
    machine.put("/proc/irq/41/smp_affinity_list", "a format of next year\n");
    machine.put("/sys/devices/system/cpu/offline", "likewise\n");
    assert_eq!(
        restored(&back(&engine, RollbackTo::Baseline, false).unwrap()),
        "cpu.qos latency_us failed\nirq.aff cpus failed\nirq.aff cpus ok\nmem.swap swappiness ok"
    );
    let applied = apply(&engine, text).unwrap();
    assert_eq!((applied.result, applied.changes.len(), applied.skipped.len()), (Outcome::Partly, 1, 2));
    assert!(applied.skipped[0].reason.contains("please report this line"), "{:?}", applied.skipped);
}

#[test]
fn an_interrupt_is_found_again_under_another_number() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "[knobs]\n'irq.aff' = { cpus = '0' }").unwrap();
    for dir in ["/proc/irq", "/sys/kernel/irq"] {
        fs::rename(machine.file(dir).join("41"), machine.file(dir).join("55")).unwrap();
    }
    let rolled_back = back(&engine, RollbackTo::Baseline, false).unwrap();
    assert_eq!(rolled_back.result, Outcome::Done);
    assert_eq!(machine.get("/proc/irq/55/smp_affinity_list"), "0-1\n");
}
