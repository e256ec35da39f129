//! Knobs that are a row of a table: each is planned, applied, verified and taken back on a machine of plain files.

use std::sync::atomic::{AtomicBool, Ordering};

use sys_tuning::{
    ApplyOptions, Engine, Outcome, Plan, Profile, RollbackOptions, RollbackTo, Status, Verified,
};
use units::Nanos;

use crate::tree::Machine;

const NOW: ApplyOptions = ApplyOptions { at: 1_790_000_000, ..ApplyOptions::PLAIN };

pub fn profile(knobs: &str) -> Profile {
    Profile::parse("test.toml", &format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}")).unwrap()
}

/// One line an attribute: what verify says of it.
pub fn verified(verified: &Verified) -> String {
    let row = |knob: &sys_tuning::Verifying| {
        let name = [knob.knob, &knob.attribute, &knob.identity].join(" ");
        format!("{}: {} {}", name.trim_end(), knob.status, knob.reason).trim_end().to_owned()
    };
    verified.knobs.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// On a machine with these files (path, text): applies `knobs`, compares the files with `after` and what verify says with
/// `told`, and takes it back byte for byte.
#[track_caller]
pub fn check(files: &[(&str, &str)], knobs: &str, after: &[(&str, &str)], told: &[&str]) {
    let machine = Machine::new();
    files.iter().for_each(|(path, text)| machine.put(path, text));
    let before = machine.snapshot();
    let (engine, profile) = (machine.engine(), profile(knobs));
    let applied = engine.apply(&engine.plan(&profile).unwrap(), &NOW).unwrap();
    assert_eq!(applied.result, Outcome::Done, "{applied:#?}");
    for (path, text) in after {
        assert_eq!(machine.get(path), format!("{text}\n"), "{path}");
    }
    assert_eq!(verified(&engine.verify(&profile).unwrap()), told.join("\n"));
    let again = engine.plan(&profile).unwrap();
    assert!(again.changes.is_empty(), "the plan was not the result: {:#?}", again.changes);
    let options = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 1_790_000_001 };
    let back = engine.rollback(&options).unwrap();
    assert!(machine.snapshot() == before, "{back:#?}");
}

#[test]
fn what_the_firmware_set_is_reported_and_never_written() {
    check(
        &[
            ("/sys/devices/system/cpu/smt/active", "1\n"),
            ("/sys/module/pcie_aspm/parameters/policy", "default [performance] powersave powersupersave \n"),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL\n"),
            ("/sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C6\n"),
        ],
        "'cpu.bios' = { smt = 'off', deep_idle = 'off', pcie_power_saving = 'off', iommu = 'off' }",
        &[("/sys/devices/system/cpu/smt/active", "1")],
        &[
            "cpu.bios deep_idle: failed expected off, inferred on: reported only, it is set by hand in the \
             firmware's set-up",
            "cpu.bios iommu: not-applicable this kernel shows no class of IOMMUs",
            "cpu.bios pcie_power_saving: ok",
            "cpu.bios smt: failed expected off, inferred on: reported only, it is set by hand in the firmware's set-up",
        ],
    );
}

#[test]
fn variables_of_the_network_go_there_and_back() {
    check(
        &[
            ("/proc/sys/net/core/busy_read", "0\n"),
            ("/proc/sys/net/core/busy_poll", "0\n"),
            ("/proc/sys/net/core/netdev_budget", "300\n"),
            ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
        ],
        "'net.busy' = { busy_read = 50, busy_poll = 50 }\n'net.budget' = { packets = 600 }\n\
         'net.bypass' = { kind = 'none' }\n'irq.balance' = { running = 'no' }",
        &[("/proc/sys/net/core/busy_read", "50"), ("/proc/sys/net/core/netdev_budget", "600")],
        &[
            "net.busy busy_poll: ok",
            "net.busy busy_read: ok",
            "net.budget packets: ok",
            "net.bypass kind: ok",
            "irq.balance running: ok",
        ],
    );
}

const THP: &str = "/sys/kernel/mm/transparent_hugepage";

#[test]
fn memory_is_left_alone() {
    check(
        &[
            (&format!("{THP}/enabled"), "always [madvise] never\n"),
            (&format!("{THP}/shmem_enabled"), "always within_size advise never deny [force]\n"),
            ("/sys/kernel/mm/ksm/run", "1\n"),
            ("/sys/kernel/mm/ksm/pages_sharing", "0\n"),
            ("/proc/sys/vm/compaction_proactiveness", "20\n"),
            ("/proc/sys/vm/compact_unevictable_allowed", "1\n"),
            ("/proc/sys/kernel/numa_balancing", "1\n"),
            ("/proc/sys/vm/numa_stat", "1\n"),
            ("/proc/sys/vm/zone_reclaim_mode", "0\n"),
        ],
        "'mem.thp' = { enabled = 'never', shmem_enabled = 'never' }
        'mem.ksm' = { run = 2 }
        'mem.compact' = { proactiveness = 0, unevictable = false }
        'mem.numa' = { balancing = 0, statistics = false }
        'mem.free' = { zone_reclaim_mode = 1 }",
        &[
            (&format!("{THP}/shmem_enabled"), "always within_size advise [never] deny force"),
            ("/sys/kernel/mm/ksm/run", "2"),
            ("/proc/sys/vm/compaction_proactiveness", "0"),
            ("/proc/sys/vm/compact_unevictable_allowed", "0"),
            ("/proc/sys/vm/numa_stat", "0"),
            ("/proc/sys/vm/zone_reclaim_mode", "1"),
        ],
        &[
            "mem.thp enabled: ok",
            "mem.thp shmem_enabled: ok",
            "mem.ksm run: ok",
            "mem.compact proactiveness: ok",
            "mem.compact unevictable: ok",
            "mem.numa balancing: ok",
            "mem.numa statistics: ok",
            "mem.free zone_reclaim_mode: ok",
        ],
    );
}

/// From Linux 6.8 a size of huge pages has a word of its own, which goes before that of all.
#[test]
fn a_size_that_goes_before_never_is_seen_and_can_be_set() {
    let (small, large) = (format!("{THP}/hugepages-64kB/enabled"), format!("{THP}/hugepages-2048kB/enabled"));
    let files = [
        (format!("{THP}/enabled"), "always [madvise] never\n"),
        (small.clone(), "[always] inherit madvise never\n"),
        (large.clone(), "always [inherit] madvise never\n"),
    ];
    let machine = Machine::new();
    files.iter().for_each(|(path, text)| machine.put(path, text));
    let (engine, text) = (machine.engine(), "'mem.thp' = { enabled = 'never' }");
    let told =
        "hugepages-64kB: always goes before it: each_size = \"inherit\" has each size do as enabled says";
    let planned = plan(&engine, text);
    assert!(planned.changes.is_empty());
    assert_eq!((planned.skipped[0].status, planned.skipped[0].reason.as_str()), (Status::Failed, told));
    machine.put(&format!("{THP}/enabled"), "always madvise [never]\n"); // the word alone is no effect
    assert_eq!(verified(&engine.verify(&profile(text)).unwrap()), format!("mem.thp enabled: failed {told}"));
    let mistaken = engine.plan(&profile("'mem.thp' = { enabled = 'never', each_size = 'always' }"));
    assert!(mistaken.unwrap_err().to_string().contains("always goes before enabled"));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    check(
        &files,
        "'mem.thp' = { enabled = 'never', each_size = 'inherit' }",
        &[(&small, "always [inherit] madvise never"), (&large, "always [inherit] madvise never")],
        &[
            "mem.thp each_size hugepages-2048kB: ok",
            "mem.thp each_size hugepages-64kB: ok",
            "mem.thp enabled: ok",
        ],
    );
}

/// The kernel makes a power of two of it, so that the plan says one.
#[test]
fn followed_flows_are_rounded_up_before_they_are_written() {
    let flows = "/proc/sys/net/core/rps_sock_flow_entries";
    for (asked, stands) in [("1000", "1024"), ("1024", "1024"), ("1", "1")] {
        let knobs = format!("'irq.rps' = {{ flows = {asked} }}");
        check(&[(flows, "0\n")], &knobs, &[(flows, stands)], &["irq.rps flows: ok"]);
    }
}

#[test]
fn what_is_still_joined_shows_that_a_number_that_reads_back_is_not_enough() {
    let machine = Machine::new();
    machine.put("/sys/kernel/mm/ksm/run", "2\n");
    machine.put("/sys/kernel/mm/ksm/pages_sharing", "17\n");
    assert_eq!(
        verified(&machine.engine().verify(&profile("'mem.ksm' = { run = 2 }")).unwrap()),
        "mem.ksm run: failed written, and the kernel shows otherwise: /sys/kernel/mm/ksm/pages_sharing: 17"
    );
}

/// What is not there means one of three things, and each is told as what it is.
#[test]
fn absence_has_three_meanings() {
    let machine = Machine::new();
    for gone in [
        "proc/sys/kernel/numa_balancing",
        "proc/sys/vm/min_free_kbytes",
        "sys/kernel/mm/transparent_hugepage",
    ] {
        let path = machine.root().join(gone);
        let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        removed.unwrap();
    }
    let text = "'mem.thp' = { enabled = 'never' }
        'mem.numa' = { balancing = 0 }
        'mem.free' = { min_free_kbytes = 70000 }
        'mce.ce' = { ignore = true }
        'sec.avc' = { cache_threshold = 8192 }";
    let told = verified(&machine.engine().verify(&profile(text)).unwrap());
    assert_eq!(
        told,
        "mem.thp enabled: ok this kernel makes no transparent huge pages\n\
         mem.numa balancing: ok this kernel does no NUMA balancing\n\
         mem.free min_free_kbytes: failed missing: every kernel has it\n\
         mce.ce ignore: not-applicable this machine shows no machine checks (a virtual machine)\n\
         sec.avc cache_threshold: not-applicable SELinux is not in use"
    );
}

#[test]
fn clocks_and_checks_and_counting() {
    let clock = "/sys/devices/system/clocksource/clocksource0";
    let mce = "/sys/devices/system/machinecheck/machinecheck0";
    check(
        &[
            (&format!("{clock}/current_clocksource"), "hpet\n"),
            (&format!("{clock}/available_clocksource"), "tsc hpet acpi_pm \n"),
            (&format!("{mce}/ignore_ce"), "0\n"),
            (&format!("{mce}/check_interval"), "300\n"),
            ("/proc/sys/kernel/sched_schedstats", "1\n"),
            ("/proc/sys/kernel/perf_cpu_time_max_percent", "25\n"),
            ("/proc/sys/kernel/perf_event_paranoid", "3\n"),
            ("/sys/fs/selinux/avc/cache_threshold", "512\n"),
        ],
        "'clk.src' = { source = 'tsc' }
        'mce.ce' = { ignore = true, interval_secs = 0 }
        'svc.psi' = { schedstats = false, perf_cpu_percent = 0 }
        'perf.paranoid' = { level = 2 }
        'sec.avc' = { cache_threshold = 8192 }",
        &[
            (&format!("{clock}/current_clocksource"), "tsc"),
            (&format!("{mce}/ignore_ce"), "1"),
            (&format!("{mce}/check_interval"), "0"),
            ("/proc/sys/kernel/sched_schedstats", "0"),
            ("/proc/sys/kernel/perf_event_paranoid", "2"),
            ("/sys/fs/selinux/avc/cache_threshold", "8192"),
        ],
        &[
            "clk.src source: ok",
            "mce.ce ignore: ok",
            "mce.ce interval_secs: ok",
            "svc.psi perf_cpu_percent: ok",
            "svc.psi schedstats: ok",
            "perf.paranoid level: ok",
            "sec.avc cache_threshold: ok",
        ],
    );
}

#[test]
fn a_clock_source_that_is_not_offered_is_refused_before_it_is_written() {
    let machine = Machine::new();
    let clock = "/sys/devices/system/clocksource/clocksource0";
    machine.put(&format!("{clock}/current_clocksource"), "hpet\n");
    machine.put(&format!("{clock}/available_clocksource"), "hpet acpi_pm \n");
    let plan = plan(&machine.engine(), "'clk.src' = { source = 'tsc' }");
    assert!(plan.changes.is_empty());
    let skipped = &plan.skipped[0];
    assert_eq!(
        (skipped.status, skipped.reason.as_str()),
        (Status::Failed, "this kernel offers hpet, acpi_pm, not tsc")
    );
}

fn plan(engine: &Engine, knobs: &str) -> Plan {
    engine.plan(&profile(knobs)).unwrap()
}

#[test]
fn what_others_have_to_change_is_reported() {
    let machine = Machine::new();
    machine.put("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition\t1048572\t0\t-2\n");
    machine.put("/proc/4711/comm", "irqbalance\n");
    machine.put("/proc/4712/comm", "tuned\n");
    machine.put("/proc/4713/comm", "tunedlike\n");
    machine.put("/run/systemd/units/invocation:cpupower.service", "");
    machine.put("/run/systemd/units/invocation:fwupd-refresh.timer", "");
    machine.put("/proc/4714/cgroup", "0::/trading.slice/engine.service\n");
    machine.put(
        "/proc/4714/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max locked memory         8388608              8388608              bytes     \n",
    );
    let text = "'mem.swap' = { areas = 'none' }
        'mem.lock' = { limit = 'unlimited' }
        'svc.noise' = { fighting = 'none' }
        'fw.smi' = { interrupts = 'none' }";
    let engine = machine.engine();
    let before = machine.snapshot();
    let applied = engine.apply(&plan(&engine, text), &NOW).unwrap();
    assert_eq!((applied.result, applied.changes.len(), engine.root().write_count()), (Outcome::Done, 0, 0));
    assert!(machine.snapshot() == before);
    assert_eq!(
        verified(&engine.verify(&profile(text)).unwrap()),
        "mem.swap areas: failed expected none, inferred some: reported only, mem.swapoff, or `swapoff -a`; and take \
         them out of /etc/fstab\nfw.smi interrupts: not-applicable SMIs are not counted here: it takes the msr module, \
         root, and an Intel processor that is not virtual\nmem.lock limit: failed expected unlimited, inferred 8388608 \
         bytes of process 4714: reported only, LimitMEMLOCK=infinity in its unit\nsvc.noise fighting: failed expected \
         none, inferred cpupower.service, fwupd-refresh.timer, irqbalance (4711), tuned (4712): reported only, \
         `systemctl disable --now` it, and mask it where something else starts it"
    );
    // What is put right elsewhere is fine here.
    machine.put("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
    let told = verified(&engine.verify(&profile("'mem.swap' = { areas = 'none' }")).unwrap());
    assert_eq!(told, "mem.swap areas: ok");
}

/// As the kernel writes them; the last two got their priorities from the kernel, one after the other.
const AREAS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
    /var/swap                               file\t\t16380\t\t0\t\t5\n\
    /dev/vda2                               partition\t1048572\t\t0\t\t-2\n\
    /dev/vdb1                               partition\t10485756\t0\t\t-3\n";

#[test]
fn areas_to_swap_to_go_and_come_back_as_they_were() {
    check(
        &[("/proc/swaps", AREAS)],
        "'mem.swapoff' = { areas = 'all' }",
        &[("/proc/swaps", AREAS.lines().next().unwrap())],
        &["mem.swapoff areas: ok already so: nothing is swapped to"],
    );
}

/// What is swapped out and does not fit into memory is refused with the arithmetic, and nothing is written.
#[test]
fn what_is_swapped_out_has_to_fit_into_memory() {
    let machine = Machine::new();
    let used = |kib: u64| AREAS.replace("1048572\t\t0", &format!("1048572\t\t{kib}"));
    machine.put("/proc/swaps", &used(900_000_000));
    let refused = plan(&machine.engine(), "'mem.swapoff' = { areas = 'all' }");
    assert!(refused.changes.is_empty(), "{:?}", refused.changes);
    let danger = &refused.dangers[0];
    assert!(!danger.may_be_accepted && danger.knob == "mem.swapoff", "{danger:?}");
    let told = &danger.reason;
    assert!(told.starts_with("878907 MiB of what is swapped out would come back: "), "{told}");
    let most: u64 = told
        .rsplit_once("at most ")
        .and_then(|(_, most)| most.strip_suffix(" MiB can be taken")?.parse().ok())
        .unwrap();
    machine.put("/proc/swaps", &used(most << 10));
    assert!(plan(&machine.engine(), "'mem.swapoff' = { areas = 'all' }").dangers.is_empty());
    // What huge pages of the same plan take is added to it.
    let both = "'mem.swapoff' = { areas = 'all' }\n'mem.huge' = { 2M = { node0 = 1 } }";
    let told = plan(&machine.engine(), both).dangers[0].reason.clone();
    assert!(told.contains("would come back, and the plan takes 2 MiB more: "), "{told}");
}

/// The dearest defence goes only when the profile says what that means; no flag of the command stands in for it.
#[test]
fn mitigations_are_taken_down_only_by_who_says_what_that_means() {
    let machine = Machine::new();
    let unsaid = plan(&machine.engine(), "'sec.mitig' = { mitigations = 'off' }");
    let danger = &unsaid.dangers[0];
    assert!(!danger.may_be_accepted && danger.reason.contains("acknowledge"), "{danger:?}");
    let said = plan(
        &machine.engine(),
        "'sec.mitig' = { mitigations = 'off', acknowledge = 'every-program-on-this-host-is-trusted' }
         'sec.audit' = { enabled = false }
         'sec.iommu' = { iommu = 'pt', intel_iommu = 'on' }",
    );
    assert!(said.dangers.is_empty(), "{:?}", said.dangers);
    // The small machine has no boot loader: each argument says so.
    assert_eq!(said.skipped.len(), 4);
    assert!(said.skipped.iter().all(|skipped| skipped.status == Status::NotApplicable), "{:?}", said.skipped);
}

#[test]
fn a_reserve_and_huge_pages_are_added_up() {
    let machine = Machine::new();
    // What the node can give is told by the refusal of far too much.
    let too_much = plan(&machine.engine(), "'mem.huge' = { 2M = { node0 = 4000000 } }");
    let told = &too_much.dangers[0].reason;
    let (_, most) = told.rsplit_once("at most ").unwrap();
    let most_mib: u64 = most.strip_suffix(" MiB can be given").unwrap().parse().unwrap();
    let pages = most_mib / 2;
    let text = |reserve: u64| {
        format!(
            "'mem.huge' = {{ 2M = {{ node0 = {pages} }} }}\n'mem.free' = {{ min_free_kbytes = {reserve} }}"
        )
    };
    let now: u64 = machine.get("/proc/sys/vm/min_free_kbytes").trim().parse().unwrap();
    assert!(plan(&machine.engine(), &text(now)).dangers.is_empty());
    let both = plan(&machine.engine(), &text(now + 8192));
    assert!(both.dangers[0].reason.contains(" and 8 MiB of vm.min_free_kbytes"), "{:?}", both.dangers);
    let alone = plan(&machine.engine(), "'mem.free' = { min_free_kbytes = 100000000 }");
    assert!(alone.dangers[0].reason.contains("are kept free: with more"), "{:?}", alone.dangers);
}

/// Switching huge pages has the kernel compute the reserve anew: it is written behind that, also where it stands already.
#[test]
fn a_reserve_is_written_behind_what_sets_it_anew() {
    let machine = Machine::new();
    let engine = machine.engine();
    let text = "'mem.thp' = { enabled = 'never' }\n'mem.free' = { min_free_kbytes = 70000 }";
    for reserve in ["67584\n", "70000\n"] {
        machine.put("/proc/sys/vm/min_free_kbytes", reserve);
        let both = plan(&engine, text);
        let knobs: Vec<&str> = both.changes.iter().map(|change| change.knob).collect();
        assert_eq!(knobs, ["mem.thp", "mem.free"]);
        assert!(both.changes[1].reason.ends_with("when mem.thp is written, so it is written after that)"));
        assert_eq!(engine.apply(&both, &NOW).unwrap().result, Outcome::Done);
        assert_eq!(machine.get("/proc/sys/vm/min_free_kbytes"), "70000\n");
        assert!(plan(&engine, text).changes.is_empty());
        engine.rollback(&RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 }).unwrap();
        assert_eq!(machine.get("/proc/sys/vm/min_free_kbytes"), reserve);
    }
}

/// A counter that grows while one watches says that the value that reads back has no effect; the look is kept with its age,
/// and says nothing about another value.
#[test]
fn what_only_a_window_shows_is_watched_and_remembered() {
    const WINDOW: Nanos = Nanos::from_millis(1);
    let machine = Machine::new();
    machine.put("/proc/vmstat", "thp_fault_alloc 5\ncompact_migrate_scanned 7\nnuma_hint_faults 1\n");
    let (engine, text) = (machine.engine(), "'mem.thp' = { enabled = 'never' }");
    engine.apply(&plan(&engine, text), &NOW).unwrap();
    let unwatched = engine.verify(&profile(text)).unwrap();
    assert_eq!((unwatched.knobs[0].status, unwatched.knobs[0].observed_for_s), (Status::Ok, None));

    let watched = engine.observe(&profile(text), WINDOW).unwrap();
    assert!(
        watched.knobs[0].status == Status::Ok
            && watched.knobs[0].observed_for_s.is_some_and(|time| time >= 0.001)
    );
    let later = machine.engine().verify(&profile(text)).unwrap();
    assert!(later.knobs[0].observed_for_s.is_some() && later.knobs[0].observed_ago_s.is_some(), "{later:?}");

    let counted = |count: u64| format!("thp_fault_alloc {count}\n");
    let grew = while_growing(&machine, "/proc/vmstat", counted, || {
        let row = engine.observe(&profile(text), Nanos::from_millis(1)).unwrap().knobs[0].clone();
        (row.status == Status::Failed).then_some(row)
    });
    assert!(
        grew.reason.starts_with("it reads never, and its effect goes on: thp_fault_alloc by "),
        "{}",
        grew.reason
    );

    let other = "'mem.thp' = { enabled = 'madvise' }";
    engine.apply(&plan(&engine, other), &NOW).unwrap();
    let row = engine.verify(&profile(other)).unwrap().knobs[0].clone();
    assert_eq!((row.status, row.observed_for_s), (Status::Ok, None));
}

/// Asks again and again, while a thread counts upwards in a file, until there is an answer.
pub fn while_growing<T>(
    machine: &Machine,
    path: &str,
    told: impl Fn(u64) -> String + Sync,
    ask: impl FnMut() -> Option<T>,
) -> T {
    let (file, is_over) = (machine.file(path), AtomicBool::new(false));
    let grow = || {
        for count in 10_000.. {
            // Whole or not at all, as the kernel's file.
            crate::tree::write(&file.with_extension("new"), &told(count));
            std::fs::rename(file.with_extension("new"), &file).unwrap();
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(grow);
        let answer = std::iter::repeat_with(ask).flatten().next().expect("it is asked without end");
        is_over.store(true, Ordering::Relaxed);
        answer
    })
}
