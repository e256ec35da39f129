//! Interrupt numbers.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// One interrupt line, numbered as in `/proc/irq`. Numbers are re-used: what must survive a reboot or a driver reload
/// is keyed by device and queue name instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Irq(pub u32);

impl fmt::Display for Irq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Irq {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or_else(|| ParseError::new(text, "not an interrupt number, as in 24"))
    }
}
