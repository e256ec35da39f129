//! Names that may stand in logs, files, metrics and terminals.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;
use crate::limits::NAME_LEN_MAX;

/// One to [`NAME_LEN_MAX`] characters of `a-z 0-9 . _ -`, beginning with a letter or digit.
///
/// Checked once at the edge, so that no name can carry a newline into a log, an escape into a terminal or a slash into
/// a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let first_is_plain =
            text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if text.len() > NAME_LEN_MAX || !first_is_plain || !text.bytes().all(allowed) {
            let problem =
                format!("a name is 1 to {NAME_LEN_MAX} of a-z 0-9 . _ - and begins with a letter or digit");
            return Err(ParseError::new(text, problem));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "timer-wakeup", "0.x_y", &"z".repeat(NAME_LEN_MAX)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in
            ["", ".", "..", "-x", "A", "a b", "a/b", "a\n", "a\u{1b}[0m", "ä", &"z".repeat(NAME_LEN_MAX + 1)]
        {
            assert!(bad.parse::<Name>().is_err(), "{bad:?} was taken for a name");
        }
    }
}
