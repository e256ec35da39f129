//! Example documents for tests: an invented host with invented figures, one of each kind of trouble.
//!
//! Nothing here was measured. The golden files made from these show form, not speed.

use std::path::PathBuf;

use units::{CpuId, Nanos};

use crate::json::Schema;
use crate::json::explain::{ExplainDocument, ExplainedAttribute, ExplainedKnob};
use crate::json::keeper::{DriftReport, KeeperReport, KindReport, RingReport, WriterReport};
use crate::json::prove::{ProveDocument, ProveFigure, ProveLook, ProvedChange, ProvedKnob};
use crate::json::report::{
    BudgetReport, BudgetState, CAUSE_UNEXPLAINED, Cause, ChannelReport, ClockReport, DelayPoint, Fitness,
    FitnessState, KnobsReport, Measuring, Missing, Report, SelfReport, StallReport, ThreadReport,
    encode_hist,
};
use crate::json::sessions::{Session, SessionOverride, SessionsDocument};
use crate::json::tune::{
    AppliedChange, ApplyDocument, Change, Danger, DriftDocument, Drifted, Hint, HistoryDocument,
    PlanDocument, RollbackDocument, Skipped, StatusCounts, Transaction, VerifiedKnob, VerifyDocument,
};
use crate::wall::WallTime;

/// Compares `text` with the golden file of this name, or writes it when QUELL_BLESS is set.
#[track_caller]
pub fn golden(name: &str, text: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/report")).join(name);
    if std::env::var_os("QUELL_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "renews a file of the repository, on request")]
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|cause| panic!("{}: {cause} (QUELL_BLESS=1 writes it)", path.display()));
    assert!(
        golden == text,
        "{name} differs (QUELL_BLESS=1 renews it)\n--- golden\n{golden}\n--- now\n{text}"
    );
}

fn at(text: &str) -> WallTime {
    text.parse().unwrap()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn us(us: u64) -> Option<Nanos> {
    Some(Nanos::from_micros(us))
}

/// A host with one breached budget.
pub fn report() -> Report {
    Report {
        schema: Schema::new(),
        host: "example-01".to_owned(),
        boot_id: text("5c7d2f1e-0000-4000-8000-000000000001"),
        generated_at: at("2026-03-01T09:30:12.345678Z"),
        agent_version: text("0.1.0"),
        started_at: Some(at("2026-03-01T09:30:00.345678Z")),
        window_s: 9.5,
        fitness: Fitness {
            state: FitnessState::Degraded,
            reasons: vec![
                "budget wake-up breached on cpu 3 for 4 s".to_owned(),
                "timer-wakeup cpu 3 lost 12 samples".to_owned(),
            ],
        },
        clock: ClockReport {
            source: "tsc".to_owned(),
            hz: 2_600_000_123,
            error_ppb: Some(14),
            invariant: true,
            calibrated_over: Some(Nanos::from_millis(100)),
            checked: Some(true),
            skew_bound: Some(Nanos(76)),
            doubts: Vec::new(),
        },
        measuring: Some(Measuring {
            cpus: "2-3".parse().unwrap(),
            isolated: true,
            why: "every isolated CPU on which nothing spins".to_owned(),
        }),
        channels: vec![wakeup(2), wakeup_with_losses(), gaps()],
        budgets: budgets(),
        stalls: stalls(),
        stalls_seen: Some(300),
        stalls_dropped: Some(44),
        knobs: Some(KnobsReport {
            profile: text("colo"),
            checked_at: Some(at("2026-03-01T09:30:11Z")),
            counts: StatusCounts { ok: 11, drifted: 1, not_applicable: 3, ..StatusCounts::default() },
        }),
        keeper: Some(keeper()),
        drift: vec![drift_event()],
        rings: vec![ring(2), ring(3)],
        threads: threads(),
        self_: SelfReport {
            rss_bytes: Some(11_743_232),
            rss_anon_bytes: Some(3_250_176),
            cpu_s: Some(0.118),
            wakeups: Some(21_204),
            rss_file_bytes: Some(8_493_056),
            memory_locked: Some(false),
        },
        missing: vec![
            Missing {
                what: "causes of stalls: interrupts and softirqs".to_owned(),
                why: "/sys/kernel/tracing: permission denied".to_owned(),
                fix: text("run the keeper, which opens the trace rings and hands them over"),
            },
            Missing {
                what: "system-management interrupts".to_owned(),
                why: "/dev/cpu/2/msr: no such file".to_owned(),
                fix: None,
            },
        ],
        notes: vec![
            "FIFO probes are stopped for 50 ms in each second by sched_rt_runtime_us=950000".to_owned(),
        ],
    }
}

fn keeper() -> KeeperReport {
    KeeperReport {
        connected: true,
        since: Some(at("2026-03-01T09:30:00.4Z")),
        problem: None,
        version: text("0.1.0"),
        profile: text("colo"),
        applied: Some(true),
        reason: None,
        fence: Some(0),
        drifted: Some(4),
        repaired: Some(3),
        fights: Some(1),
        confirm_left_s: None,
    }
}

fn drift_event() -> DriftReport {
    DriftReport {
        seq: 4,
        at: at("2026-03-01T09:30:09.25Z"),
        knob: "mem.swap".to_owned(),
        attribute: "swappiness".to_owned(),
        identity: None,
        want: "10".to_owned(),
        found: "60".to_owned(),
        writer: Some(WriterReport { pid: 4711, comm: "tuned".to_owned() }),
        seen_ns: Nanos(5_400_250_000_000),
        repaired_ns: Some(Nanos(5_400_252_100_000)),
        action: "repaired".to_owned(),
    }
}

fn ring(cpu: u16) -> RingReport {
    let kind = |kind: &str, total, window| KindReport { kind: kind.to_owned(), total, window };
    RingReport {
        cpu: CpuId(cpu),
        since: at("2026-03-01T09:30:00.5Z"),
        events: 61_200,
        lost: 3,
        unknown: 0,
        window_s: 10.0,
        by_kind: vec![
            kind("context-switch", 24_010, 19_008),
            kind("irq", 2, 1),
            kind("local-timer", 12_100, 9_600),
            kind("function-call-ipi", 1, 0),
            kind("page-fault", 0, 0),
        ],
    }
}

fn wakeup(cpu: u16) -> ChannelReport {
    ChannelReport {
        name: "timer-wakeup".to_owned(),
        cpu: Some(CpuId(cpu)),
        count: 9_500,
        min: Some(Nanos(8_600)),
        p50: Some(Nanos(24_700)),
        p90: us(31),
        p99: us(48),
        p99_9: None,
        p99_99: None,
        max: us(119),
        mean: Some(Nanos(25_112)),
        dropped: 0,
        hist: None,
        unit: "ns".to_owned(),
        floor: Some(Nanos(40)),
        overflow: 0,
        scheduled: Some(9_500),
        corrected: Some(0),
        total_count: Some(12_000),
        total_max: us(119),
        p99_interval: Some((Nanos::from_micros(47), Nanos::from_micros(51))),
        p99_9_interval: None,
        delay: Vec::new(),
        degraded: Vec::new(),
    }
}

fn wakeup_with_losses() -> ChannelReport {
    ChannelReport {
        p99: us(212),
        max: Some(Nanos(2_104_000)),
        total_max: Some(Nanos(2_104_000)),
        dropped: 12,
        corrected: Some(2),
        p99_interval: Some((Nanos::from_micros(180), Nanos::from_micros(260))),
        degraded: vec!["12 samples were lost between the probe and the collector".to_owned()],
        ..wakeup(3)
    }
}

fn gaps() -> ChannelReport {
    let point = |longer_than, probability| DelayPoint { longer_than, probability };
    ChannelReport {
        name: "spin-gap".to_owned(),
        count: 890_431_112,
        min: Some(Nanos(7)),
        p50: Some(Nanos(8)),
        p90: Some(Nanos(8)),
        p99: Some(Nanos(9)),
        p99_9: Some(Nanos(12)),
        p99_99: Some(Nanos(17_400)),
        max: us(94),
        mean: Some(Nanos(9)),
        hist: Some(encode_hist(b"example, not a histogram")),
        floor: Some(Nanos(8)),
        scheduled: None,
        corrected: None,
        total_count: Some(1_124_755_088),
        total_max: us(94),
        p99_interval: Some((Nanos(9), Nanos(9))),
        p99_9_interval: Some((Nanos(12), Nanos(12))),
        delay: vec![
            point(Nanos::from_micros(1), 0.001_43),
            point(Nanos::from_micros(10), 0.000_31),
            point(Nanos::from_micros(100), 0.0),
        ],
        ..wakeup(2)
    }
}

fn budgets() -> Vec<BudgetReport> {
    let met = BudgetReport {
        name: "wake-up".to_owned(),
        channel: "timer-wakeup".to_owned(),
        state: BudgetState::Ok,
        value: us(48),
        limit: Nanos::from_micros(50),
        since: at("2026-03-01T09:30:01.4Z"),
        samples: 1_000,
        exceeded: Some(7),
        cpu: Some(CpuId(2)),
        terms: text("p99 <= 50us for 5s over 1s"),
        missing_for: None,
        breaches: Some(0),
    };
    let breached = BudgetReport {
        state: BudgetState::Breached,
        value: us(212),
        since: at("2026-03-01T09:30:08.1Z"),
        exceeded: Some(57),
        cpu: Some(CpuId(3)),
        breaches: Some(1),
        ..met.clone()
    };
    let unknown = BudgetReport {
        name: "orders".to_owned(),
        channel: "execution-engine".to_owned(),
        state: BudgetState::Unknown,
        value: None,
        limit: Nanos(300),
        samples: 0,
        exceeded: Some(0),
        cpu: None,
        terms: text("p99 <= 300ns for 5s over 1s"),
        missing_for: Some(Nanos::from_secs(12)),
        ..met.clone()
    };
    vec![met, breached, unknown]
}

fn stalls() -> Vec<StallReport> {
    let named = StallReport {
        at: at("2026-03-01T09:30:07.123456Z"),
        cpu: CpuId(3),
        duration: Nanos(2_104_000),
        cause: Cause {
            kind: "task".to_owned(),
            who: None,
            evidence: text("the probe was runnable and waited 2.08 ms for the CPU"),
        },
        seq: Some(271),
        channel: text("timer-wakeup"),
        sightings: Some(3),
        waited_on_runqueue: Some(Nanos(2_080_000)),
    };
    let unexplained = StallReport {
        at: at("2026-03-01T09:30:03.5Z"),
        cpu: CpuId(2),
        duration: Nanos::from_micros(94),
        cause: Cause { kind: CAUSE_UNEXPLAINED.to_owned(), who: None, evidence: None },
        seq: Some(102),
        channel: text("spin-gap"),
        sightings: Some(1),
        waited_on_runqueue: None,
    };
    vec![named, unexplained]
}

fn threads() -> Vec<ThreadReport> {
    let probe = ThreadReport {
        name: "timer-wakeup/2".to_owned(),
        cpu: Some(CpuId(2)),
        policy: "fifo".to_owned(),
        priority: Some(80),
        cpu_time_s: Some(0.081),
        cpus: text("2"),
        switches_voluntary: Some(12_000),
        switches_involuntary: Some(3),
        refused: Vec::new(),
    };
    let collector = ThreadReport {
        name: "collector".to_owned(),
        cpu: None,
        policy: "other".to_owned(),
        priority: None,
        cpu_time_s: Some(0.032),
        cpus: text("0-1"),
        switches_voluntary: Some(1_200),
        switches_involuntary: None,
        refused: vec![
            "cannot run as fifo:10: operation not permitted (needs LimitRTPRIO= in the unit)".to_owned(),
        ],
    };
    vec![probe, collector]
}

/// A host of which next to nothing is known.
pub fn bare() -> Report {
    let clock = ClockReport {
        source: "monotonic".to_owned(),
        hz: 1_000_000_000,
        error_ppb: None,
        invariant: false,
        calibrated_over: None,
        checked: None,
        skew_bound: None,
        doubts: vec!["the counter stops in deep idle states (no nonstop_tsc in /proc/cpuinfo)".to_owned()],
    };
    Report {
        boot_id: None,
        agent_version: None,
        started_at: None,
        window_s: 0.0,
        fitness: Fitness { state: FitnessState::Unknown, reasons: Vec::new() },
        clock,
        measuring: None,
        channels: Vec::new(),
        budgets: Vec::new(),
        stalls: Vec::new(),
        stalls_seen: None,
        stalls_dropped: None,
        knobs: None,
        keeper: None,
        drift: Vec::new(),
        rings: Vec::new(),
        threads: Vec::new(),
        self_: SelfReport::default(),
        missing: Vec::new(),
        notes: Vec::new(),
        ..report()
    }
}

fn change(knob: &str, attribute: &str, from: &str, to: &str, blast: &str) -> Change {
    Change {
        knob: knob.to_owned(),
        attribute: attribute.to_owned(),
        identity: None,
        from: text(from),
        to: to.to_owned(),
        when: "runtime".to_owned(),
        blast: blast.to_owned(),
        source: "a tuning guide".to_owned(),
        reason: None,
    }
}

/// A plan with a danger.
pub fn plan() -> PlanDocument {
    PlanDocument {
        schema: Schema::new(),
        profile: "colo".to_owned(),
        sessions: vec!["night".to_owned()],
        changes: vec![
            change("mem.swap", "swappiness", "60", "10", "harmless"),
            Change {
                identity: text("node0"),
                reason: text("the kernel may give fewer: 3.1 GiB are free on the node"),
                ..change("mem.huge", "2M", "0", "512", "memory")
            },
            Change { from: None, ..change("irq.default", "cpus", "", "0-1", "harmless") },
        ],
        skipped: vec![
            Skipped {
                knob: "iso.vmstat".to_owned(),
                attribute: text("stat_interval"),
                identity: None,
                status: "ok".to_owned(),
                reason: None,
            },
            Skipped {
                knob: "pwr.governor".to_owned(),
                status: "not-applicable".to_owned(),
                reason: text("no cpufreq driver: the hypervisor sets the frequency"),
                ..Skipped::default()
            },
        ],
        contradictions: vec![],
        dangers: vec![Danger {
            knob: text("mem.huge"),
            what: "takes 1.0 GiB of 3.1 GiB free on node 0".to_owned(),
            fix: text("ask for fewer pages, or reserve them at boot"),
        }],
        hints: vec![Hint {
            topic: "housekeeping".to_owned(),
            what: "2 housekeeping (CPU 0-1), 1 needed (1 for 36 interrupts, 200 a CPU): enough".to_owned(),
        }],
        reboot_required: false,
    }
}

fn applied(change: &Change, status: &str, reason: Option<&str>) -> AppliedChange {
    AppliedChange {
        knob: change.knob.clone(),
        attribute: change.attribute.clone(),
        identity: change.identity.clone(),
        from: change.from.clone(),
        to: change.to.clone(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
    }
}

/// Applied in part.
pub fn apply() -> ApplyDocument {
    let planned = plan().changes;
    ApplyDocument {
        schema: Schema::new(),
        id: text("17"),
        profile: "colo".to_owned(),
        changes: vec![
            applied(&planned[0], "ok", None),
            applied(&planned[1], "failed", Some("the kernel gave 300: memory is fragmented")),
        ],
        skipped: Vec::new(),
        result: "partly".to_owned(),
        writes: 2,
        reboot_required: false,
        way_back: text("quell tune rollback --to 16"),
        confirm: text("quell tune confirm 17"),
        confirm_within_s: Some(60),
    }
}

/// Put back, but for a value that somebody else changed.
pub fn rollback() -> RollbackDocument {
    let back = change("mem.swap", "swappiness", "10", "60", "harmless");
    let foreign = change("mem.dirty", "ratio", "25", "20", "harmless");
    RollbackDocument {
        schema: Schema::new(),
        id: text("18"),
        to: text("baseline"),
        changes: vec![
            applied(&back, "ok", None),
            applied(
                &foreign,
                "foreign",
                Some("changed to 25 by somebody else since; left (--force overwrites)"),
            ),
        ],
        result: "partly".to_owned(),
        writes: 1,
    }
}

/// One attribute in each of three states.
pub fn verify() -> VerifyDocument {
    let ok = VerifiedKnob {
        knob: "mem.swap".to_owned(),
        attribute: "swappiness".to_owned(),
        want: text("10"),
        have: text("10"),
        effective: Some(true),
        status: "ok".to_owned(),
        ..VerifiedKnob::default()
    };
    let pending = VerifiedKnob {
        knob: "iso.vmstat".to_owned(),
        attribute: "stat_interval".to_owned(),
        want: text("120"),
        have: text("120"),
        effective: None,
        observed_for_s: None,
        observed_ago_s: None,
        status: "pending".to_owned(),
        reason: text("seen after one interval of 120 s"),
        ..VerifiedKnob::default()
    };
    let failed = VerifiedKnob {
        knob: "mem.thp".to_owned(),
        attribute: "enabled".to_owned(),
        want: text("never"),
        have: text("always"),
        effective: Some(false),
        status: "failed".to_owned(),
        owner: text("tuned (profile throughput-performance)"),
        fix: text("systemctl disable --now tuned"),
        ..VerifiedKnob::default()
    };
    VerifyDocument {
        schema: Schema::new(),
        profile: "colo".to_owned(),
        knobs: vec![ok, pending, failed],
        summary: StatusCounts { ok: 1, pending: 1, failed: 1, ..StatusCounts::default() },
    }
}

/// One attribute that somebody changed.
pub fn drift() -> DriftDocument {
    DriftDocument {
        schema: Schema::new(),
        profile: text("colo"),
        drifted: vec![Drifted {
            knob: "mem.swap".to_owned(),
            attribute: "swappiness".to_owned(),
            identity: None,
            want: text("10"),
            have: text("60"),
            status: "drifted".to_owned(),
            since: Some(at("2026-03-01T09:12:00Z")),
            by: None,
            reason: text("who changed it is not known"),
        }],
        summary: StatusCounts { ok: 11, drifted: 1, ..StatusCounts::default() },
    }
}

/// Everything as it was applied.
pub fn no_drift() -> DriftDocument {
    let summary = StatusCounts { ok: 12, ..StatusCounts::default() };
    DriftDocument { drifted: Vec::new(), summary, ..drift() }
}

/// Transactions of every kind.
pub fn history() -> HistoryDocument {
    let apply = Transaction {
        id: "17".to_owned(),
        verb: "apply".to_owned(),
        at: Some(at("2026-03-01T09:00:00Z")),
        profile: text("colo"),
        sessions: Vec::new(),
        result: "applied".to_owned(),
        changes: 12,
        this_boot: true,
        undone: true,
        on_trial: false,
    };
    let rollback = Transaction {
        id: "18".to_owned(),
        verb: "rollback".to_owned(),
        profile: None,
        undone: false,
        ..apply.clone()
    };
    let waiting =
        Transaction { id: "19".to_owned(), changes: 2, undone: false, on_trial: true, ..apply.clone() };
    let switched = Transaction {
        id: "20".to_owned(),
        verb: "repair".to_owned(),
        sessions: vec!["night".to_owned()],
        result: "repaired".to_owned(),
        changes: 1,
        undone: false,
        ..apply.clone()
    };
    let old = Transaction {
        id: "3".to_owned(),
        at: None,
        result: "interrupted".to_owned(),
        changes: 4,
        this_boot: false,
        undone: false,
        ..apply.clone()
    };
    HistoryDocument { schema: Schema::new(), transactions: vec![switched, waiting, rollback, apply, old] }
}

/// A session that is on, and one that is not.
pub fn sessions() -> SessionsDocument {
    let night = Session {
        name: "night".to_owned(),
        on: true,
        from: Some(at("2026-03-02T21:30:00Z")),
        to: Some(at("2026-03-03T06:15:00Z")),
        from_local: text("2026-03-02 22:30 Europe/Berlin"),
        to_local: text("2026-03-03 07:15 Europe/Berlin"),
        overrides: vec![SessionOverride {
            knob: "cpu.gov".to_owned(),
            attribute: "governor".to_owned(),
            outside: "\"performance\"".to_owned(),
            within: "\"powersave\"".to_owned(),
        }],
    };
    let weekend = Session {
        name: "weekend".to_owned(),
        on: false,
        from: Some(at("2026-03-06T22:00:00Z")),
        to: Some(at("2026-03-08T21:45:00Z")),
        from_local: text("2026-03-06 22:00 UTC"),
        to_local: text("2026-03-08 21:45 UTC"),
        overrides: Vec::new(),
    };
    SessionsDocument {
        schema: Schema::new(),
        profile: text("colo"),
        at: Some(at("2026-03-03T05:00:00Z")),
        next_edge: Some(at("2026-03-03T06:15:00Z")),
        brought_to: Some(vec!["night".to_owned()]),
        sessions: vec![night, weekend],
    }
}

/// A knob with everything, and one that the firmware alone changes.
pub fn explain() -> ExplainDocument {
    let attribute = ExplainedAttribute {
        name: "enabled".to_owned(),
        kind: "one of always, never".to_owned(),
        doc: "who gets huge pages unasked".to_owned(),
        excludes: text("boot"),
        home: text("/sys/kernel/mm/transparent_hugepage/enabled"),
        effect: text("thp_fault_alloc of /proc/vmstat stays as it is while it is never"),
        absence: text("satisfied: this kernel makes none"),
    };
    let full = ExplainedKnob {
        id: "mem.thp".to_owned(),
        group: "memory".to_owned(),
        doc: "a fault that assembles a huge page stops the thread".to_owned(),
        attributes: vec![attribute],
        source: "never: a guide | another".to_owned(),
        needs: "root".to_owned(),
        when: "runtime".to_owned(),
        blast: "stall".to_owned(),
        absence: "satisfied: this kernel makes none".to_owned(),
        effect: "the bracketed word".to_owned(),
        undo: "the original word is written".to_owned(),
        side_effects: vec!["min_free_kbytes: computed anew".to_owned()],
        files: vec!["/sys/kernel/mm/transparent_hugepage/enabled".to_owned()],
    };
    let reported = ExplainedKnob {
        id: "fw.smi".to_owned(),
        group: "firmware".to_owned(),
        doc: "the firmware stops every CPU".to_owned(),
        when: "firmware".to_owned(),
        side_effects: Vec::new(),
        files: Vec::new(),
        ..full.clone()
    };
    ExplainDocument { schema: Schema::new(), knobs: vec![full, reported] }
}

/// What proving two knobs came to.
pub fn prove() -> ProveDocument {
    let change = |percent, low, high, moved| ProvedChange {
        percent: Some(percent),
        low_percent: Some(low),
        high_percent: Some(high),
        moved,
    };
    let figure = |quantile: &str, instead_of: Option<&str>, before| ProveFigure {
        probe: "timer-wakeup".to_owned(),
        quantile: quantile.to_owned(),
        instead_of: instead_of.map(str::to_owned),
        before: Nanos(before),
    };
    let looks = [(10, 0.08), (14, 0.12), (20, 0.17), (28, 0.25), (40, 0.38)];
    ProveDocument {
        profile: "balanced".to_owned(),
        cpus: Some("2-3".to_owned()),
        block: Nanos::from_secs(5),
        settle: Nanos::from_millis(500),
        seed: 7,
        error: 0.05,
        margin_percent: 5.0,
        pairs_max: 40,
        looks: looks.map(|(pairs, share)| ProveLook { pairs, share }).to_vec(),
        figures: vec![figure("p99", None, 41_000), figure("p99.9", Some("p99.99"), 88_000)],
        knobs: vec![
            ProvedKnob {
                knob: "mem.thp".to_owned(),
                switched: vec!["enabled always -> never".to_owned()],
                verdict: "helps".to_owned(),
                pairs: 14,
                stopped: "decided".to_owned(),
                changes: vec![change(-3.1, -9.4, 2.2, false), change(-21.4, -28.0, -15.9, true)],
                ..ProvedKnob::default()
            },
            ProvedKnob {
                knob: "mem.swap".to_owned(),
                switched: vec!["swappiness 60 -> 10".to_owned()],
                verdict: "undecided".to_owned(),
                pairs: 40,
                void: 2,
                stopped: "all pairs used".to_owned(),
                changes: vec![change(0.3, -4.1, 5.2, false), change(1.9, -8.8, 13.0, false)],
                ..ProvedKnob::default()
            },
        ],
        skipped: vec![Skipped {
            knob: "iso.nohz".to_owned(),
            status: "refused".to_owned(),
            reason: Some("it takes hold with a boot, and blocks are no boots".to_owned()),
            ..Skipped::default()
        }],
        result: "undecided".to_owned(),
        ..ProveDocument::default()
    }
}

/// Nothing was proved.
pub fn prove_held() -> ProveDocument {
    ProveDocument {
        profile: "balanced".to_owned(),
        block: Nanos::from_secs(5),
        result: "held".to_owned(),
        reason: Some("no probe gave a figure in a block of 5.00 s".to_owned()),
        ..ProveDocument::default()
    }
}
