//! A command line of the built `quell`, put together a piece at a time.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Daemon, Fixture, Output};

/// How long a command may take before it counts as hanging: far above what any takes on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// User and group "nobody" and "nogroup": of any Debian, with rights to nothing.
pub const NOBODY: u32 = 65_534;

/// A program of the keeper's package, which stands beside `quell`. Cargo builds only the programs of the package it tests,
/// so it is asked for the others, once; where they are as new as their sources that is a look.
fn beside_quell(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let quell = Path::new(env!("CARGO_BIN_EXE_quell"));
    BUILT.get_or_init(|| {
        let profile = quell.parent().and_then(Path::file_name).unwrap();
        let profile = if profile == "debug" { "dev".as_ref() } else { profile };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "keeper", "--bins", "--profile"]).arg(profile);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "the keeper's package does not build");
    });
    quell.with_file_name(name)
}

/// A command line and the place it runs in.
///
/// Every method gives a new one and leaves this one as it was, so that a test can name what its command lines
/// share. The environment is empty but for PATH, HOME (the temporary folder) and LANG: nothing of the
/// developer's leaks in.
#[derive(Clone)]
pub struct Quell {
    folder: Arc<TempDir>,
    program: PathBuf,
    wrapper: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    stdin: String,
    timeout: Duration,
}

impl Quell {
    /// `quell` without arguments, in a temporary folder of its own.
    pub fn new() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            program: PathBuf::from(env!("CARGO_BIN_EXE_quell")),
            wrapper: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: String::new(),
            timeout: TIMEOUT,
        }
    }

    /// `quell-keeper` in its place, or another program of the keeper's package.
    pub fn program(&self, name: &str) -> Self {
        Self { program: beside_quell(name), ..self.clone() }
    }

    /// With these arguments behind those it has.
    pub fn args<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Self {
        let args = self.args.iter().cloned().chain(args.into_iter().map(Into::into)).collect();
        Self { args, ..self.clone() }
    }

    /// With `--root` at the fixture and `--state-dir` in the temporary folder behind the arguments it has.
    pub fn on(&self, host: &Fixture) -> Self {
        let state = self.folder().join("state");
        self.args(["--root".as_ref(), host.path().as_os_str(), "--state-dir".as_ref(), state.as_os_str()])
    }

    /// With `key=value` in its environment.
    pub fn env(&self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let mut quell = self.clone();
        quell.env.push((key.into(), value.into()));
        quell
    }

    /// In another folder.
    pub fn cwd(&self, cwd: impl Into<PathBuf>) -> Self {
        Self { cwd: Some(cwd.into()), ..self.clone() }
    }

    /// With `text` to read; otherwise standard input is empty.
    pub fn stdin(&self, text: &str) -> Self {
        Self { stdin: text.to_owned(), ..self.clone() }
    }

    /// Killed after `timeout`, and the test with it.
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// Started by another program (`strace -f …`), which gets the command line behind its own arguments.
    pub fn under<A: Into<OsString>>(&self, wrapper: impl IntoIterator<Item = A>) -> Self {
        Self { wrapper: wrapper.into_iter().map(Into::into).collect(), ..self.clone() }
    }

    /// Started by user and group [`NOBODY`] without any capability it could gain, and at most `memlock` bytes of
    /// locked memory: what a stranger's process has. Needs root.
    ///
    /// The folder of the run becomes that user's, and a copy of the command is put into it, since the place where
    /// it was built may be closed to others.
    pub fn as_nobody(&self, memlock: u64) -> Self {
        let copy = self.folder().join("quell");
        std::fs::copy(&self.program, &copy).unwrap();
        chown(self.folder(), Some(NOBODY), Some(NOBODY)).unwrap();
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        let setpriv = ["setpriv", &user, &group, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
        let limits = [format!("--memlock={memlock}"), "--rtprio=0".to_owned()];
        let wrapper = ["prlimit".to_owned()].into_iter().chain(limits).chain(setpriv.map(str::to_owned));
        Self { program: copy, ..self.under(wrapper) }
    }

    /// The temporary folder: where it runs, its HOME, and where a test puts what belongs to the run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the temporary folder; its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(&self) -> Output {
        let mut running = self.spawn(&[]);
        running.finish()
    }

    /// Starts it as systemd would, with a socket for its notifications.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        Daemon::start(self)
    }

    /// Starts it with `env` added; the caller ends it.
    #[track_caller]
    pub(super) fn spawn(&self, env: &[(&str, &Path)]) -> Running {
        // Files, not pipes: what was said before a kill can be read, and nobody has to drain anything.
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut command = self.command();
        command.envs(env.iter().copied());
        command.stdin(self.input()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let line = self.line();
        let child = command.spawn().unwrap_or_else(|error| panic!("{line}: cannot start: {error}"));
        Running { line, child, stdout, stderr, timeout: self.timeout }
    }

    fn command(&self) -> Command {
        let mut words = self.words();
        let mut command = Command::new(words.remove(0));
        command.args(words).current_dir(self.cwd.as_deref().unwrap_or(self.folder())).env_clear();
        for key in ["PATH", "LLVM_PROFILE_FILE"] {
            command.envs(std::env::var_os(key).map(|value| (key, value)));
        }
        command.env("HOME", self.folder()).env("LANG", "C.UTF-8");
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        // As an operator starts it, so that messages that name the command are the same anywhere.
        if self.wrapper.is_empty() {
            command.arg0("quell");
        }
        command
    }

    fn words(&self) -> Vec<OsString> {
        let program = self.program.clone().into_os_string();
        self.wrapper.iter().cloned().chain([program]).chain(self.args.iter().cloned()).collect()
    }

    /// As a person would type it, for messages.
    fn line(&self) -> String {
        let words = self.wrapper.iter().map(|word| word.to_string_lossy()).chain(["quell".into()]);
        words.chain(self.args.iter().map(|word| word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    fn input(&self) -> Stdio {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(self.stdin.as_bytes()).unwrap();
        file.rewind().unwrap();
        file.into()
    }
}

/// A command that was started; killed when dropped.
pub(super) struct Running {
    line: String,
    pub(super) child: Child,
    stdout: File,
    stderr: File,
    pub(super) timeout: Duration,
}

impl Running {
    /// Waits for its end; past the timeout it is killed and the test fails with what it had said.
    #[track_caller]
    pub(super) fn finish(&mut self) -> Output {
        let in_time = ends_within(self.pid(), self.timeout);
        if !in_time {
            self.child.kill().unwrap();
        }
        let status = self.child.wait().unwrap();
        let output = self.said(Some(status));
        assert!(in_time, "did not end within {:?}\n{output}", self.timeout);
        output
    }

    /// What it has said so far.
    pub(super) fn said(&self, status: Option<std::process::ExitStatus>) -> Output {
        Output::new(&self.line, status, text_of(&self.stdout), text_of(&self.stderr))
    }

    /// Whether it has ended; it stays unreaped.
    pub(super) fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap(); // not reaped before `finish`, so the number is still its own
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails only for one that was reaped already
        let _ = self.child.wait();
    }
}

/// Whether the child ends in time; it stays unreaped, so that its number cannot come to mean another process.
fn ends_within(pid: Pid, timeout: Duration) -> bool {
    let (ended, end) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let outcome = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let _ = ended.send(outcome.is_ok()); // nobody listens any more after a timeout
        });
        let in_time = end.recv_timeout(timeout).is_ok();
        if !in_time {
            kill(pid, Signal::SIGKILL).unwrap(); // lets the waiting thread go
        }
        in_time
    })
}

/// Read at a position of our own: the command writes at the end of the same open file.
fn text_of(file: &File) -> String {
    use std::os::unix::fs::FileExt;
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shell in place of `quell`: what is tested here is the harness.
    fn shell(script: &str) -> Quell {
        Quell::new().under(["sh", "-c", script])
    }

    #[test]
    fn a_run_reports_code_and_both_streams() {
        let output = shell("echo out; echo err >&2; exit 3").run();
        assert_eq!(
            (output.code, output.stdout.as_str(), output.stderr.as_str()),
            (Some(3), "out\n", "err\n")
        );
    }

    #[test]
    fn arguments_environment_and_input_arrive() {
        let quell = shell("echo $1 $2 $KEY; cat; pwd").args(["a"]).env("KEY", "value").stdin("text\n");
        let output = quell.args(["b"]).run();
        let folder = quell.folder().canonicalize().unwrap();
        assert_eq!(output.stdout, format!("a b value\ntext\n{}\n", folder.display()));
        assert_eq!(shell("pwd").cwd("/proc").run().stdout, "/proc\n");
        assert_eq!(
            shell("echo $1$2").args(["a"]).run().stdout,
            "a\n",
            "one command line left no trace in another"
        );
    }

    #[test]
    fn nothing_of_the_developer_leaks_in() {
        let output = shell("env | cut -d= -f1 | sort | tr '\\n' ' '").run();
        let names: Vec<&str> = output.stdout.split_whitespace().collect();
        assert!(
            names.iter().all(|name| ["HOME", "LANG", "PATH", "PWD", "LLVM_PROFILE_FILE", "_"].contains(name)),
            "{names:?}"
        );
    }

    #[test]
    fn what_hangs_is_killed_and_told() {
        let hanging = || shell("exec sleep 1000").timeout(Duration::from_millis(200)).run();
        let message = std::panic::catch_unwind(hanging).err().unwrap();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("did not end within 200ms") && message.contains("sleep 1000"), "{message}");
    }

    #[test]
    fn a_fixture_and_a_state_folder_are_passed_on() {
        let host = Fixture::of(tempfile::tempdir().unwrap().path());
        let quell = shell("echo $*").on(&host);
        let (root, state) = (host.path().display(), quell.folder().join("state"));
        assert_eq!(quell.run().stdout, format!("--root {root} --state-dir {}\n", state.display()));
    }

    #[test]
    fn files_of_a_run_lie_beside_it() {
        let quell = shell("cat conf.d/a.toml");
        quell.file("conf.d/a.toml", "a = 1\n");
        assert_eq!(quell.run().stdout, "a = 1\n");
    }

    #[test]
    fn the_built_command_runs() {
        let output = Quell::new().args(["--version"]).run();
        assert!(output.code.is_some(), "{output}");
    }
}
