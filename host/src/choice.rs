//! Attributes that offer a list of words and put the current one in brackets.
//!
//! They do not take back what they show: what is written is the bare word. Used by the transparent huge page selectors,
//! `/sys/block/*/queue/scheduler` and others.

use crate::error::Malformed;
use crate::{Error, Root};

/// The words an attribute offers, and which of them holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The bracketed word: what to write to come back to this state.
    pub current: String,
    /// Every word on offer, the current one among them, in the kernel's order.
    pub options: Vec<String>,
}

impl Choice {
    /// Whether `word` can be written. Case counts: the kernel refuses `Never`.
    #[must_use]
    pub fn offers(&self, word: &str) -> bool {
        self.options.iter().any(|option| option == word)
    }
}

/// The selector at `path`.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`]; [`Error::Format`] unless exactly one word is in brackets.
pub fn read(root: &Root, path: &str) -> Result<Choice, Error> {
    root.parse(path, parse)
}

/// The bracketed word of a selector's text, where it has one.
#[must_use]
pub fn current(text: &str) -> Option<&str> {
    text.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

/// The selector at `path`, which shows `text`.
///
/// # Errors
/// [`Error::Format`], as [`read`].
pub fn of(root: &Root, path: &str, text: &str) -> Result<Choice, Error> {
    root.parsed(path, text, parse)
}

// Format: "always defer defer+madvise [madvise] never\n"   (Documentation/admin-guide/mm/transhuge.rst)
fn parse(text: &str) -> Result<Choice, Malformed> {
    let bracketed = |word: &str| word.strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
    let words = || text.split_ascii_whitespace();
    let current: Vec<String> = words().filter_map(bracketed).collect();
    let [current] = current.as_slice() else {
        return Err(Malformed::new(
            text,
            "expected exactly one word in brackets, as in \"always [madvise] never\"",
        ));
    };
    let options = words().map(|word| bracketed(word).unwrap_or_else(|| word.to_owned())).collect();
    Ok(Choice { current: current.clone(), options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, usize)>) {
        let got = parse(text);
        assert_eq!(
            got.as_ref().ok().map(|choice| (choice.current.as_str(), choice.options.len())),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn the_bracketed_word_is_current() {
        check("always [madvise] never\n", Some(("madvise", 3)));
        check("always defer defer+madvise [madvise] never\n", Some(("madvise", 5)));
        check("[none] mq-deadline \n", Some(("none", 2)));
        check("always madvise never\n", None); // nothing holds
        check("[always] [never]\n", None); // two hold
        check("", None);
    }

    #[test]
    fn case_counts() {
        let choice = parse("always madvise [never]\n").unwrap();
        assert!(choice.offers("never") && choice.offers("madvise") && !choice.offers("Never"));
    }
}
