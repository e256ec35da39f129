//! One thing tidy has to say, in the form editors and people already read from compilers.

use std::fmt;

/// A fault at a place, with what belongs there instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// From the root of the repository.
    pub path: String,
    /// Counted from 1; 1 also stands for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub fault: String,
    /// What to write instead; starts with a verb.
    pub remedy: String,
}

impl Finding {
    /// A finding at `path:line`.
    pub fn new(path: &str, line: usize, fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, fault: fault.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}, {}", self.path, self.line, self.fault, self.remedy)
    }
}

/// What a check says about `findings`, a line each: the form its tests compare.
#[cfg(test)]
pub fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_compiler() {
        let finding = Finding::new("units/src/cpu.rs", 7, "a tab", "use four spaces");
        assert_eq!(finding.to_string(), "units/src/cpu.rs:7: a tab, use four spaces");
    }
}
