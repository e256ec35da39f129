//! What a command said, and the questions tests ask about it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use report::Exit;
use serde_json::Value;

/// A finished (or for a daemon: running) command's words.
#[derive(Debug, Clone)]
pub struct Output {
    line: String,
    /// `None` when a signal ended it, or when it still runs.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Messages.
    pub stderr: String,
}

impl Output {
    pub(super) fn new(line: &str, status: Option<ExitStatus>, stdout: String, stderr: String) -> Self {
        let code = status.and_then(|status| status.code());
        let signal = status.and_then(|status| status.signal());
        Self { line: line.to_owned(), code, signal, stdout, stderr }
    }

    /// Exit code 0.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(Exit::Yes)
    }

    /// This exit code.
    #[track_caller]
    pub fn exits(self, wanted: Exit) -> Self {
        assert_eq!(
            self.code,
            Some(i32::from(wanted.code())),
            "wanted {wanted:?} ({})\n{self}",
            wanted.code()
        );
        self
    }

    /// One line on standard error that holds all of `parts`, and nothing else there: what bad input gets.
    #[track_caller]
    pub fn says_one_line(self, parts: &[&str]) -> Self {
        assert_eq!(self.stderr.lines().count(), 1, "wanted one line on stderr\n{self}");
        for part in parts {
            assert!(self.stderr.contains(part), "wanted {part:?} on stderr\n{self}");
        }
        self
    }

    /// Standard output as JSON of `schema`, which is its first key.
    #[track_caller]
    pub fn json(&self, schema: &str) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"));
        assert_eq!(value["schema"], schema, "{self}");
        // serde_json sorts keys on reading, so the order is looked up in the text.
        let first = self.stdout.trim_start().trim_start_matches('{').trim_start();
        assert!(first.starts_with("\"schema\""), "the first key is not \"schema\"\n{self}");
        value
    }
}

/// All there is to know when a test fails.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command: {}", self.line)?;
        match (self.code, self.signal) {
            (Some(code), _) => writeln!(f, "exit code: {code}")?,
            (None, Some(signal)) => writeln!(f, "ended by signal {signal}")?,
            (None, None) => writeln!(f, "still running")?,
        }
        write!(f, "--- stdout\n{}--- stderr\n{}---", self.stdout, self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(code: i32, stdout: &str, stderr: &str) -> Output {
        let status = ExitStatus::from_raw(code << 8);
        Output::new("quell x", Some(status), stdout.to_owned(), stderr.to_owned())
    }

    #[track_caller]
    fn fails(asked: impl FnOnce() + std::panic::UnwindSafe, expected: &str) {
        let message = std::panic::catch_unwind(asked).expect_err("the question was answered yes");
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn codes_are_compared_and_told() {
        output(0, "", "").succeeds();
        output(3, "", "").exits(Exit::No);
        fails(|| drop(output(1, "", "no such file\n").succeeds()), "no such file");
        fails(|| drop(output(1, "", "").exits(Exit::No)), "exit code: 1");
        let killed = Output::new("quell x", Some(ExitStatus::from_raw(9)), String::new(), String::new());
        fails(move || drop(killed.exits(Exit::Busy)), "ended by signal 9");
    }

    #[test]
    fn json_has_its_schema_first() {
        let value = output(0, "{\n  \"schema\": \"quell.report/1\", \"host\": 1}", "").json("quell.report/1");
        assert_eq!(value["host"], 1);
        fails(|| drop(output(0, "{\"a\": 1}", "").json("quell.report/1")), "quell.report/1");
        fails(|| drop(output(0, "{\"a\": 1, \"schema\": \"s/1\"}", "").json("s/1")), "first key");
        fails(|| drop(output(0, "table", "").json("s/1")), "not JSON");
    }

    #[test]
    fn bad_input_gets_one_line() {
        output(2, "", "a.toml:3: unknown key\n").says_one_line(&["a.toml:3", "unknown"]);
        fails(|| drop(output(2, "", "a\nb\n").says_one_line(&[])), "one line");
        fails(|| drop(output(2, "", "a\n").says_one_line(&["b"])), "wanted \"b\"");
    }
}
