//! What the keeper costs: its memory, and what it does at rest.
//!
//! The real binary of this build, holding a captured host to the profile `balanced` and watching it.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use benches::{Bench, is_short, program};
use host::Root;
use host::process::Memory;
use host::tasks::{self, Pid};
use host::threads::{monotonic_now, sleep_until};
use nix::sys::signal::{Signal, kill};
use units::Nanos;

/// The promises.
const MEMORY_MIB: f64 = 6.0;
const WATCHING_PERCENT: f64 = 0.1;

/// A keeper that is not ready by then never will be.
const READY_DEADLINE: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "keeper: memory, and what watching costs",
        "The keeper's own binary on a captured host held to the profile balanced, watched from outside.",
    );
    let binary = program("keeper", "quell-keeper")?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut keeper = start(&binary, folder.path())?;
    let measured = at_rest(&mut bench, Pid(keeper.id()));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(keeper.id()).context("a process number")?);
    kill(pid, Signal::SIGTERM)?;
    let ended = keeper.wait()?;
    measured?;
    bench.check("the keeper ended well", ended.success());
    Ok(bench.finish())
}

/// Starts a keeper in `folder` and waits until it is ready.
fn start(binary: &Path, folder: &Path) -> anyhow::Result<Child> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hosts/firecracker-2cpu-6.18");
    let copied = Command::new("cp").arg("-r").arg(host).arg(folder.join("host")).status().context("cp")?;
    if !copied.success() {
        bail!("the captured host was not copied");
    }
    let policy = folder.join("policy.toml");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policy.toml"), &policy)?;
    let text = std::fs::read_to_string(&policy)?.replace("profile = \"none\"", "profile = \"balanced\"");
    std::fs::remove_file(&policy)?;
    std::io::Write::write_all(&mut std::fs::File::create_new(&policy)?, text.as_bytes())?;
    set_permissions(&policy, Permissions::from_mode(0o644))?;
    let manager = UnixDatagram::bind(folder.join("notify")).context("no notification socket")?;
    manager.set_read_timeout(Some(READY_DEADLINE))?;
    let mut command = Command::new(binary);
    for (flag, name) in [
        ("--policy", "policy.toml"),
        ("--state-dir", "state"),
        ("--root", "host"),
        ("--socket", "keeper.sock"),
    ] {
        command.arg(flag).arg(folder.join(name));
    }
    command.env("NOTIFY_SOCKET", folder.join("notify")).stdin(Stdio::null()).stderr(Stdio::null());
    let keeper = command.spawn().context("cannot start the keeper")?;
    let mut message = [0; 4096];
    loop {
        let length = manager.recv(&mut message).context("the keeper did not become ready")?;
        if message[..length].starts_with(b"READY=1") {
            return Ok(keeper);
        }
    }
}

fn at_rest(bench: &mut Bench, pid: Pid) -> anyhow::Result<()> {
    let root = Root::system();
    let span = Nanos::from_secs(if is_short() { 2 } else { 60 });
    let (from, before) = (monotonic_now(), tasks::of(&root, pid)?);
    sleep_until(monotonic_now() + span);
    let after = tasks::of(&root, pid)?;
    let watched = (monotonic_now() - from).as_secs_f64();
    let (Some(before), Some(after)) = (before.first(), after.first()) else { bail!("the keeper has ended") };
    let share = (after.cpu_time - before.cpu_time).as_secs_f64() / watched * 100.0;
    let woken = after.voluntary_switches - before.voluntary_switches;
    bench.line(&format!("at rest, over {watched:.0} s: {share:.3} % of a CPU, {woken} wake-ups"));
    bench.gate("watching, of one CPU", share, WATCHING_PERCENT, "%");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let memory = Memory::of(&root, pid)?;
    let (total, anonymous) = (mib(memory.rss_bytes), mib(memory.rss_anon_bytes));
    let files = total - anonymous;
    bench.line(&format!("memory: {anonymous:.2} MiB anonymous, {files:.2} MiB of binary and libraries"));
    // An unoptimised binary is several times as large.
    bench.check(
        &format!("all resident memory, {total:.2} MiB, is {MEMORY_MIB} MiB or less"),
        total <= MEMORY_MIB || cfg!(debug_assertions),
    );
    Ok(())
}
