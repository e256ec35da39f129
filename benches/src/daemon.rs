//! A daemon started as the service manager starts it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use host::tasks::Pid;
use host::threads::monotonic_now;
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;
use units::Nanos;

/// A daemon that is not ready by then never will be.
const READY_DEADLINE: Duration = Duration::from_secs(10);

/// A running `quell agent`; asked to end when dropped, and waited for.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    /// The service manager's ear, open as long as the daemon may talk.
    manager: UnixDatagram,
    folder: TempDir,
    /// From before its process was created to its READY=1.
    pub ready_after: Nanos,
}

impl Agent {
    /// Starts `quell agent` with this configuration and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it cannot be started or does not become ready.
    pub fn start(quell: &Path, config: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let file = folder.path().join("quell.toml");
        File::create_new(&file)
            .and_then(|mut file| file.write_all(config.as_bytes()))
            .context("no configuration")?;
        let notify = folder.path().join("notify");
        let manager = UnixDatagram::bind(&notify).context("no notification socket")?;
        manager.set_read_timeout(Some(READY_DEADLINE))?;
        let mut command = Command::new(quell);
        command
            .arg("agent")
            .arg("--config")
            .arg(&file)
            .arg("--socket")
            .arg(folder.path().join("report.sock"));
        command
            .env("NOTIFY_SOCKET", &notify)
            .env("QUELL_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let from = monotonic_now();
        let child = command.spawn().context("cannot start the agent")?;
        let mut agent = Self { child, manager, folder, ready_after: Nanos::ZERO };
        wait_ready(&agent.manager)?;
        agent.ready_after = monotonic_now() - from;
        Ok(agent)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// The JSON behind `path` on its report socket.
    ///
    /// # Errors
    /// When it does not answer with 200.
    pub fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut stream = UnixStream::connect(self.folder.path().join("report.sock"))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: quell\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        if !head.starts_with("HTTP/1.1 200 ") {
            bail!("{path}: {}", head.lines().next().unwrap_or_default());
        }
        serde_json::from_str(body).context("the answer is no JSON")
    }

    /// Asks it to end and waits; how long it took.
    ///
    /// # Errors
    /// When it ends badly.
    pub fn stop(mut self) -> anyhow::Result<Nanos> {
        let from = monotonic_now();
        let status = self.end()?;
        if !status.success() {
            bail!("the agent ended with {status}");
        }
        Ok(monotonic_now() - from)
    }

    fn end(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let pid = i32::try_from(self.child.id()).context("a process number")?;
        if self.child.try_wait()?.is_none() {
            kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.end(); // it has ended, or cannot be ended: there is nobody left to tell
    }
}

fn wait_ready(manager: &UnixDatagram) -> anyhow::Result<()> {
    let mut message = [0; 4096]; // as large as any the service manager accepts
    loop {
        match manager.recv(&mut message) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&message[..length]);
                if text.lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("the agent did not become ready within 10 s"),
        }
    }
}
