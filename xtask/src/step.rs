//! One command line of a task: shown before it runs, timed, and printable so that it can be rerun alone.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::repo;

/// A command line with what it adds to the environment.
pub struct Step {
    /// A word for messages.
    pub name: &'static str,
    /// Variables set for it.
    pub env: Vec<(&'static str, String)>,
    /// The program (`cargo` is the one that runs us) and its arguments.
    pub line: Vec<String>,
}

impl Step {
    /// `line` split at blanks, with nothing added to the environment.
    pub fn new(name: &'static str, line: &str) -> Self {
        Self { name, env: Vec::new(), line: line.split_whitespace().map(str::to_owned).collect() }
    }

    /// With `key` set to `value`.
    pub fn env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    /// Runs it at the root with our own output; the time it took.
    ///
    /// # Errors
    /// A program that cannot start or that fails, with the line to rerun.
    pub fn run(&self) -> anyhow::Result<Duration> {
        self.read_lines(None)
    }

    /// Like [`Step::run`], with every line of standard output also shown to `reader`.
    pub fn run_and_read(&self, mut reader: impl FnMut(&str)) -> anyhow::Result<Duration> {
        self.read_lines(Some(&mut reader))
    }

    fn read_lines(&self, reader: Option<&mut dyn FnMut(&str)>) -> anyhow::Result<Duration> {
        eprintln!("+ {self}");
        let began = now();
        let mut child =
            self.command(reader.is_some()).spawn().with_context(|| format!("cannot run {}", self.line[0]))?;
        if let (Some(reader), Some(stdout)) = (reader, child.stdout.take()) {
            copy_lines(BufReader::new(stdout), reader)?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("{} failed ({status}); to rerun it alone: {self}", self.name);
        }
        Ok(now() - began)
    }

    fn command(&self, piped: bool) -> Command {
        let program = match self.line[0].as_str() {
            "cargo" => std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")),
            other => OsString::from(other),
        };
        let mut command = Command::new(program);
        command.args(&self.line[1..]).envs(self.env.iter().map(|(key, value)| (key, value)));
        command.current_dir(repo::root()).stdin(Stdio::null());
        if piped {
            command.stdout(Stdio::piped());
        }
        command
    }
}

/// As a person would type it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.env {
            write!(f, "{key}={} ", quoted(value))?;
        }
        let words: Vec<String> = self.line.iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// With quotes where the shell would split.
fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

/// Bytes that are not UTF-8 (a test may print them) reach the terminal as they are.
fn copy_lines(mut from: impl BufRead, reader: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        reader(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(stdout.flush()?)
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "times the project's own tasks, beside any clock of the product"
    )]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_prints_as_typed() {
        let step =
            Step::new("docs", "cargo doc --no-deps").env("RUSTDOCFLAGS", "-D warnings").env("CI", "true");
        assert_eq!(step.to_string(), "RUSTDOCFLAGS='-D warnings' CI=true cargo doc --no-deps");
    }

    #[test]
    fn lines_are_read_and_failure_names_the_rerun() {
        let mut lines = Vec::new();
        Step::new("echo", "echo one two").run_and_read(|line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["one two"]);

        let error = Step::new("no", "false").run().unwrap_err().to_string();
        assert_eq!(error, "no failed (exit status: 1); to rerun it alone: false");
        let error = Step::new("gone", "no-such-program x").run().unwrap_err().to_string();
        assert_eq!(error, "cannot run no-such-program");
    }

    #[test]
    fn variables_reach_the_command() {
        let mut lines = Vec::new();
        let step = Step::new("env", "printenv QUELL_STEP").env("QUELL_STEP", "here");
        step.run_and_read(|line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["here"]);
    }
}
