//! What a command in a guest said.

use std::fmt;

use serde_json::Value;

/// A finished command's words.
#[derive(Debug, Clone)]
pub struct Output {
    /// As it was typed.
    pub line: String,
    /// `None` when it was ended because it did not end by itself, or with the machine.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Messages.
    pub stderr: String,
}

impl Output {
    /// Exit code 0.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// This exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "wanted exit code {code}\n{self}");
        self
    }

    /// Its data, without the line end.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    /// Its data as JSON of `schema`.
    #[track_caller]
    pub fn json(&self, schema: &str) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"));
        assert_eq!(value["schema"], schema, "{self}");
        value
    }
}

/// All there is to know when a test fails.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "in the guest: {}", self.line)?;
        match self.code {
            Some(code) => writeln!(f, "exit code: {code}")?,
            None => writeln!(f, "did not end")?,
        }
        write!(f, "--- stdout\n{}--- stderr\n{}---", self.stdout, self.stderr)
    }
}
