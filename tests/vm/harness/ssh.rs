//! Commands for a guest: one ssh connection a boot, over which each command is a cheap channel.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::output::Output;

/// A command that takes longer is ended: ten minutes, for what takes seconds where the emulation has the CPUs to itself.
const COMMAND_SECONDS: u32 = 600;

/// A way into a guest.
#[derive(Debug)]
pub struct Ssh {
    port: u16,
    key: PathBuf,
    /// Where the connection is shared.
    control: PathBuf,
}

impl Ssh {
    /// To the guest behind `port`; files of the connection go to `folder`.
    pub fn new(port: u16, key: PathBuf, folder: &Path) -> Self {
        Self { port, key, control: folder.join("ssh") }
    }

    /// One attempt to connect.
    pub fn connect(&self) -> bool {
        self.close();
        // -f: back as soon as it is connected; what stays behind ends with the machine, or at `close`.
        let mut command = self.command("15", &["-o", "ControlMaster=yes", "-N", "-f"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// Ends the connection.
    pub fn close(&self) {
        if self.control.exists() {
            let mut command = self.command("5", &["-O", "exit"]);
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            let _ = std::fs::remove_file(&self.control); // the socket of a connection that a power cut ended
        }
    }

    /// Runs `line` in the guest's shell, with `input` as its input.
    pub fn run(&self, line: &str, input: Stdio) -> Output {
        let mut command = self.command(&COMMAND_SECONDS.to_string(), &[]);
        let said = command.arg("--").arg(line).stdin(input).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // 124 is `timeout`'s own, 255 ssh's: neither is the command's.
        let code = said.status.code().filter(|code| !matches!(code, 124 | 255));
        Output { line: line.to_owned(), code, stdout: text(&said.stdout), stderr: text(&said.stderr) }
    }

    /// As a person types it.
    pub fn line(&self) -> String {
        let (key, port) = (self.key.display(), self.port);
        format!(
            "ssh -i {key} -p {port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1"
        )
    }

    fn command(&self, seconds: &str, options: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", seconds, "ssh", "-F", "none", "-i"]).arg(&self.key);
        command.args([
            "-p",
            &self.port.to_string(),
            "-o",
            &format!("ControlPath={}", self.control.display()),
        ]);
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=10",
            "ServerAliveInterval=10",
        ] {
            command.args(["-o", option]);
        }
        command.args(options).arg("root@127.0.0.1");
        command
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.close();
    }
}
