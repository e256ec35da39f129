//! One command of the engine as a process of its own: this test binary, run again.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::tree::FIRST;
use host::Root;
use host::threads::{Policy, Role, monotonic_now};
use sys_tuning::{ApplyOptions, Engine, Error, Outcome, Profile, RollbackOptions, RollbackTo, Status, Step};
use units::{CpuId, CpuSet, Nanos};

const ARGUMENTS: &str = "QUELL_TUNE_COMMAND";
const SEPARATOR: char = '\u{1f}';

/// The command line of a process: `verb` on the tree `root` with its journal in `state`.
///
/// Its thread number comes first on its standard output, and it begins when a line comes on its standard input.
pub fn command(root: &Path, state: &Path, verb: &str, profile: &Path) -> Command {
    command_under(&[], &std::env::current_exe().unwrap(), root, state, verb, profile)
}

/// The same with a program in front that runs it (a fault injector, a change of user), from the copy `program`.
pub fn command_under(
    wrapper: &[&str],
    program: &Path,
    root: &Path,
    state: &Path,
    verb: &str,
    profile: &Path,
) -> Command {
    let arguments = [root, state, Path::new(verb), profile].map(|part| part.display().to_string());
    let words = wrapper.iter().map(OsStr::new).chain([program.as_os_str()]);
    let words: Vec<&OsStr> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command.args(["process::body", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ARGUMENTS, arguments.join(&SEPARATOR.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Runs one to its end; its exit code is that of the product.
pub fn run(root: &Path, state: &Path, verb: &str, profile: &Path) -> i32 {
    finish(&mut command(root, state, verb, profile))
}

/// Runs such a command line to its end.
pub fn finish(command: &mut Command) -> i32 {
    use std::io::Write;
    let mut child = command.spawn().unwrap();
    // One that died before its start line does not read it.
    let _ = child.stdin.take().unwrap().write_all(b"go\n");
    child.wait_with_output().unwrap().status.code().unwrap()
}

/// Not a test: what a process runs.
#[test]
fn body() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<&str> = arguments.split(SEPARATOR).collect();
    let [root, state, verb, profile] = arguments.as_slice() else { panic!("{arguments:?}") };
    println!("\ntid {}", nix::unistd::gettid());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let root = Path::new(root);
    let (verb, root) = match verb.strip_prefix("live-") {
        Some(verb) => (verb, Root::live_at(root)),
        None => (*verb, Root::at(root)),
    };
    let engine = Engine::new(Arc::new(root), Path::new(state));
    // Small enough for a journal of two transactions to be rewritten.
    let (verb, engine) = match verb.strip_prefix("folding-") {
        Some(verb) => (verb, engine.with_journal_bytes_max(6 << 10)),
        None => (verb, engine),
    };
    let code = match act(&engine, verb, profile) {
        Ok(code) => code,
        Err(error) => {
            println!("{error}");
            exit_code(&error)
        }
    };
    std::process::exit(code);
}

const SPIN: &str = "QUELL_TUNE_SPIN";

/// The longest that a thread spins at SCHED_FIFO: the kernel takes its CPU from it after 0.95 s of each second, and whatever
/// waits behind it until then is let go by its end.
const SPIN_MAX: Nanos = Nanos::from_millis(850);

/// A process with a thread "spin" that spins on `cpu` at SCHED_FIFO, by the time this returns, for less than a second;
/// `None` where that is refused.
pub fn spinner(cpu: CpuId) -> Option<Child> {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["process::spin", "--exact", "--nocapture", "--test-threads=1"]).env(SPIN, cpu.to_string());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = told.into_iter().find(|line| line == "spins" || line == "refused");
    if told.as_deref() == Some("spins") {
        return Some(child);
    }
    child.wait().unwrap();
    None
}

/// Not a test: what a process runs that keeps a CPU to itself.
#[test]
fn spin() {
    let Ok(cpu) = std::env::var(SPIN) else { return };
    let cpus: CpuSet = cpu.parse().unwrap();
    let role = Role { name: "spin".to_owned(), cpus, policy: Policy::Fifo(50) };
    let thread = host::threads::spawn(role, |placement| {
        let is_refused = placement.policy_refused.is_some() || placement.cpus_refused.is_some();
        // Pages that this CPU has yet to sort in: whoever has every CPU do that waits for this one.
        std::hint::black_box(vec![1_u8; 4 << 20]);
        println!("\n{}", if is_refused { "refused" } else { "spins" });
        let until = monotonic_now() + SPIN_MAX;
        while !is_refused && monotonic_now() < until {
            std::hint::spin_loop();
        }
    });
    thread.unwrap().join().unwrap();
    std::process::exit(0);
}

/// As the product's commands answer.
fn exit_code(error: &Error) -> i32 {
    match error {
        Error::Profile(_) | Error::NoSuchTransaction { .. } => 2,
        Error::Permission { .. } => 4,
        Error::Integrity { .. } => 5,
        Error::Busy { .. } => 9,
        Error::Refused(_) => 22,
        Error::State { .. } | Error::Host(_) => 1,
    }
}

fn act(engine: &Engine, verb: &str, profile: &str) -> Result<i32, Error> {
    let back = |to| RollbackOptions { to, force: false, at: 0 };
    match verb {
        "plan" => Ok(if engine.plan(&Profile::load(profile)?)?.changes.is_empty() { 0 } else { 10 }),
        "verify" => engine.verify(&Profile::load(profile)?).map(|_| 0),
        "apply" => apply(engine, profile, false),
        "apply-atomic" => apply(engine, profile, true),
        "apply-first" => {
            let plan = engine.plan(&Profile::parse("first", FIRST)?)?;
            engine.apply(&plan, &ApplyOptions::default()).map(|_| 0)
        }
        "apply-day" => sessions(engine, profile, DAY, ApplyOptions::PLAIN),
        "switch" => sessions(engine, profile, NIGHT, ApplyOptions { is_hold: true, ..ApplyOptions::PLAIN }),
        "apply-mutant" => {
            write_before_the_journal(engine, &Profile::load(profile)?)?;
            apply(engine, profile, false)
        }
        "settle" => engine.settle_boot(sys_tuning::boot::Confirm::ByEvidence).map(|_| 0),
        "repair" => repair(engine),
        "rollback" => rollback(engine, &back(RollbackTo::Baseline)),
        "rollback-last" => rollback(engine, &back(RollbackTo::Last)),
        _ => panic!("{verb}: no such verb"),
    }
}

fn apply(engine: &Engine, profile: &str, atomic: bool) -> Result<i32, Error> {
    let plan = engine.plan(&Profile::load(profile)?)?;
    let applied = engine.apply(&plan, &ApplyOptions { atomic, ..ApplyOptions::PLAIN })?;
    Ok(if applied.result == Outcome::Done { 0 } else { 7 })
}

/// Noon of a Monday and midnight after it.
const DAY: i64 = 1_796_040_000;
const NIGHT: i64 = DAY + 12 * 3600;

/// Brings the machine to what the profile is at `at`, with a night in which most forms of cells are something else.
fn sessions(engine: &Engine, profile: &str, at: i64, options: ApplyOptions) -> Result<i32, Error> {
    let night = "[session.night]\ndays = ['mon']\nfrom = '22:00'\nto = '06:00'\nzone = 'UTC'\n[session.night.knobs]\n\
                 'mem.swap' = { swappiness = 60 }\n'mem.thp' = { enabled = 'always' }\n'irq.aff' = { cpus = 'all' }\n\
                 'cpu.qos' = { latency_us = 'any' }\n'mem.huge' = { \"2M\" = { node0 = 0 } }\n";
    let text = Profile::load(profile)?.to_toml();
    let profile = Profile::parse(profile, &format!("{text}{night}"))?.at(at);
    assert_eq!(profile.sessions_on().is_empty(), at == DAY);
    let plan = engine.plan(&profile)?;
    let plan = if options.is_hold { plan.of_sessions(&profile) } else { plan };
    let applied = engine.apply(&plan, &options)?;
    Ok(if applied.result == Outcome::Done { 0 } else { 7 })
}

/// Puts back every line that drifted, as the keeper does.
fn repair(engine: &Engine) -> Result<i32, Error> {
    let mut holder = engine.holder();
    holder.refresh()?;
    let lines: Vec<usize> = (0..holder.len()).filter(|index| !holder.is_rule(*index)).collect();
    let repairs = holder.repair(&lines)?;
    let is_done = repairs.is_some_and(|repairs| repairs.lines.iter().all(|line| line.refused.is_none()));
    Ok(if is_done { 0 } else { 7 })
}

fn rollback(engine: &Engine, options: &RollbackOptions) -> Result<i32, Error> {
    let back = engine.rollback(options)?;
    let is_back = |status| matches!(status, Status::Ok | Status::NeedsReboot);
    let all = back.changes.iter().all(|change| is_back(change.status));
    Ok(if all { 0 } else { 3 })
}

/// The seeded bug that every crash test must find: the kernel is written first and the journal learns of it later.
fn write_before_the_journal(engine: &Engine, profile: &Profile) -> Result<(), Error> {
    for change in engine.plan(profile)?.changes {
        for step in change.steps {
            if let Step::Write { path, text } = step {
                engine.root().write(&path, &format!("{text}\n"))?;
            }
        }
    }
    Ok(())
}
