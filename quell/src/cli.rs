//! What can be typed: the one table of commands and flags, from which help comes.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use host::threads::Policy;
use report::{Exit, WallTime};
use units::{CpuSet, Nanos};

use crate::failure::{self, Failure};

/// Where the agent answers unless told otherwise.
pub const REPORT_SOCKET: &str = "/run/quell/report.sock";
/// Where the agent's configuration stands unless told otherwise.
pub const CONFIG_FILE: &str = "/etc/quell/quell.toml";
/// Where the tuning journal stands unless told otherwise.
pub const STATE_DIR: &str = "/var/lib/quell/keeper";
/// Where root's policy stands unless told otherwise.
pub const POLICY_FILE: &str = "/etc/quell/policy.toml";

/// quell: is this host quiet, what is its latency, and why not.
#[derive(Debug, Parser)]
#[command(name = "quell", version, arg_required_else_help = true, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  quell up --for 10s                    measure this host now, change nothing
  quell tune plan --profile balanced    what would be changed, and why
  quell tune apply --profile balanced   change it; the way back is printed
  quell report                          ask the running agent

Exit codes: 0 yes, 1 failure, 2 usage, 3 no (drift, breach, unfit), 4 permission, 5 integrity,
6 peer unreachable, 7 partly done, 8 done but reboot needed, 9 busy, 10 changes pending,
20 rolled back, 21 held (no evidence), 22 refused, 23 aborted.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure this host in the foreground; changes nothing, needs no configuration
    Up(Box<Up>),
    /// Run as the daemon that measures and answers on the report socket
    Agent(Agent),
    /// Print what the running agent measured; exit 0 when the host is fit, 3 when not or not known
    Report(Reading),
    /// Print the running agent's latency budgets; exit 3 when one is breached or cannot be judged
    Budgets(Reading),
    /// Print the stalls the running agent saw, with their causes
    Stalls(Reading),
    /// Plan, apply, verify and roll back the tuning of this host
    Tune(Tune),
    /// Check every precondition of tuning and measuring, each with its fix; exit 3 when one keeps a profile from holding
    Doctor(Doctor),
    /// Check the agent's configuration
    Config(Config),
}

/// `quell up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quell up                              live table until Ctrl-C, then the full report
  quell up --for 10s --json             the report as quell.report/1
  quell up --cpus 3 --probe timer-wakeup --policy fifo:80 --for 1min")]
pub struct Up {
    /// Measure for this long, as in 10s; without it until Ctrl-C
    #[arg(long = "for", value_name = "TIME")]
    pub for_: Option<Nanos>,
    /// CPUs to measure, as in 2-3,7; default: the isolated ones, else some of all
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<CpuSet>,
    /// Probe to run, may be repeated; default: timer-wakeup, spin-gap, syscall; only when named: sched-yield, eventfd,
    /// futex-wake, minor-fault, huge-fault, unix-stream, udp-loopback (docs/probes.md)
    #[arg(long = "probe", value_name = "NAME")]
    pub probes: Vec<String>,
    /// Scheduling policy of the probe threads: other, or fifo:1 to fifo:99
    #[arg(long, value_name = "POLICY", default_value_t = Policy::Other)]
    pub policy: Policy,
    /// Period of the timer-wakeup probe
    #[arg(long, value_name = "TIME", default_value = "1ms")]
    pub interval: Nanos,
    /// How long spin-gap spins of each 100 ms when it is not the only probe
    #[arg(long, value_name = "TIME", default_value = "10ms")]
    pub spin: Nanos,
    /// Samples from this length on are kept as stalls, with their cause
    #[arg(long, value_name = "TIME", default_value = "50us")]
    pub stall: Nanos,
    /// Budget to judge, as in "timer-wakeup p99 <= 50us for 5s over 2s"
    #[arg(long, value_name = "BUDGET")]
    pub budget: Option<String>,
    /// Print the report as JSON (quell.report/1)
    #[arg(long)]
    pub json: bool,
    /// Include each channel's histogram in the JSON (HDR V2, base64)
    #[arg(long, requires = "json")]
    pub hist: bool,
}

/// `quell agent`.
#[derive(Debug, Args)]
pub struct Agent {
    /// Configuration file; conf.d/*.toml beside it is read after it
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    pub config: PathBuf,
    /// Report socket, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `quell report`, `budgets`, `stalls`.
#[derive(Debug, Args)]
pub struct Reading {
    /// The agent's report socket
    #[arg(long, value_name = "PATH", default_value = REPORT_SOCKET)]
    pub socket: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `quell doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print the findings as JSON (quell.doctor/1)
    #[arg(long)]
    pub json: bool,
    /// Where the journal of originals is kept
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,
    /// A fixture tree in place of /
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// `quell config`.
#[derive(Debug, Args)]
pub struct Config {
    /// What to do with it.
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

/// The verbs of `quell config`.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Check a configuration without using it; every mistake with its line
    Check {
        /// The file to check
        #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
        file: PathBuf,
    },
    /// Print every value in force and where it comes from
    Explain {
        /// The file to explain
        #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
        file: PathBuf,
    },
}

/// `quell tune`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quell tune plan --profile balanced        what would change; exit 10 when something would
  quell tune apply --profile ./my.toml      write it; prints the way back
  quell tune verify --profile balanced      did each knob take effect; exit 3 when not
  quell tune rollback                       undo the last apply, --to baseline undoes all")]
pub struct Tune {
    /// What to do.
    #[command(subcommand)]
    pub verb: TuneVerb,
    /// Where the journal of originals is kept
    #[arg(long, global = true, value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,
    /// A fixture tree in place of /
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The policy that says when the host trades
    #[arg(long, global = true, value_name = "FILE", default_value = POLICY_FILE)]
    pub policy_file: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The profile of a tune verb.
#[derive(Debug, Args)]
pub struct Profile {
    /// Profile by name (observe, balanced) or file
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: String,
}

/// The verbs of `quell tune`.
#[derive(Debug, Subcommand)]
pub enum TuneVerb {
    /// Show what a profile would change here, and write nothing; exit 10 when something would change
    Plan {
        /// Which profile.
        #[command(flatten)]
        profile: Profile,
        /// Print the plan as plain shell lines
        #[arg(long)]
        script: bool,
        /// As if it were this time, as in 2026-11-30T23:00:00Z: what the sessions of the profile come to then
        #[arg(long, value_name = "TIME")]
        at: Option<WallTime>,
        /// Print only what works against what; exit 3 when something does
        #[arg(long, conflicts_with_all = ["script", "json"])]
        contradictions: bool,
    },
    /// Bring the host to a profile; originals are on disk before the first write
    Apply {
        /// Which profile.
        #[command(flatten)]
        profile: Profile,
        /// Undo everything when one change fails
        #[arg(long)]
        atomic: bool,
        /// Go on in spite of dangers that the plan names and that may be accepted
        #[arg(long)]
        accept_dangers: bool,
        /// Go on although a trading window is open that forbids what would be changed
        #[arg(long)]
        in_session: bool,
        /// Undo everything again unless `quell tune confirm` comes within this time, as in 60s
        #[arg(long, value_name = "TIME")]
        confirm_within: Option<Nanos>,
    },
    /// Keep what `apply --confirm-within` did; exit 22 when nothing waits for it, or its time is over
    Confirm {
        /// The transaction; default: the one that waits
        #[arg(value_name = "ID")]
        id: Option<u64>,
        /// Be the guard of an apply that another process makes
        #[arg(long, hide = true)]
        guard: bool,
    },
    /// Check that every knob of a profile took effect; exit 3 when one did not
    Verify {
        /// Which profile.
        #[command(flatten)]
        profile: Profile,
        /// Watch for this long what only a window shows (counters that must not grow), as in 10s; the last look is kept
        #[arg(long, value_name = "TIME")]
        observe: Option<Nanos>,
    },
    /// Switch knobs on and off and measure which earn their place on this host; puts everything back
    Prove(Box<Prove>),
    /// Put original values back; needs no daemon
    Rollback {
        /// Back to just after this apply, or `baseline` for every original; default: undo the last apply
        #[arg(long, value_name = "ID|baseline")]
        to: Option<String>,
        /// Also overwrite values that somebody else changed since, and use what is intact of a damaged journal
        #[arg(long)]
        force: bool,
        /// Print what would be written as plain shell lines, and write nothing
        #[arg(long)]
        script: bool,
    },
    /// Compare the host with what was applied; exit 3 when something changed since
    Drift,
    /// List the applies and roll-backs of this host
    History,
    /// Show the sessions of a profile and their next edges; exit 3 when the host is not at the one that is on
    Sessions {
        /// Profile by name or file; default: the one this host is held to
        #[arg(long, value_name = "NAME|FILE")]
        profile: Option<String>,
        /// As if it were this time, as in 2026-11-30T23:00:00Z
        #[arg(long, value_name = "TIME")]
        at: Option<WallTime>,
    },
    /// Show the boot line: what boots, what is on trial, what the kernel accepted; exit 8 when a reboot is due
    Boot {
        /// What to do with it.
        #[command(subcommand)]
        verb: Option<BootVerb>,
    },
    /// Explain one knob: what it does, who recommends it, what it may disturb
    Explain {
        /// The knob, as in mem.thp, or the name of a contradiction; `contradictions` lists these; without it, every knob
        knob: Option<String>,
        /// Print a page of Markdown
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
    },
}

/// `quell tune prove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quell tune prove --profile balanced             each knob of the profile against its absence
  quell tune prove mem.thp --profile ./my.toml --probe timer-wakeup,spin-gap --cpus 2-3 --for 10s

Each knob is on in one block of a pair and off in the other, in random order, until it is decided
whether it matters. ^C and SIGTERM put everything back at once; after kill -9 `quell tune rollback`
does, and without it a guard when the time of the block is over.

Exit codes: 0 it ran, 21 nothing to compare or to measure by, 22 the knobs named are refused,
23 ended before.")]
pub struct Prove {
    /// Knobs to compare, as in mem.thp; default: each of the profile
    #[arg(value_name = "KNOB")]
    pub knobs: Vec<String>,
    /// Which profile.
    #[command(flatten)]
    pub profile: Profile,
    /// Probes to compare by, as in timer-wakeup,spin-gap
    #[arg(long = "probe", value_name = "NAME", value_delimiter = ',', default_value = "timer-wakeup")]
    pub probes: Vec<String>,
    /// CPUs to measure, as in 2-3,7; default: the isolated ones, else some of all
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<CpuSet>,
    /// Measure each block for this long
    #[arg(long = "for", value_name = "TIME", default_value = "5s")]
    pub for_: Nanos,
    /// Let this pass after each switch before measuring
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    pub settle: Nanos,
    /// Most blocks a knob gets, two a pair
    #[arg(long, value_name = "N", default_value_t = 80)]
    pub blocks: u32,
    /// A change of every figure below this is nothing, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    pub margin: u32,
    /// Repeat the order of blocks of an earlier run
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Scheduling policy of the probe threads: other, or fifo:1 to fifo:99
    #[arg(long, value_name = "POLICY", default_value_t = Policy::Other)]
    pub policy: Policy,
    /// Period of the timer-wakeup probe
    #[arg(long, value_name = "TIME", default_value = "1ms")]
    pub interval: Nanos,
    /// Also switch knobs that reset a link or take memory, and go on in spite of dangers that may be accepted
    #[arg(long)]
    pub accept_dangers: bool,
}

/// The verbs of `quell tune boot`.
#[derive(Debug, Subcommand)]
pub enum BootVerb {
    /// Make the boot loader's blocks that are missing; for installers, once, before update-grub
    Init,
    /// Keep the line that this boot tries, although a part of it cannot be seen; not what the kernel refused
    Confirm,
    /// Forget the trial: the next boot has the good line, and the same line may be tried again
    Forget,
}

/// Shows the help that was asked for, or says in one line what cannot be understood.
pub fn not_run(asked: &clap::Error) -> Exit {
    match asked.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = asked.print(); // a reader that went away has seen enough
            Exit::Yes
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = asked.print();
            Exit::Usage
        }
        _ => failure::tell(&Failure::new(Exit::Usage, one_line(&asked.to_string()))),
    }
}

/// clap's message as every other of ours: what is wrong, then its tip or where to read on.
fn one_line(message: &str) -> String {
    let mut paragraphs =
        message.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let wrong = paragraphs.next().unwrap_or_default();
    let wrong = wrong.strip_prefix("error: ").unwrap_or(&wrong);
    let tip = paragraphs.find_map(|text| Some(text.strip_prefix("tip: ")?.to_owned()));
    format!("{wrong} ({})", tip.as_deref().unwrap_or("see --help"))
}
