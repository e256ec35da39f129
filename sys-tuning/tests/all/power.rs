//! Frequency, idle states, caches, CPUs that go, the kernel's own threads: on trees of plain files, written after the
//! kernel's documentation where no captured machine has them (each knob's file names it), and on captured ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sys_tuning::{Agreement, ApplyOptions, Outcome, Plan, RollbackOptions, RollbackTo, Status};
use units::Nanos;

use crate::boot;
use crate::rows::{check, profile, verified, while_growing};
use crate::tree::Machine;

const NOW: ApplyOptions = ApplyOptions { at: 1_790_000_000, ..ApplyOptions::PLAIN };
const BASELINE: RollbackOptions =
    RollbackOptions { to: RollbackTo::Baseline, force: false, at: 1_790_000_001 };

const POLICY0: &str = "/sys/devices/system/cpu/cpufreq/policy0";
const POLICY1: &str = "/sys/devices/system/cpu/cpufreq/policy1";

/// A policy of Intel's driver in its active mode, and one of the ACPI driver, whose frequencies are a table.
const INTEL: &[(&str, &str)] = &[
    ("affected_cpus", "0 1\n"),
    ("scaling_governor", "powersave\n"),
    ("scaling_available_governors", "performance powersave \n"),
    ("scaling_driver", "intel_pstate\n"),
    ("cpuinfo_min_freq", "800000\n"),
    ("cpuinfo_max_freq", "3700000\n"),
    ("scaling_min_freq", "800000\n"),
    ("scaling_max_freq", "3700000\n"),
    ("energy_performance_preference", "balance_performance\n"),
    (
        "energy_performance_available_preferences",
        "default performance balance_performance balance_power power \n",
    ),
];
const ACPI: &[(&str, &str)] = &[
    ("affected_cpus", "0\n"),
    ("scaling_governor", "ondemand\n"),
    ("scaling_available_governors", "ondemand performance \n"),
    ("scaling_driver", "acpi-cpufreq\n"),
    ("cpuinfo_min_freq", "1200000\n"),
    ("cpuinfo_max_freq", "2600000\n"),
    ("scaling_min_freq", "1200000\n"),
    ("scaling_max_freq", "2600000\n"),
    ("scaling_available_frequencies", "2600000 2000000 1200000 \n"),
    ("boost", "0\n"),
];

fn files<'a>(dir: &str, files: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    files.iter().map(|(name, text)| (format!("{dir}/{name}"), *text)).collect()
}

/// The files of an Intel machine with two CPUs.
fn intel() -> Vec<(String, &'static str)> {
    let mut all = files(POLICY0, INTEL);
    for (path, text) in [
        ("/sys/devices/system/cpu/intel_pstate/status", "active\n"),
        ("/sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
        ("/sys/devices/system/cpu/intel_pstate/min_perf_pct", "21\n"),
        ("/sys/devices/system/cpu/cpu0/power/energy_perf_bias", "6\n"),
        ("/sys/devices/system/cpu/cpu1/power/energy_perf_bias", "6\n"),
        ("/sys/devices/system/cpu/intel_uncore_frequency/package_00_die_00/min_freq_khz", "800000\n"),
        ("/sys/devices/system/cpu/intel_uncore_frequency/package_00_die_00/max_freq_khz", "2400000\n"),
        (
            "/sys/devices/system/cpu/intel_uncore_frequency/package_00_die_00/initial_max_freq_khz",
            "2400000\n",
        ),
        ("/sys/firmware/acpi/platform_profile", "balanced\n"),
        ("/sys/firmware/acpi/platform_profile_choices", "low-power balanced performance\n"),
    ] {
        all.push((path.to_owned(), text));
    }
    all
}

fn machine(files: &[(String, &str)]) -> Machine {
    let machine = Machine::new();
    files.iter().for_each(|(path, text)| machine.put(path, text));
    machine
}

fn as_refs<'a>(files: &'a [(String, &'a str)]) -> Vec<(&'a str, &'a str)> {
    files.iter().map(|(path, text)| (path.as_str(), *text)).collect()
}

/// The plan in lines: changes in the order of writing, what is skipped, contradictions and dangers.
fn planned(plan: &Plan) -> Vec<String> {
    let change = |one: &sys_tuning::Change| {
        format!("{}: {} -> {}", name(one.knob, &one.attribute, &one.identity), one.from, one.to)
    };
    let mut lines: Vec<String> = plan.changes.iter().map(change).collect();
    lines.extend(plan.skipped.iter().map(|one| {
        format!("{}: {} {}", name(one.knob, &one.attribute, &one.identity), one.status, one.reason)
    }));
    lines.extend(plan.contradictions.iter().map(|one| format!("{}: {}", one.rule, one.reason)));
    lines.extend(plan.dangers.iter().map(|one| format!("danger {}: {}", one.knob, one.reason)));
    lines
}

fn name(knob: &str, attribute: &str, identity: &str) -> String {
    [knob, attribute, identity].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check_plan(machine: &Machine, knobs: &str, expected: &[&str]) {
    let told = match machine.engine().plan(&profile(knobs)) {
        Ok(plan) => planned(&plan),
        Err(error) => vec![format!("error: {error}")],
    };
    assert_eq!(told, expected);
}

#[test]
fn an_intel_machine_at_full_speed_and_back() {
    let intel = intel();
    check(
        &as_refs(&intel),
        "'cpu.gov' = { governor = 'performance' }\n\
         'cpu.epp' = { preference = 'performance', cpus = '1', bias = 0 }\n\
         'cpu.range' = { min_pct = 100, max_pct = 100, min_perf_pct = 100 }\n\
         'cpu.boost' = { enabled = true }\n'cpu.uncore' = { floor_pct = 100 }\n\
         'cpu.platform' = { profile = 'performance' }",
        &[
            (&format!("{POLICY0}/energy_performance_preference"), "performance"),
            (&format!("{POLICY0}/scaling_governor"), "performance"),
            (&format!("{POLICY0}/scaling_min_freq"), "3700000"),
            (&format!("{POLICY0}/scaling_max_freq"), "3700000"),
            ("/sys/devices/system/cpu/intel_pstate/no_turbo", "0"),
            ("/sys/devices/system/cpu/intel_pstate/min_perf_pct", "100"),
            ("/sys/devices/system/cpu/cpu0/power/energy_perf_bias", "6"),
            ("/sys/devices/system/cpu/cpu1/power/energy_perf_bias", "0"),
            ("/sys/devices/system/cpu/intel_uncore_frequency/package_00_die_00/min_freq_khz", "2400000"),
            ("/sys/firmware/acpi/platform_profile", "performance"),
        ],
        &[
            "cpu.epp preference policy0: ok",
            "cpu.epp bias cpu1: ok",
            "cpu.gov governor policy0: ok",
            "cpu.boost no_turbo: ok",
            "cpu.range min_perf_pct: ok",
            "cpu.range max_khz policy0: ok",
            "cpu.range min_khz policy0: ok",
            "cpu.uncore min_khz package_00_die_00: ok",
            "cpu.platform profile: ok",
        ],
    );
}

#[test]
fn the_preference_goes_before_the_governor_that_would_refuse_it() {
    let machine = machine(&intel());
    check_plan(
        &machine,
        "'cpu.gov' = { governor = 'performance' }\n'cpu.epp' = { preference = 'performance' }",
        &[
            "cpu.epp preference policy0: balance_performance -> performance",
            "cpu.gov governor policy0: powersave -> performance",
        ],
    );
    machine.put(&format!("{POLICY0}/scaling_governor"), "performance\n");
    check_plan(
        &machine,
        "'cpu.epp' = { preference = 'power' }",
        &[
            "cpu.epp policy0: failed under the performance governor the kernel takes no other preference than \
           performance: ask for that, or for another governor (cpu.gov)",
        ],
    );
}

#[test]
fn limits_that_boost_moves_wait_for_it_and_are_put_back_behind_it() {
    let machine = machine(&intel());
    let before = machine.snapshot();
    let engine = machine.engine();
    let wanted = profile("'cpu.boost' = { enabled = false }\n'cpu.range' = { max_pct = 50 }");
    let plan = engine.plan(&wanted).unwrap();
    let waits = "cpu.range: pending cpu.boost is switched over by this profile, and what 100 % is shows only then: apply \
                 once more";
    assert_eq!(planned(&plan), ["cpu.boost no_turbo: 0 -> 1", waits]);
    assert_eq!(engine.apply(&plan, &NOW).unwrap().result, Outcome::Done);
    assert_eq!(engine.verify(&wanted).unwrap().agreement(), Agreement::No, "half of it holds");
    // As the kernel would have at once, the highest frequency is the sustained one now.
    machine.put(&format!("{POLICY0}/cpuinfo_max_freq"), "2600000\n");
    engine.apply(&engine.plan(&wanted).unwrap(), &NOW).unwrap();
    assert_eq!(machine.get(&format!("{POLICY0}/scaling_max_freq")), "1300000\n", "half of what there is");
    assert_eq!(
        verified(&engine.verify(&wanted).unwrap()),
        "cpu.boost no_turbo: ok\ncpu.range max_khz policy0: ok"
    );
    // What it found and what it left of the limits is in the journal, so that they come back with it.
    let journal = fs::read(machine.state().join("journal")).unwrap();
    let has = |word: &str| journal.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    assert!(has("max_khz") && has("min_khz"));
    let back = engine.rollback(&BASELINE).unwrap();
    machine.put(&format!("{POLICY0}/cpuinfo_max_freq"), "3700000\n");
    assert_eq!(back.result, Outcome::Done, "{back:#?}");
    assert!(machine.snapshot() == before);
}

#[test]
fn what_neighbours_share_comes_back_whoever_was_chosen_later() {
    let machine = machine(&intel());
    let before = machine.snapshot();
    let engine = machine.engine();
    let bias = |cpu: u32| format!("/sys/devices/system/cpu/cpu{cpu}/power/energy_perf_bias");
    let apply = |knobs: &str| engine.apply(&engine.plan(&profile(knobs)).unwrap(), &NOW).unwrap();
    apply("'cpu.epp' = { cpus = '1', bias = 0 }");
    assert_eq!((machine.get(&bias(0)).as_str(), machine.get(&bias(1)).as_str()), ("6\n", "0\n"));
    apply("'cpu.epp' = { bias = 4 }");
    assert_eq!((machine.get(&bias(0)).as_str(), machine.get(&bias(1)).as_str()), ("4\n", "4\n"));
    let back = engine.rollback(&BASELINE).unwrap();
    assert!(machine.snapshot() == before, "{back:#?}");
}

#[test]
fn a_clamped_or_reset_limit_is_told() {
    let machine = machine(&intel());
    let engine = machine.engine();
    let wanted =
        profile("'cpu.range' = { min_pct = 100, min_perf_pct = 100 }\n'cpu.boost' = { enabled = true }");
    engine.apply(&engine.plan(&wanted).unwrap(), &NOW).unwrap();
    // The kernel keeps the share below somebody's maximum, the firmware took turbo away, and the limits went with it.
    machine.put("/sys/devices/system/cpu/intel_pstate/min_perf_pct", "80\n");
    machine.put("/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
    machine.put(&format!("{POLICY0}/scaling_min_freq"), "2600000\n");
    let told = verified(&engine.verify(&wanted).unwrap());
    for part in [
        "cpu.range min_perf_pct: drifted was 100 when it was applied, and is 80 now",
        "cpu.boost no_turbo: drifted was 0 when it was applied, and is 1 now",
        "cpu.range: pending cpu.boost is switched over by this profile",
    ] {
        assert!(
            told.contains(part) || part.contains("no_turbo") && told.contains("cpu.boost no_turbo: failed"),
            "{told}"
        );
    }
}

#[test]
fn boost_of_the_machine_goes_before_that_of_its_policies_and_after_it_on_the_way_down() {
    let mut acpi = files(POLICY0, ACPI);
    acpi.extend(files(POLICY1, ACPI));
    acpi.push((format!("{POLICY1}/affected_cpus"), "1\n"));
    acpi.push(("/sys/devices/system/cpu/cpufreq/boost".to_owned(), "0\n"));
    let up = machine(&acpi);
    check_plan(
        &up,
        "'cpu.boost' = { enabled = true }",
        &["cpu.boost boost: 0 -> 1", "cpu.boost boost policy0: 0 -> 1", "cpu.boost boost policy1: 0 -> 1"],
    );
    let before = up.snapshot();
    let engine = up.engine();
    engine.apply(&engine.plan(&profile("'cpu.boost' = { enabled = true }")).unwrap(), &NOW).unwrap();
    assert_eq!(up.get(&format!("{POLICY1}/boost")), "1\n");
    engine.rollback(&BASELINE).unwrap();
    assert!(up.snapshot() == before);
    up.put("/sys/devices/system/cpu/cpufreq/boost", "1\n");
    up.put(&format!("{POLICY0}/boost"), "1\n");
    check_plan(
        &up,
        "'cpu.boost' = { enabled = false }",
        &["cpu.boost boost policy0: 1 -> 0", "cpu.boost boost: 1 -> 0"],
    );
    // A table of frequencies: half of 2.6 GHz is no step of it.
    check_plan(
        &up,
        "'cpu.range' = { min_pct = 50 }",
        &["cpu.range min_khz policy0: 1200000 -> 2000000", "cpu.range min_khz policy1: 1200000 -> 2000000"],
    );
    check_plan(
        &up,
        "'cpu.range' = { min_pct = 60, max_pct = 50 }",
        &["error: test.toml:3: cpu.range: min_pct 60 is above max_pct 50"],
    );
}

#[test]
fn without_any_of_it_each_knob_says_why() {
    let machine = Machine::new();
    check_plan(
        &machine,
        "'cpu.epp' = { preference = 'performance', bias = 0 }\n'cpu.boost' = { enabled = true }\n\
         'cpu.range' = { min_pct = 100, min_perf_pct = 100 }\n'cpu.uncore' = { floor_pct = 100 }\n\
         'cpu.platform' = { profile = 'performance' }\n'cpu.idle' = { cpus = '1', latency_us = 2 }\n\
         'cpu.dma' = { latency_us = 0 }\n'mem.cat' = { cpus = '1', ways = 4 }\n'iso.smt' = { control = 'off' }\n\
         'irq.threaded' = { priority = 60 }\n'iso.kprio' = { ktimers = 2 }",
        &[
            "cpu.epp preference: not-applicable the kernel has no frequency control (no cpufreq directory)",
            "cpu.epp bias: not-applicable this processor has no such hint, or the kernel does not show it",
            "cpu.boost: not-applicable the kernel has no frequency control (no cpufreq directory)",
            "cpu.range: not-applicable the kernel has no frequency control (no cpufreq directory)",
            "cpu.uncore: not-applicable no driver for the uncore's frequency runs here (Intel processors only)",
            "cpu.platform: not-applicable this firmware offers no profiles",
            "cpu.idle: not-applicable no CPU has idle states: no driver runs here",
            "mem.cat: not-applicable this kernel or processor does not divide its caches (no /sys/fs/resctrl; virtual \
             machines have none)",
            "iso.kprio ktimers: not-applicable this kernel has no thread ktimers/* there; a real-time kernel has",
            "irq.threaded: not-applicable no interrupt is handled in a thread here: a real-time kernel does it, or \
             threadirqs at boot (irq.threadirqs)",
            "cpu.range min_perf_pct: not-applicable intel_pstate is not in charge here, or not in its active mode",
            "iso.smt control: not-applicable this kernel shows no switch for hardware threads",
            "cpu.dma latency_us: not-applicable /dev/cpu_dma_latency is not there (no CONFIG_CPU_IDLE), or this user may \
             not read it",
        ],
    );
}

/// The switch of a state reads back; whether the state is entered all the same is seen by who looks twice.
#[test]
fn a_forbidden_state_that_is_entered_fails_when_one_watches() {
    let machine = machine(&idle_states());
    let (engine, wanted) = (machine.engine(), profile("'cpu.idle' = { cpus = '1', deepest = 'c1e' }"));
    engine.apply(&engine.plan(&wanted).unwrap(), &NOW).unwrap();
    let still = engine.observe(&wanted, Nanos::from_millis(1)).unwrap().knobs[0].clone();
    assert!(still.status == Status::Ok && still.observed_for_s.is_some(), "{still:?}");
    let usage = "/sys/devices/system/cpu/cpu1/cpuidle/state3/usage";
    let grew = while_growing(
        &machine,
        usage,
        |count| format!("{count}\n"),
        || {
            let verified = engine.observe(&wanted, Nanos::from_millis(1)).unwrap();
            verified.knobs.into_iter().find(|row| row.status == Status::Failed)
        },
    );
    assert_eq!(grew.identity, "cpu1/state3");
    assert!(
        grew.reason.starts_with(&format!("it reads 1, and its effect goes on: {usage} by ")),
        "{}",
        grew.reason
    );
}

/// Four states of CPU 1, as intel_idle names them.
fn idle_states() -> Vec<(String, &'static str)> {
    let dir = "/sys/devices/system/cpu/cpu1/cpuidle";
    let mut all = vec![("/sys/devices/system/cpu/cpuidle/current_governor".to_owned(), "menu\n")];
    let states = [("POLL\n", "0\n"), ("C1\n", "2\n"), ("C1E\n", "10\n"), ("C6\n", "133\n")];
    for (index, (name, latency)) in states.into_iter().enumerate() {
        for (file, text) in [("name", name), ("latency", latency), ("disable", "0\n"), ("usage", "2127\n")] {
            all.push((format!("{dir}/state{index}/{file}"), text));
        }
    }
    all
}

#[test]
fn deep_states_are_forbidden_to_chosen_cpus() {
    let states = idle_states();
    check(
        &as_refs(&states),
        "'cpu.idle' = { cpus = 'isolated', deepest = 'c1' }",
        &[
            ("/sys/devices/system/cpu/cpu1/cpuidle/state1/disable", "0"),
            ("/sys/devices/system/cpu/cpu1/cpuidle/state2/disable", "1"),
            ("/sys/devices/system/cpu/cpu1/cpuidle/state3/disable", "1"),
        ],
        &["cpu.idle disable cpu1/state2: ok", "cpu.idle disable cpu1/state3: ok"],
    );
    let machine = machine(&states);
    let told = machine.engine().verify(&profile("'cpu.idle' = { cpus = '1', latency_us = 'any' }")).unwrap();
    assert_eq!(told.knobs[3].effective.as_deref(), Some("entered 2127 times since boot"));
    machine.put("/sys/devices/system/cpu/cpuidle/current_governor", "haltpoll\n");
    check_plan(
        &machine,
        "'cpu.idle' = { cpus = '1', latency_us = 2 }",
        &["cpu.idle: not-applicable the governor haltpoll enters forbidden states all the same; boot with \
         cpuidle.governor=menu, or use cpu.qos"],
    );
    check_plan(
        &machine,
        "'cpu.idle' = { latency_us = 2 }",
        &["error: test.toml:3: cpu.idle: cpus is missing; say which CPUs, as in cpus = \"isolated\""],
    );
}

#[test]
fn what_others_hold_is_reported_and_never_written() {
    let status = "Name:\tstalld\nCpus_allowed_list:\t0-1\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t1\n";
    let stat = "1 (stalld) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n";
    let held = [
        ("/dev/cpu_dma_latency", "\u{2}\0\0\0"),
        ("/proc/1/comm", "stalld\n"),
        ("/proc/1/task/1/stat", stat),
        ("/proc/1/task/1/status", status),
    ];
    check(
        &held,
        "'cpu.dma' = { latency_us = 2 }\n'iso.stalld' = { running = 'off' }\n'iso.systemd' = { cpus = 'housekeeping' }",
        &[],
        &[
            "cpu.dma latency_us: ok",
            "iso.stalld running: failed expected off, inferred on: reported only, it is a service: `systemctl enable --now \
             stalld.service`, or `disable --now`",
            "iso.systemd cpus: failed expected 0, inferred 0-1: reported only, the service manager keeps its own: write \
             CPUAffinity= with these CPUs into /etc/systemd/system.conf.d/50-quell.conf below [Manager] and run `systemctl \
             daemon-reexec`, or set boot_cpus",
        ],
    );
    check(&held, "'cpu.dma' = { latency_us = 20 }", &[], &["cpu.dma latency_us: ok"]); // stricter is good enough
    check(
        &held,
        "'cpu.dma' = { latency_us = 1 }",
        &[],
        &[
            "cpu.dma latency_us: failed expected 1, inferred 2: reported only, a process holds it so that it can never be \
         left behind: set hold.latency_us in /etc/quell/policy.toml and start quell-hold.service; for single CPUs there is \
         cpu.qos",
        ],
    );
}

#[test]
fn grace_periods_and_watchdogs() {
    check(
        &[("/sys/kernel/rcu_normal", "0\n"), ("/sys/kernel/rcu_expedited", "1\n")],
        "'iso.rcunorm' = { normal = true, expedited = false }\n'iso.watchdog' = { soft = false, cpus = 'housekeeping' }",
        &[
            ("/sys/kernel/rcu_normal", "1"),
            ("/sys/kernel/rcu_expedited", "0"),
            ("/proc/sys/kernel/soft_watchdog", "0"),
            ("/proc/sys/kernel/watchdog_cpumask", "0"),
        ],
        &[
            "iso.rcunorm expedited: ok",
            "iso.rcunorm normal: ok",
            "iso.watchdog cpus: ok",
            "iso.watchdog soft: ok",
        ],
    );
    let machine = Machine::new();
    let nmi = machine.file("/proc/sys/kernel/nmi_watchdog");
    check_plan(&machine, "'iso.watchdog' = { hard = true }", &["iso.watchdog hard: 0 -> 1"]);
    // As the kernel shows it where no counter interrupts unmaskably.
    fs::set_permissions(&nmi, fs::Permissions::from_mode(0o444)).unwrap();
    check_plan(
        &machine,
        "'iso.watchdog' = { hard = false }",
        &[
            "iso.watchdog hard: not-applicable the hard lock-up detector has no counter to run on, as in most virtual \
         machines: nothing interrupts there",
        ],
    );
    machine.put("/sys/kernel/rcu_normal", "0\n");
    machine.put("/sys/kernel/rcu_expedited", "0\n");
    check_plan(
        &machine,
        "'iso.rcunorm' = { normal = true, expedited = true }",
        &[
            "iso.rcunorm expedited: 0 -> 1",
            "iso.rcunorm normal: 0 -> 1",
            "rcu-normal-and-expedited: RCU grace periods are to be normal and expedited: normal wins, so let go of rcu_expedited",
        ],
    );
}

#[test]
fn the_kernels_own_threads_get_other_priorities_and_their_own_back() {
    let machine = Machine::captured("qemu-4cpu-2node-6.1-rt");
    let before = machine.snapshot();
    let engine = machine.engine();
    let wanted = profile(
        "'iso.kprio' = { cpus = '1-2', ktimers = 3, rcuc = 0, rcub = 4 }\n'irq.threaded' = { priority = 60, name = 'req' }",
    );
    let plan = engine.plan(&wanted).unwrap();
    let expected = [
        "iso.kprio rcuc rcuc/1: fifo:1 -> other",
        "iso.kprio rcuc rcuc/2: fifo:1 -> other",
        "iso.kprio ktimers ktimers/1: fifo:1 -> fifo:3",
        "iso.kprio ktimers ktimers/2: fifo:1 -> fifo:3",
        "iso.kprio rcub rcub/0: fifo:1 -> fifo:4",
        "irq.threaded priority irq/28-virtio1-req.0: fifo:50 -> fifo:60",
        "irq.threaded priority irq/29-virtio1-req.1: fifo:50 -> fifo:60",
        "irq.threaded priority irq/30-virtio1-req.2: fifo:50 -> fifo:60",
        "irq.threaded priority irq/31-virtio1-req.3: fifo:50 -> fifo:60",
    ];
    assert_eq!(planned(&plan), expected);
    let applied = engine.apply(&plan, &NOW).unwrap();
    assert_eq!(applied.result, Outcome::Done, "{applied:#?}");
    assert_eq!(engine.verify(&wanted).unwrap().agreement(), Agreement::Yes);
    assert!(engine.plan(&wanted).unwrap().changes.is_empty());
    let dir = "/proc/30/task/30"; // ktimers/1
    let raised = machine.get(&format!("{dir}/stat"));
    assert!(raised.starts_with("30 (ktimers/1) S ") && raised.contains(" -4 0 1 0 "), "{raised}");
    // Somebody lowers one again.
    machine
        .put(&format!("{dir}/stat"), &raised.replace(" -4 0 1 0 ", " 20 0 1 0 ").replace(" 3 1 ", " 0 0 "));
    let told = verified(&engine.verify(&wanted).unwrap());
    assert!(
        told.contains(
            "iso.kprio ktimers ktimers/1: drifted was fifo:3 when it was applied, and is other now"
        ),
        "{told}"
    );
    machine.put(&format!("{dir}/stat"), &raised);
    let back = engine.rollback(&BASELINE).unwrap();
    assert!(machine.snapshot() == before, "{back:#?}");
    check_plan(
        &machine,
        "'iso.kprio' = { cpus = '1', ksoftirqd = 50, rcuc = 1 }",
        &[
            "iso.kprio ksoftirqd: not-applicable this kernel has no thread ksoftirqd/* there; a real-time kernel has",
            "danger iso.kprio: ksoftirqd at 50 is not below the threads of interrupts, which run at 50: put-off work would \
         hold interrupts up",
        ],
    );
}

#[test]
fn hardware_threads_go_off_line_unless_the_application_has_one() {
    let machine = Machine::captured("qemu-4cpu-2node-6.1-rt"); // siblings 0-1 and 2-3, isolated 2-3
    check_plan(
        &machine,
        "'iso.smt' = { control = 'off' }",
        &[
            "danger iso.smt: CPU 3 would go off line and is kept for the application (cpus.isolated, or a cgroup partition, \
         which becomes invalid without it); take it out of one of both",
        ],
    );
    machine.put("/sys/devices/system/cpu/isolated", "\n");
    machine.put("/sys/devices/system/cpu/nohz_full", "\n");
    let before = machine.snapshot();
    let engine = machine.engine();
    let wanted = profile("'iso.smt' = { control = 'off' }");
    let plan = engine.plan(&wanted).unwrap();
    assert_eq!(planned(&plan), ["iso.smt control: on -> off"]);
    engine.apply(&plan, &NOW).unwrap();
    // A plain file switches nothing: the file reads back, and the effect says otherwise.
    assert_eq!(
        verified(&engine.verify(&wanted).unwrap()),
        "iso.smt control: failed written, and the kernel shows otherwise: /sys/devices/system/cpu/smt/active: 1"
    );
    machine.put("/sys/devices/system/cpu/smt/active", "0\n");
    assert_eq!(verified(&engine.verify(&wanted).unwrap()), "iso.smt control: ok");
    machine.put("/sys/devices/system/cpu/smt/active", "1\n");
    engine.rollback(&BASELINE).unwrap();
    assert!(machine.snapshot() == before);
    for (word, told) in [
        ("notsupported", "iso.smt control: ok already so: the processor shows one hardware thread a core"),
        ("forceoff", "iso.smt control: ok already so: off until the next boot"),
        (
            "notimplemented",
            "iso.smt control: not-applicable neither the processor nor the kernel lets hardware threads be switched",
        ),
    ] {
        machine.put("/sys/devices/system/cpu/smt/control", &format!("{word}\n"));
        check_plan(&machine, "'iso.smt' = { control = 'off' }", &[told]);
    }
}

#[test]
fn single_cpus_go_off_line_but_none_that_is_needed() {
    let machine = Machine::captured("qemu-4cpu-2node-6.12"); // CPU 3 is in a partition
    for cpu in 1..4 {
        machine.put(&format!("/sys/devices/system/cpu/cpu{cpu}/online"), "1\n");
    }
    let danger = |cpus: &str, told: &str| {
        check_plan(&machine, &format!("'iso.offline' = {{ cpus = '{cpus}' }}"), &[told]);
    };
    danger(
        "0",
        "danger iso.offline: CPU 0 cannot go off line: the kernel keeps work there that nobody else does",
    );
    danger(
        "2-3",
        "danger iso.offline: CPU 3 would go off line and is kept for the application (cpus.isolated, or a cgroup \
         partition, which becomes invalid without it); take it out of one of both",
    );
    let before = machine.snapshot();
    let engine = machine.engine();
    let wanted = profile("'iso.offline' = { cpus = '2' }");
    let plan = engine.plan(&wanted).unwrap();
    assert_eq!(planned(&plan), ["iso.offline online cpu2: 1 -> 0"]);
    engine.apply(&plan, &NOW).unwrap();
    assert_eq!(
        verified(&engine.verify(&wanted).unwrap()),
        "iso.offline online cpu2: failed written, and the kernel's list has CPU 0-3"
    );
    machine.put("/sys/devices/system/cpu/online", "0-1,3\n");
    assert_eq!(verified(&engine.verify(&wanted).unwrap()), "iso.offline online cpu2: ok");
    machine.put("/sys/devices/system/cpu/online", "0-3\n");
    engine.rollback(&BASELINE).unwrap();
    assert!(machine.snapshot() == before);
}

/// One cache of level 3 with eleven ways, of which devices fill the two highest, and a group that is there already.
const CACHE: &[(&str, &str)] = &[
    ("/sys/fs/resctrl/schemata", "    MB:0= 100\n    L3:0=7ff\n"),
    ("/sys/fs/resctrl/cpus_list", "0-1\n"),
    ("/sys/fs/resctrl/mode", "shareable\n"),
    ("/sys/fs/resctrl/info/last_cmd_status", "ok\n"),
    ("/sys/fs/resctrl/info/L3/cbm_mask", "7ff\n"),
    ("/sys/fs/resctrl/info/L3/min_cbm_bits", "2\n"),
    ("/sys/fs/resctrl/info/L3/num_closids", "16\n"),
    ("/sys/fs/resctrl/info/L3/shareable_bits", "600\n"),
    ("/sys/fs/resctrl/info/L3/bit_usage", "0=XXSSSSSSSSS\n"),
    ("/sys/fs/resctrl/quell/schemata", "    MB:0= 100\n    L3:0=7ff\n"),
    ("/sys/fs/resctrl/quell/cpus_list", "\n"),
    ("/sys/fs/resctrl/quell/mode", "shareable\n"),
    ("/sys/devices/system/cpu/cpu1/cache/index3/level", "3\n"),
    ("/sys/devices/system/cpu/cpu1/cache/index3/id", "0\n"),
];

#[test]
fn the_application_gets_ways_of_the_cache_for_itself() {
    check(
        CACHE,
        "'mem.cat' = { cpus = 'isolated', ways = 4 }",
        &[
            ("/sys/fs/resctrl/quell/schemata", "    MB:0= 100\n    L3:0=1e0"),
            ("/sys/fs/resctrl/quell/cpus_list", "1"),
            ("/sys/fs/resctrl/schemata", "    MB:0= 100\n    L3:0=1f"),
        ],
        &["mem.cat group quell: ok", "mem.cat ways quell: ok", "mem.cat cpus quell: ok", "mem.cat ways: ok"],
    );
    let machine = Machine::new();
    CACHE.iter().for_each(|(path, text)| machine.put(path, text));
    let engine = machine.engine();
    let wanted = profile("'mem.cat' = { cpus = '1', ways = 4 }");
    engine.apply(&engine.plan(&wanted).unwrap(), &NOW).unwrap();
    machine.put("/sys/fs/resctrl/quell/schemata", "    MB:0= 100\n    L3:0=7ff\n");
    let told = verified(&engine.verify(&wanted).unwrap());
    assert!(
        told.contains("mem.cat ways quell: drifted was 0=1e0 when it was applied, and is 0=7ff now"),
        "{told}"
    );
    fs::remove_dir_all(machine.file("/sys/fs/resctrl/quell")).unwrap();
    check_plan(
        &machine,
        "'mem.cat' = { cpus = '1', ways = 3, alone = false, group = 'engine' }",
        &[
            "mem.cat group engine: not-applicable control groups cannot be made in a tree of plain files",
            "mem.cat ways engine: not-applicable the group is not there",
            "mem.cat cpus engine: not-applicable the group is not there",
        ],
    );
    check_plan(
        &machine,
        "'mem.cat' = { cpus = '1', ways = 1 }",
        &["mem.cat: failed 100 has 1 ways; the least is 2"],
    );
    check_plan(
        &machine,
        "'mem.cat' = { cpus = '1', ways = 4, group = 'info' }",
        &["error: test.toml:3: mem.cat.group: info is a directory of resctrl's own"],
    );
}

#[test]
fn arguments_are_judged_by_what_the_kernel_made_of_them() {
    let machine = boot::machine();
    let knobs = "'cpu.driver' = { intel_pstate = 'passive' }\n\
                 'cpu.idleboot' = { max_cstate = 1, intel_max_cstate = 0 }\n\
                 'iso.preempt' = { model = 'full' }\n'iso.systemd' = { boot_cpus = '0' }\n\
                 'irq.threadirqs' = { enabled = true }";
    let engine = machine.engine();
    engine.apply(&engine.plan(&profile(knobs)).unwrap(), &NOW).unwrap();
    let line = machine.reboot(2);
    let expected = "threadirqs preempt=full systemd.cpu_affinity=0 intel_pstate=passive \
                    intel_idle.max_cstate=0 processor.max_cstate=1 ";
    assert!(line.starts_with(expected), "{line}");
    let shows = |status: &str, driver: &str, preempt: &str| {
        machine.put("/sys/devices/system/cpu/intel_pstate/status", status);
        machine.put("/sys/devices/system/cpu/cpuidle/current_driver", driver);
        machine.put("/sys/module/processor/parameters/max_cstate", "1\n");
        machine.put("/sys/kernel/debug/sched/preempt", preempt);
    };
    let told = || verified(&machine.engine().verify(&profile(knobs)).unwrap());
    shows("passive\n", "acpi_idle\n", "none voluntary (full) \n");
    let good = told();
    for name in [
        "cpu.driver intel_pstate",
        "cpu.idleboot max_cstate",
        "cpu.idleboot intel_max_cstate",
        "iso.preempt model",
    ] {
        assert!(good.contains(&format!("{name}: ok")), "{good}");
    }
    shows("active\n", "intel_idle\n", "none (voluntary) full \n");
    let bad = told();
    for part in [
        "cpu.driver intel_pstate: failed the kernel shows \"active\" instead",
        "cpu.idleboot intel_max_cstate: failed the kernel shows \"driver intel_idle\" instead",
        "iso.preempt model: failed the kernel shows \"voluntary\" instead",
    ] {
        assert!(bad.contains(part), "{bad}");
    }
    check_plan(
        &machine,
        "'cpu.idleboot' = { idle = 'poll' }",
        &[
            "boot.line arguments: threadirqs preempt=full systemd.cpu_affinity=0 intel_pstate=passive \
         intel_idle.max_cstate=0 processor.max_cstate=1 -> idle=poll",
            "danger cpu.idleboot: idle=poll has every idle CPU spin: it heats the package, takes boost frequencies away and \
         starves the other hardware thread of each core; the kernel's documentation does not recommend it, and cpu.qos with \
         latency_us = 0 does it for chosen CPUs",
        ],
    );
    machine.put("/proc/sys/kernel/version", "#1 SMP PREEMPT_RT Debian\n");
    check_plan(
        &machine,
        "'iso.preempt' = { model = 'full' }",
        &["iso.preempt model: ok already so: a real-time kernel is always fully preemptible"],
    );
    machine.put("/proc/sys/kernel/version", "#1 SMP PREEMPT Debian\n");
    check_plan(
        &machine,
        "'iso.preempt' = { model = 'full' }",
        &["iso.preempt model: not-applicable this kernel was built with one model of preemption"],
    );
}

#[test]
fn throttling_is_written_before_the_fair_server() {
    let machine = Machine::captured("qemu-4cpu-2node-6.12");
    let engine = machine.engine();
    let wanted =
        profile("'iso.fairserver' = { cpus = '3', runtime_us = 0 }\n'iso.rtthrottle' = { runtime_us = -1 }");
    let plan = engine.plan(&wanted).unwrap();
    let changes: Vec<&str> = plan.changes.iter().map(|change| change.knob).collect();
    assert_eq!(changes, ["iso.rtthrottle", "iso.fairserver"]);
    assert!(plan.skipped.iter().all(|one| one.status != Status::Failed));
}
