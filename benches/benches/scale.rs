//! What the engine costs on a large host: a hundred settings journaled, applied and verified, four hundred verified, and
//! four hundred interrupts verified; and the command that verifies those four hundred, from exec to exit.
//!
//! The host is a tree of plain files in memory, because no machine of this project has as many CPUs or interrupts; the
//! kernel's own time for its attributes is therefore not in these figures (`apply` has it), and the floor beside each is
//! the same files opened, read and closed one by one in the same round. The first verifying of an engine opens every file
//! and reads the journal, as a command does; the later ones read what it keeps open and see that the journal is the same, as
//! the keeper does. Either way each attribute and its effect are read from the file and compared.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use benches::{Bench, Figures, is_short, quell};
use host::Root;
use host::threads::{monotonic_now, sleep_until};
use sys_tuning::{ApplyOptions, Engine, Outcome, Profile, RollbackOptions, RollbackTo};
use units::Nanos;

/// The promises, in milliseconds.
const APPLY_100_MS: f64 = 5.0;
const VERIFY_400_MS: f64 = 2.0;
const COMMAND_MS: f64 = 10.0;

/// How far verifying again may lie above opening, reading and closing the same files once: bounds that travel. Measured:
/// 0.7 times for settings. Of an interrupt five files are read, and the floor has two of them.
const SETTINGS_OVER_FLOOR: f64 = 1.0;
const INTERRUPTS_OVER_FLOOR: f64 = 2.0;

/// The same for verifying with nothing open, which opens the files too, and reads the journal.
const FIRST_OVER_FLOOR: f64 = 3.0;

/// A journal that changed a moment ago is not kept read yet (`sys_tuning::book`).
const SETTLED: Nanos = Nanos::from_millis(50);

/// Single attributes beside those of the CPUs.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("vm/swappiness", "60"),
    ("vm/dirty_ratio", "20"),
    ("vm/dirty_bytes", "0"),
    ("vm/dirty_background_ratio", "10"),
    ("vm/dirty_background_bytes", "0"),
    ("vm/stat_interval", "1"),
    ("kernel/hung_task_timeout_secs", "120"),
    ("kernel/timer_migration", "1"),
];

/// Settings that those make: the dirty pair is one of two.
const SINGLE: usize = 6;

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "scale: a hundred settings applied, four hundred verified, four hundred interrupts",
        "Milliseconds; a host of plain files in memory, the floor in the same rounds.",
    );
    host::allow_descriptors(); // as the command and the keeper do
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.context("no temporary folder")?;
    let hundred = settings(&folder.path().join("hundred"), 100)?;
    applied(&mut bench, &hundred, "100 settings", Some(APPLY_100_MS))?;
    let four_hundred = settings(&folder.path().join("four-hundred"), 400)?;
    applied(&mut bench, &four_hundred, "400 settings", None)?;
    verified(&mut bench, &four_hundred, "400 settings", Some(VERIFY_400_MS), SETTINGS_OVER_FLOOR)?;
    commands(&mut bench, &four_hundred, "400 settings")?;
    let interrupts = interrupts(&folder.path().join("interrupts"), 400)?;
    verified(&mut bench, &interrupts, "400 interrupts", None, INTERRUPTS_OVER_FLOOR)?;
    Ok(bench.finish())
}

/// A host with what a profile wants of it.
struct Host {
    root: Arc<Root>,
    place: std::path::PathBuf,
    state: std::path::PathBuf,
    profile: Profile,
    /// The files that hold the wanted values and their effects.
    files: Vec<String>,
    settings: usize,
}

/// A host on which a profile has `count` settings, a wake-up limit a CPU most of them.
fn settings(place: &Path, count: usize) -> anyhow::Result<Host> {
    let cpus = count - SINGLE;
    machine(place, cpus)?;
    for (name, value) in ATTRIBUTES {
        put(place, &format!("/proc/sys/{name}"), value)?;
    }
    let mut files: Vec<String> = ATTRIBUTES.iter().map(|(name, _)| format!("/proc/sys/{name}")).collect();
    for cpu in 0..cpus {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us");
        put(place, &file, "0")?;
        files.push(file);
    }
    let last = cpus - 1;
    let text = format!(
        "schema = \"quell.profile/1\"\n[knobs]\n\"mem.swap\" = {{ swappiness = 11 }}\n\
         \"mem.dirty\" = {{ ratio = 11, background_ratio = 4 }}\n\"iso.vmstat\" = {{ stat_interval = 11 }}\n\
         \"iso.hung\" = {{ timeout_secs = 601 }}\n\"iso.timermig\" = {{ enabled = false }}\n\
         \"cpu.qos\" = {{ cpus = \"0-{last}\", latency_us = 0 }}\n"
    );
    Host::new(place, &text, files, count)
}

/// A host with `count` interrupts that may go anywhere and go to the first CPU, as wanted.
fn interrupts(place: &Path, count: usize) -> anyhow::Result<Host> {
    machine(place, 8)?;
    let mut files = Vec::new();
    for irq in 0..count {
        for (name, text) in [("smp_affinity_list", "0"), ("effective_affinity_list", "0")] {
            let file = format!("/proc/irq/{irq}/{name}");
            put(place, &file, text)?;
            files.push(file);
        }
        put(place, &format!("/sys/kernel/irq/{irq}/chip_name"), "PCI-MSIX-0000:00:02.0")?;
        put(place, &format!("/sys/kernel/irq/{irq}/actions"), &format!("nic-rx-{irq}"))?;
        put(place, &format!("/sys/kernel/irq/{irq}/hwirq"), &irq.to_string())?;
    }
    let text = "schema = \"quell.profile/1\"\n[knobs]\n\"irq.aff\" = { cpus = \"0\" }\n";
    Host::new(place, text, files, count)
}

fn machine(place: &Path, cpus: usize) -> anyhow::Result<()> {
    let all = format!("0-{}", cpus - 1);
    for (name, text) in
        [("possible", all.as_str()), ("present", &all), ("online", &all), ("offline", ""), ("isolated", "")]
    {
        put(place, &format!("/sys/devices/system/cpu/{name}"), text)?;
    }
    for cpu in 0..cpus {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        put(place, &file, &cpu.to_string())?;
    }
    put(place, "/proc/self/mountinfo", "34 31 0:31 / /sys/fs/cgroup rw - tmpfs tmpfs rw")
}

fn put(place: &Path, file: &str, line: &str) -> anyhow::Result<()> {
    let path = place.join(&file[1..]);
    let folder = path.parent().context("a file in a folder")?;
    fs::create_dir_all(folder)?;
    std::io::Write::write_all(&mut fs::File::create(&path)?, format!("{line}\n").as_bytes())
        .with_context(|| path.display().to_string())
}

impl Host {
    fn new(place: &Path, text: &str, files: Vec<String>, settings: usize) -> anyhow::Result<Self> {
        let state = place.join("state");
        let profile = Profile::parse("scale", text)?;
        put(place, "/profile.toml", text)?;

        Ok(Self { root: Arc::new(Root::at(place)), place: place.to_owned(), state, profile, files, settings })
    }

    /// As a command begins: nothing is open.
    fn engine(&self) -> Engine {
        self.root.forget_attributes();
        Engine::new(self.root.clone(), &self.state)
    }

    /// Opens, reads and closes every file once; in milliseconds.
    fn floor(&self) -> anyhow::Result<f64> {
        let (read, took) = timed(|| self.files.iter().try_for_each(|file| self.root.read(file).map(drop)));
        read?;
        Ok(took)
    }
}

/// Rounds of apply, verify, apply again and roll-back.
fn applied(bench: &mut Bench, host: &Host, subject: &str, limit: Option<f64>) -> anyhow::Result<()> {
    let [mut planned, mut whole, mut both, mut floors] = std::array::from_fn(|_| Figures::default());
    let mut rewritten = 0;
    for _ in 0..if is_short() { 3 } else { 60 } {
        let engine = host.engine();
        let (plan, took) = timed(|| engine.plan(&host.profile));
        let plan = plan?;
        planned.add(took);
        let (applied, took) = timed(|| engine.apply(&plan, &ApplyOptions::PLAIN));
        let applied = applied?;
        whole.add(took);
        both.add(planned.last() + took);
        if (applied.result, applied.changes.len()) != (Outcome::Done, host.settings) {
            bail!("{:?}, {} of {} changes", applied.result, applied.changes.len(), host.settings);
        }
        let before = host.root.write_count();
        engine.apply(&engine.plan(&host.profile)?, &ApplyOptions::PLAIN)?;
        rewritten += host.root.write_count() - before;
        floors.add(host.floor()?);
        engine.rollback(&RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 })?;
        fs::remove_dir_all(&host.state)?; // a journal of its own, as a host has after its start
    }
    bench.row(&format!("{subject}: plan"), &planned, "ms");
    bench.row(&format!("{subject}: journal, write, verify"), &whole, "ms");
    bench.row(&format!("{subject}: both"), &both, "ms");
    bench.row(&format!("{subject}: floor, each file read once"), &floors, "ms");
    bench.check(&format!("{subject}: applying again writes nothing: {rewritten} writes"), rewritten == 0);
    if let Some(limit) = limit {
        bench.gate(
            &format!("{subject} journaled, applied and verified, median"),
            whole.median(),
            limit,
            "ms",
        );
    }
    Ok(())
}

/// Rounds of verifying, with nothing open and then again.
fn verified(
    bench: &mut Bench,
    host: &Host,
    subject: &str,
    limit: Option<f64>,
    over_floor: f64,
) -> anyhow::Result<()> {
    host.engine().apply(&host.engine().plan(&host.profile)?, &ApplyOptions::PLAIN)?;
    sleep_until(monotonic_now() + SETTLED);
    let [mut first, mut again, mut floors] = [Figures::default(), Figures::default(), Figures::default()];
    for _ in 0..if is_short() { 3 } else { 60 } {
        let engine = host.engine();
        for figures in [&mut first, &mut again] {
            let (verified, took) = timed(|| engine.verify(&host.profile));
            figures.add(took);
            let verified = verified?;
            let well = verified.knobs.iter().filter(|row| row.status == sys_tuning::Status::Ok).count();
            if well != host.settings {
                bail!("{well} of {} settings are as wanted", host.settings);
            }
        }
        floors.add(host.floor()?);
    }
    bench.row(&format!("{subject} verified, nothing open"), &first, "ms");
    bench.row(&format!("{subject} verified again"), &again, "ms");
    bench.row(&format!("{subject}: floor, each file read once"), &floors, "ms");
    if let Some(limit) = limit {
        bench.gate(&format!("{subject} verified again, median"), again.median(), limit, "ms");
    }
    let times = |figures: &Figures| figures.median() / floors.median();
    bench.gate(&format!("{subject} verified again, times the floor"), times(&again), over_floor, "times");
    bench.gate(
        &format!("{subject} verified with nothing open, times the floor"),
        times(&first),
        FIRST_OVER_FLOOR,
        "times",
    );
    Ok(())
}

/// What a person types, on the host as it was left: applied.
fn commands(bench: &mut Bench, host: &Host, subject: &str) -> anyhow::Result<()> {
    let program = quell()?;
    let [mut verify, mut drift, mut bare] = std::array::from_fn(|_| Figures::default());
    let run = |words: &[&str]| -> anyhow::Result<f64> {
        let mut command = Command::new(&program);
        command.args(words).stdin(Stdio::null());
        let (output, took) = timed(|| command.output());
        let output = output?;
        if !output.status.success() {
            bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stdout));
        }
        Ok(took)
    };
    let path = |path: &Path| path.display().to_string();
    let (root, state, profile) =
        (path(&host.place), path(&host.state), path(&host.place.join("profile.toml")));
    let place = ["--root", &root, "--state-dir", &state];
    for _ in 0..if is_short() { 2 } else { 40 } {
        verify.add(run(&[&["tune", "verify", "--profile", &profile], &place[..]].concat())?);
        drift.add(run(&[&["tune", "drift"], &place[..]].concat())?);
        bare.add(run(&["--version"])?);
    }
    bench.row(&format!("{subject}: quell tune verify"), &verify, "ms");
    bench.row(&format!("{subject}: quell tune drift"), &drift, "ms");
    bench.row("floor: quell --version", &bare, "ms");
    bench.gate(&format!("{subject}: quell tune verify, median"), verify.median(), COMMAND_MS, "ms");
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let from = monotonic_now();
    let result = work();
    (result, (monotonic_now() - from).as_secs_f64() * 1e3)
}
