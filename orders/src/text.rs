//! Text of a fixed size: printable ASCII, padded with zeros.

use std::fmt;

use crate::Malformed;
use crate::wire::{In, Out};

/// Bytes of a knob's id or an attribute's name; the registry's longest have half of it.
pub const ID_BYTES: usize = 32;

/// Bytes of a knob's value; longer ones (a list of many CPUs) are cut.
pub const VALUE_BYTES: usize = 32;

/// At most `N` printable ASCII characters.
///
/// What it is made from may be anything, a thread's name for one; whatever is not printable becomes `?`, so that no
/// text can carry a line break into a log or an escape into a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Nothing.
    pub const EMPTY: Self = Self([0; N]);

    /// `text`, made printable; what is longer than `N` ends in `~`.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let mut bytes = [0; N];
        let mut given = text.chars();
        for (place, char) in bytes.iter_mut().zip(given.by_ref()) {
            *place = u8::try_from(char).ok().filter(|byte| is_printable(*byte)).unwrap_or(b'?');
        }
        if let (Some(_), Some(last)) = (given.next(), bytes.last_mut()) {
            *last = b'~';
        }
        Self(bytes)
    }

    /// `text` when it fits and is printable: for ids, which mean nothing when cut.
    #[must_use]
    pub fn exact(text: &str) -> Option<Self> {
        let whole = Self::cut(text);
        (whole.as_str() == text).then_some(whole)
    }

    /// The text without its padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(N);
        str::from_utf8(&self.0[..end]).expect("only ASCII is let in")
    }

    pub(crate) fn put(&self, out: &mut Out<'_>) {
        out.bytes(&self.0);
    }

    pub(crate) fn take(from: &mut In<'_>, field: &'static str) -> Result<Self, Malformed> {
        let bytes: [u8; N] = from.bytes();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(N);
        let (text, padding) = bytes.split_at(end);
        match text.iter().all(|byte| is_printable(*byte)) && padding.iter().all(|byte| *byte == 0) {
            true => Ok(Self(bytes)),
            false => Err(Malformed::Field(field)),
        }
    }
}

const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b' '
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        assert_eq!(Text::<8>::cut(given).as_str(), expected);
    }

    #[test]
    fn what_is_not_printable_or_too_long_is_made_so() {
        check("", "");
        check("mem.swap", "mem.swap");
        check("mem.swaps", "mem.swa~");
        check("a\nb\u{1b}[0m", "a?b?[0m");
        check("ä\0€", "???");
    }

    #[test]
    fn an_id_is_whole_or_none() {
        assert_eq!(Text::<8>::exact("mem.swap").map(|id| id.to_string()).as_deref(), Some("mem.swap"));
        assert_eq!(Text::<8>::exact("mem.swaps"), None);
        assert_eq!(Text::<8>::exact("mem\n"), None);
    }
}
