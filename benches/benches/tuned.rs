//! quell beside TuneD: the same eight settings applied, verified and applied again on the running kernel.
//!
//! Both are run as commands, in turn, in the same rounds. Two things are seen from outside while a profile that stands is
//! applied again: a poller reads the eight files without a pause and counts what is not as wanted, and inotify counts the
//! writes. TuneD undoes its profile before it applies it again, which proves that both would see it if quell did.
//!
//! TuneD has its own `/etc/tuned`, `/run` and bus in a mount namespace of this process, and a profile of nothing but these
//! settings. Each round puts every value back and compares it with how it was found; what this bench starts ends with it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use benches::{Bench, Figures, is_short, quell, require, require_root};
use host::threads::{self, Policy, Role, monotonic_now, sleep_until};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use units::Nanos;

/// What both are to set: values that no distribution sets, in the words of each.
const SETTINGS: [(&str, &str); 8] = [
    ("vm/swappiness", "11"),
    ("vm/stat_interval", "11"),
    ("vm/dirty_ratio", "11"),
    ("vm/dirty_background_ratio", "4"),
    ("kernel/hung_task_timeout_secs", "601"),
    ("kernel/timer_migration", "0"),
    ("net/core/busy_read", "51"),
    ("net/core/busy_poll", "51"),
];

/// What the kernel sets by itself when a ratio is written.
const COUPLED: [&str; 2] = ["vm/dirty_bytes", "vm/dirty_background_bytes"];

const OURS: &str = r#"
schema = "quell.profile/1"
[knobs]
"mem.swap"     = { swappiness = 11 }
"mem.dirty"    = { ratio = 11, background_ratio = 4 }
"iso.vmstat"   = { stat_interval = 11 }
"iso.hung"     = { timeout_secs = 601 }
"iso.timermig" = { enabled = false }
"net.busy"     = { busy_read = 51, busy_poll = 51 }
"#;

/// As the package configures it, except that no other program's sysctl files are applied on top, and nothing recommended.
const MAIN: &str = "\
dynamic_tuning = 1
sleep_interval = 1
update_interval = 10
recommend_command = 0
reapply_sysctl = 0
";

/// A bus of its own, on which nothing is started: TuneD then asks no polkit, and root may do everything.
const BUS: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

/// The promises: how much of TuneD's time a step may take here. Measured: a fifteenth, and a tenth.
const SHARE: f64 = 0.25;
const VERIFY_MS: f64 = 10.0;

/// A daemon that is not there by then never will be.
const READY_DEADLINE: Nanos = Nanos::from_secs(30);

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "tuned: quell and TuneD with the same settings",
        "Milliseconds from exec to exit, in turn on the running kernel; a poller sees what is not as wanted meanwhile.",
    );
    let ready = require_root(&mut bench) & require(&mut bench, "tuned") & require(&mut bench, "dbus-daemon");
    if ready {
        let quell = quell()?;
        let _alone = alone()?;
        let found = Found::read()?;
        let compared = compare(&mut bench, &quell, &found);
        found.put_back()?;
        compared?;
        bench.check("every setting is as it was found", found.is_so()?);
    }
    Ok(bench.finish())
}

/// Nobody else's tests change the kernel meanwhile.
fn alone() -> anyhow::Result<Flock<fs::File>> {
    let file = fs::File::create(std::env::temp_dir().join("quell-tests-kernel.lock"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("the lock of kernel tests")
}

fn compare(bench: &mut Bench, quell: &Path, found: &Found) -> anyhow::Result<()> {
    apart()?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let profile = folder.path().join("ours.toml");
    put(&profile, OURS)?;
    let ours = Ours { quell, profile, folder: folder.path() };
    let rounds = if is_short() { 1 } else { 15 };
    at_once(bench, &ours, found, rounds)?;
    by_daemon(bench, &ours, found, rounds)
}

/// The folders that TuneD writes are this process's own from here on.
fn apart() -> anyhow::Result<()> {
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of its own")?;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    for place in ["/etc/tuned", "/run", "/var/log"] {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), nothing).context(place)?;
    }
    for folder in ["/run/dbus", "/run/tuned", "/var/log/tuned", "/etc/tuned/bench"] {
        fs::create_dir(folder).context(folder)?;
    }
    let lines: String =
        SETTINGS.iter().map(|(name, value)| format!("{}={value}\n", name.replace('/', "."))).collect();
    put("/etc/tuned/bench/tuned.conf", format!("[main]\nsummary=a bench\n[sysctl]\n{lines}"))?;
    put("/run/bus.conf", BUS)?;
    Ok(())
}

/// One command that applies and ends.
fn at_once(bench: &mut Bench, ours: &Ours<'_>, found: &Found, rounds: usize) -> anyhow::Result<()> {
    put("/etc/tuned/tuned-main.conf", format!("daemon = 0\n{MAIN}"))?;
    let [mut quell, mut tuned, mut back] = [Figures::default(), Figures::default(), Figures::default()];
    for _ in 0..rounds {
        quell.add(ours.run(&["apply"])?);
        all_as_wanted("quell tune apply")?;
        back.add(ours.run(&["rollback", "--to", "baseline"])?);
        if !found.is_so()? {
            bail!("quell did not put everything back");
        }
        let mut command = Command::new("tuned");
        command.args(["--no-dbus", "--no-socket", "--profile", "bench", "--log", "/run/once.log"]);
        tuned.add(timed(&mut command)?);
        all_as_wanted("tuned")?;
        found.put_back()?; // a TuneD that ended puts nothing back
    }
    bench.row("quell tune apply", &quell, "ms");
    bench.row("quell tune rollback", &back, "ms");
    bench.row("peer: tuned, once", &tuned, "ms");
    bench.gate("quell's apply, of TuneD's", quell.median() / tuned.median(), SHARE, "times");
    bench.line("");
    Ok(())
}

/// A profile that stands: verified, and applied again.
fn by_daemon(bench: &mut Bench, ours: &Ours<'_>, found: &Found, rounds: usize) -> anyhow::Result<()> {
    put("/etc/tuned/tuned-main.conf", format!("daemon = 1\n{MAIN}"))?;
    let _bus = Daemon::start("dbus-daemon", &["--config-file=/run/bus.conf", "--nofork", "--nopidfile"])?;
    wait_for(|| Path::new("/run/dbus/system_bus_socket").exists(), "the bus")?;
    let _tuned = Daemon::start("tuned", &["--log", "/run/daemon.log"])?;
    wait_for(|| adm(&["active"]).is_ok(), "TuneD")?;
    let [mut verify, mut drift, mut again] = [Figures::default(), Figures::default(), Figures::default()];
    let [mut switch, mut peer_verify, mut peer_again] =
        [Figures::default(), Figures::default(), Figures::default()];
    let (mut seen, mut peer_seen) = (Seen::default(), Seen::default());
    let mut untuned = Figures::default();
    for _ in 0..rounds {
        ours.run(&["apply"])?;
        verify.add(ours.run(&["verify"])?);
        drift.add(ours.run(&["drift"])?);
        let (took, saw) = watched(|| ours.run(&["apply"]))?;
        again.add(took?);
        seen.add(&saw);
        ours.run(&["rollback", "--to", "baseline"])?;

        switch.add(adm(&["profile", "bench"])?);
        all_as_wanted("tuned-adm profile")?;
        peer_verify.add(adm(&["verify"])?);
        let (took, saw) = watched(|| adm(&["profile", "bench"]))?;
        peer_again.add(took?);
        untuned.add(ms(saw.untuned_for));
        peer_seen.add(&saw);
        adm(&["off"])?;
        found.put_back()?;
    }
    bench.row("quell tune verify", &verify, "ms");
    bench.row("quell tune drift", &drift, "ms");
    bench.row("quell tune apply, again", &again, "ms");
    bench.row("peer: tuned-adm profile", &switch, "ms");
    bench.row("peer: tuned-adm verify", &peer_verify, "ms");
    bench.row("peer: tuned-adm profile, again", &peer_again, "ms");
    bench.row("peer: un-tuned meanwhile", &untuned, "ms");
    bench.line(&format!("quell again: {seen}"));
    bench.line(&format!("peer again:  {peer_seen}"));
    bench.check("no un-tuned moment and no write while quell applies again", seen.is_quiet());
    bench.check("a write would be seen: TuneD's are", peer_seen.writes > 0);
    // One round may fall into a moment in which the host of a virtual machine ran somebody else.
    if !is_short() {
        bench.check("an un-tuned moment would be seen: TuneD's is", peer_seen.untuned > 0);
    }
    bench.gate("quell's verify, of TuneD's", verify.median() / peer_verify.median(), SHARE, "times");
    bench.gate("quell tune verify as a command, median", verify.median(), VERIFY_MS, "ms");
    Ok(())
}

/// The product, with a journal and a profile of its own.
struct Ours<'a> {
    quell: &'a Path,
    profile: PathBuf,
    folder: &'a Path,
}

impl Ours<'_> {
    /// `quell tune` with these words, to its end; in milliseconds.
    fn run(&self, words: &[&str]) -> anyhow::Result<f64> {
        let mut command = Command::new(self.quell);
        command.arg("tune").args(words).arg("--state-dir").arg(self.folder.join("state"));
        if ["apply", "verify"].contains(&words[0]) {
            command.arg("--profile").arg(&self.profile);
        }
        timed(&mut command)
    }
}

fn adm(words: &[&str]) -> anyhow::Result<f64> {
    timed(Command::new("tuned-adm").args(words))
}

/// Runs it to its end, which has to be good; in milliseconds.
fn timed(command: &mut Command) -> anyhow::Result<f64> {
    let from = monotonic_now();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let took = monotonic_now() - from;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(ms(took))
}

fn ms(time: Nanos) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A daemon of this bench. It ends with it, however that ends.
struct Daemon(Child);

impl Daemon {
    fn start(program: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).with_context(|| format!("cannot start {program}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended; either way it is waited for
        let _ = self.0.wait();
    }
}

fn wait_for(is_there: impl Fn() -> bool, what: &str) -> anyhow::Result<()> {
    let deadline = monotonic_now() + READY_DEADLINE;
    while !is_there() {
        if monotonic_now() > deadline {
            bail!("{what} did not come up within {READY_DEADLINE}");
        }
        sleep_until(monotonic_now() + Nanos::from_millis(20));
    }
    Ok(())
}

/// The settings as they were found.
struct Found(Vec<(&'static str, String)>);

impl Found {
    fn read() -> anyhow::Result<Self> {
        let names = SETTINGS.iter().map(|(name, _)| *name).chain(COUPLED);
        let found: anyhow::Result<Vec<_>> = names.map(|name| Ok((name, read(name)?))).collect();
        let found = found?;
        if let Some((name, value)) =
            SETTINGS.iter().find(|setting| found.iter().any(|(n, v)| (*n, v.as_str()) == **setting))
        {
            bail!("{name} is {value} already: there would be nothing to see");
        }
        Ok(Self(found))
    }

    /// What differs; writing one of a pair of ratio and bytes clears the other, so a zero is nobody's to write.
    fn put_back(&self) -> anyhow::Result<()> {
        for (name, value) in &self.0 {
            let is_cleared = name.starts_with("vm/dirty") && value == "0";
            if !is_cleared && read(name)? != *value {
                put(path(name), value)?;
            }
        }
        Ok(())
    }

    fn is_so(&self) -> anyhow::Result<bool> {
        self.0.iter().try_fold(true, |so, (name, value)| Ok(so && read(name)? == *value))
    }
}

fn all_as_wanted(who: &str) -> anyhow::Result<()> {
    for (name, value) in SETTINGS {
        let now = read(name)?;
        if now != value {
            bail!("after {who} {name} is {now}, not {value}");
        }
    }
    Ok(())
}

/// With one write, as settings want it.
fn put(path: impl AsRef<Path>, text: impl AsRef<str>) -> anyhow::Result<()> {
    let path = path.as_ref();
    let written = fs::File::create(path).and_then(|mut file| file.write_all(text.as_ref().as_bytes()));
    written.with_context(|| path.display().to_string())
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}

fn read(name: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(path(name)).with_context(|| path(name))?;
    Ok(text.trim().to_owned())
}

/// What was seen of the settings while something ran.
#[derive(Debug, Default)]
struct Seen {
    /// How often all of them were read.
    looks: u64,
    /// How often one of them was not as wanted.
    untuned: u64,
    /// From the first such look to the last.
    untuned_for: Nanos,
    /// The longest time between two looks.
    blind_for: Nanos,
    /// The writes that the kernel told.
    writes: usize,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.looks += other.looks;
        self.untuned += other.untuned;
        self.untuned_for = self.untuned_for.max(other.untuned_for);
        self.blind_for = self.blind_for.max(other.blind_for);
        self.writes += other.writes;
    }

    /// Whether there was something to see, and nothing was.
    fn is_quiet(&self) -> bool {
        self.looks > 0 && (self.untuned, self.writes) == (0, 0)
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} looks, at most {:.2} ms apart: {} un-tuned, for {:.1} ms at most; {} writes",
            self.looks,
            ms(self.blind_for),
            self.untuned,
            ms(self.untuned_for),
            self.writes
        )
    }
}

/// Does `work` while the settings are polled and their writes counted.
fn watched<T>(work: impl FnOnce() -> T) -> anyhow::Result<(T, Seen)> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    for (name, _) in SETTINGS {
        inotify.add_watch(path(name).as_str(), AddWatchFlags::IN_MODIFY).with_context(|| path(name))?;
    }
    let files: Vec<_> = SETTINGS
        .iter()
        .map(|(name, value)| Ok((fs::File::open(path(name))?, format!("{value}\n"))))
        .collect::<std::io::Result<_>>()?;
    let end = Arc::new(AtomicBool::new(false));
    let told = end.clone();
    let poller = threads::spawn(poller()?, move |_| poll(&files, &told))?;
    let done = work();
    end.store(true, Ordering::Relaxed); // nothing else is told by it
    let mut seen = poller.join().map_err(|_| anyhow::anyhow!("the poller panicked"))?;
    seen.writes = match inotify.read_events() {
        Ok(events) => events.len(),
        Err(Errno::EAGAIN) => 0,
        Err(errno) => return Err(errno).context("inotify"),
    };
    Ok((done, seen))
}

/// A CPU of its own and a real-time policy: under the fair scheduler it slept for 20 ms just while TuneD, which had woken up
/// on its CPU, undid its profile and applied it. With one CPU nobody else would run.
fn poller() -> anyhow::Result<Role> {
    let allowed = threads::allowed_cpus()?;
    let last = allowed.iter().last().context("no CPU to run on")?;
    let policy = if allowed.count() > 1 { Policy::Fifo(1) } else { Policy::Other };
    Ok(Role { name: "poller".to_owned(), cpus: last.into(), policy })
}

/// Reads every file without a pause until it is told to end; one more time after that.
fn poll(files: &[(fs::File, String)], end: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let (mut first, mut before) = (None, None::<Nanos>);
    loop {
        let is_last = end.load(Ordering::Relaxed);
        let is_as_wanted = |(file, wanted): &(fs::File, String)| {
            let mut text = [0; 32];
            file.read_at(&mut text, 0).is_ok_and(|length| text[..length] == *wanted.as_bytes())
        };
        let is_tuned = files.iter().all(is_as_wanted);
        let now = monotonic_now();
        seen.looks += 1;
        seen.blind_for = seen.blind_for.max(before.map_or(Nanos::ZERO, |before| now - before));
        before = Some(now);
        if !is_tuned {
            seen.untuned += 1;
            seen.untuned_for = now - *first.get_or_insert(now);
        }
        if is_last {
            return seen;
        }
    }
}
