//! The one table of limits: every queue, body, list, retry and wait in quell is bounded, and the bound stands here.
//!
//! A limit that only one function knows may stay beside that function; one that two places must agree on, or that an
//! operator may meet in an error message, stands here with its reason.

use crate::Nanos;

/// CPUs a kernel can have: CONFIG_NR_CPUS of a distribution's x86-64 kernel with MAXSMP.
pub const CPUS_MAX: usize = 8192;

/// Characters of a checked name ([`crate::Name`]): fits a journal field, a metric label and a column.
pub const NAME_LEN_MAX: usize = 64;

/// Bytes read from one kernel file. The largest we read is `/proc/interrupts`: 12 bytes a CPU and line, 3.1 MiB with
/// 512 CPUs and 500 lines.
pub const KERNEL_FILE_BYTES_MAX: usize = 8 << 20;

/// Bytes of one configuration or profile file; larger is a mistake, not a configuration.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Files of one kind of configuration that are read, all its directories together; a distribution has tens.
pub const CONF_FILES_MAX: usize = 1024;

/// Bytes read of each; udev's largest rules have some 30 KiB.
pub const CONF_FILE_BYTES_MAX: u64 = 256 << 10;

/// Channels the agent keeps histograms for: eight probes on 64 CPUs.
pub const CHANNELS_MAX: usize = 512;

/// Budgets an agent evaluates; each costs one integer compare a sample of its channel.
pub const BUDGETS_MAX: usize = 64;

/// Budgets on one channel: bounds the compares on the recording path.
pub const BUDGETS_PER_CHANNEL_MAX: usize = 4;

/// Samples a probe thread's ring holds: 16 384 × 24 B = 384 KiB. At 20 000 samples/s (the busiest default) that is
/// 0.8 s, eighty times the collector's period, so the collector may miss seventy-nine wake-ups and lose nothing.
pub const RING_SAMPLES: usize = 1 << 14;

/// The collector's period between drains of its rings.
pub const COLLECTOR_PERIOD: Nanos = Nanos::from_millis(10);

/// Bytes of the ring with a CPU's kernel events, without its head page. An event takes some 70 bytes, so that ten
/// thousand a second fill it in a third of a second, thirty times the collector's period; and with its page it stays below
/// the 516 KiB a CPU that the kernel lets an ordinary user map (`kernel.perf_event_mlock_kb`).
pub const TRACE_RING_BYTES: u32 = 256 << 10;

/// CPUs whose kernel events are read at once: fifteen descriptors and a ring each, 960 of the 1024 that the agent's unit
/// may put into the service manager's store, and 16 MiB.
pub const TRACE_CPUS_MAX: usize = 64;

/// Kernel events that one pass of the collector takes out of one CPU's ring: a whole ring of the shortest ones.
pub const TRACE_EVENTS_A_PASS: usize = 8192;

/// Drift events the agent keeps for its reports, newest last.
pub const DRIFT_EVENTS_KEPT: usize = 64;

/// Stalls kept, newest last; older ones are dropped and counted.
pub const STALLS_KEPT: usize = 256;

/// Connections the report socket serves at once; one more is answered 503 and closed.
pub const CLIENTS_MAX: usize = 64;

/// Bytes of a request's head (request line and headers).
pub const REQUEST_HEAD_BYTES_MAX: usize = 8 << 10;

/// Time a client has to send its request.
pub const REQUEST_DEADLINE: Nanos = Nanos::from_secs(2);

/// Time a client has to take its answer.
pub const RESPONSE_DEADLINE: Nanos = Nanos::from_secs(5);

/// Bytes of an answer the command line reads before it gives up: a report with histograms of 512 channels is below.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Time one write to a kernel file may take before its knob is `blocked`.
pub const KERNEL_WRITE_DEADLINE: Nanos = Nanos::from_millis(250);

/// Network interfaces whose drivers are asked in one survey: a host with containers may have thousands.
pub const INTERFACES_MAX: usize = 256;

/// Writes that may be blocked in the kernel at once; with one more the transaction stops.
pub const BLOCKED_WRITES_MAX: usize = 4;

/// Bytes of the tuning journal before it is rewritten with what still counts.
pub const JOURNAL_BYTES_MAX: u64 = 4 << 20;

/// Bytes held in reserve beside the journal, so that a roll-back can be recorded on a full disk.
pub const JOURNAL_RESERVE_BYTES: u64 = 64 << 10;

/// Threads looked at when those that may use isolated CPUs are searched: 0.4 us each, so 13 ms at most. The rest is counted.
pub const TASKS_SEEN_MAX: usize = 32_768;

/// Threads one apply moves: a journal record of about 300 bytes each, so that they stay well below
/// [`JOURNAL_BYTES_MAX`]. The rest is counted and told.
pub const TASKS_MOVED_MAX: usize = 2048;

/// Files of one pattern that a knob has (idle states of every CPU, queues of every device): 1024 CPUs of 8 states.
pub const KNOB_FILES_MAX: usize = 8192;

/// Cgroup v1 sets looked at for load balancing that overlaps ours; a host has tens, a host of containers hundreds.
pub const CPUSETS_SEEN_MAX: usize = 4096;

/// Bytes of a control group's path in a profile: one component's bound in the kernel, and room enough for systemd's trees.
pub const GROUP_PATH_BYTES_MAX: usize = 255;

/// Transactions `quell tune history` keeps after the journal is rewritten.
pub const HISTORY_KEPT: usize = 200;

/// Profiles that stand beneath the one a host is held to, and that undoing leads back to; older ones are forgotten.
pub const STANDING_KEPT: usize = 16;

/// Characters of quell's part of the kernel command line: GRUB's block of 1024 bytes less its signature, the names, the id
/// and the reason why a trial was not kept (25 + 43 + 17 + 175 bytes).
pub const BOOT_LINE_BYTES_MAX: usize = 760;

/// Characters of a kernel command line: COMMAND_LINE_SIZE of x86 and arm64 less the byte that ends it.
pub const KERNEL_CMDLINE_BYTES_MAX: usize = 2047;

/// Connections the keeper serves at once: the agent has one, and a new agent may come before the old one is gone. With one
/// more, the connection that has been idle longest is dropped.
pub const KEEPER_CLIENTS_MAX: usize = 4;

/// Most changes an hour that a policy can allow the keeper.
pub const CHANGES_PER_HOUR_MAX: u32 = 10_000;

/// How far one order may raise the fence: a fleet counts it up by one for each new commander, and an agent that was taken
/// over must not be able to use up the numbers of all that come after it.
pub const FENCE_STEP_MAX: u64 = 1024;

/// Orders that change something which may come at once: one for each group of settings, several times over.
pub const CHANGING_ORDERS_BURST: u32 = 32;

/// What is added to that again in a second.
pub const CHANGING_ORDERS_PER_SECOND: u32 = 1;

/// How long a drift that was put back waits for the name of its writer before it is told without: the kernel tells of a
/// write after the value has changed, and a writer that loses its CPU in between is late.
pub const WRITER_PATIENCE: Nanos = Nanos::from_millis(200);

/// Bytes of the keeper's audit log before it is renamed to `audit.log.1`: some 5000 orders, and as many in the file before.
pub const AUDIT_BYTES_MAX: u64 = 1 << 20;

/// Refusals the keeper writes down in a minute; further ones are counted, so that a flood of them neither fills the log
/// nor pushes out what mattered.
pub const REFUSALS_TOLD_PER_MINUTE: u32 = 30;

/// Orders carried out that the keeper writes down in a minute: those of an agent that opens every event of eight CPUs. An
/// agent that was taken over may give as many as it likes, and must not be able to push out what it did before.
pub const ORDERS_TOLD_PER_MINUTE: u32 = 120;

/// Drifts that the keeper writes down in a minute: as many settings as a rival service changes when it starts. Further ones
/// are counted.
pub const DRIFTS_TOLD_PER_MINUTE: u32 = 120;

/// Passes in one second that notices of writes may bring about; whoever writes more often than that is seen by the
/// sweep, and costs the host no more.
pub const NOTICED_PASSES_MAX: u32 = 50;

/// Reads of notices in one pass: 64 of 256 are a whole queue (fs.inotify.max_queued_events). The rest waits for the next.
pub const NOTICE_READS_MAX: usize = 64;

/// The same of the notices that name writers, of 170 each; every process is looked at once a pass.
pub const WRITER_READS_MAX: usize = 8;

/// Bytes of a writer's command line that are read.
pub const COMMAND_BYTES_MAX: usize = 512;

/// How long another quell may hold the tuning lock before the keeper says that nobody watches for drift meanwhile.
pub const BUSY_TOLD_AFTER: Nanos = Nanos::from_secs(10);

/// The shortest time in which an apply can be asked to be confirmed: long enough to type it.
pub const CONFIRM_WITHIN_MIN: Nanos = Nanos::from_secs(1);

/// The longest; whoever needs more confirms first.
pub const CONFIRM_WITHIN_MAX: Nanos = Nanos::from_secs(24 * 3600);

/// The shortest block that `quell tune prove` compares: a cycle of the probes.
pub const BLOCK_MIN: Nanos = Nanos::from_millis(100);

/// The longest: eighty of them are a night.
pub const BLOCK_MAX: Nanos = Nanos::from_secs(600);

/// Most blocks that `quell tune prove` gives a knob; the test's averages grow with the square of the pairs, 20 100 of these.
pub const BLOCKS_MAX: u32 = 400;

/// Attempts, a second apart, at undoing what was not confirmed while something stands in the way.
pub const OVERDUE_ATTEMPTS: usize = 3600;

/// Attempts at what could not be put back of it, with pauses that double up to [`OVERDUE_REST_PAUSE_MAX`]: five minutes.
/// Each is a transaction of the journal.
pub const OVERDUE_REST_ATTEMPTS: usize = 10;

/// The longest pause between two of them.
pub const OVERDUE_REST_PAUSE_MAX: Nanos = Nanos::from_secs(60);

/// Drift events the keeper keeps for whoever asks; older ones are dropped, which a gap in their numbers shows.
pub const DRIFTS_KEPT: usize = 256;

/// Files the keeper has watched, each of which holds a descriptor: half of what a process may open by default. Lines beyond
/// them are looked at by the sweep alone.
pub const WATCHED_FILES_MAX: usize = 512;

/// Between two sweeps over the cells that are held: what the kernel changes by itself is seen within this.
pub const SWEEP_PERIOD: Nanos = Nanos::from_secs(1);

/// CPU time of one sweep: 0.08 % of one CPU. Where that does not do for all cells they are read in turn.
pub const SWEEP_BUDGET: Nanos = Nanos(800_000);

/// Cells a sweep reads whatever it costs.
pub const SWEEP_LINES_MIN: usize = 16;

/// Between two looks at what came and went: interrupts, CPUs, workqueues.
pub const SURVEY_PERIOD: Nanos = Nanos::from_secs(10);
