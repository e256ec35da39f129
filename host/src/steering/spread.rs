//! The table that spreads received packets over queues: the packet's hash picks an entry, the entry names a queue.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::Ask;
use super::ioctl::{GET_TABLE, SET_TABLE};

/// Entries of the largest table that is read; drivers have 128 to 2048.
const ENTRIES_MAX: usize = 1 << 14;

/// The queue of each entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    entries: Vec<u32>,
}

impl Spread {
    /// A table of as many entries over the first `queues` queues, as evenly as it goes.
    #[must_use]
    pub fn even(&self, queues: u32) -> Self {
        Self { entries: (0..queues.max(1)).cycle().take(self.entries.len()).collect() }
    }

    /// The queues from the first that an even table goes over; `None` for a table of another kind.
    #[must_use]
    pub fn even_over(&self) -> Option<u32> {
        let queues = self.entries.iter().max()?.checked_add(1)?;
        (self.even(queues) == *self).then_some(queues)
    }
}

/// The entries until they repeat themselves, and how often they do.
// Format: "0,1,2,3 times 32"
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.entries.len();
        let repeats = |length: &usize| {
            count.is_multiple_of(*length)
                && self.entries.chunks(*length).all(|part| *part == self.entries[..*length])
        };
        let length = (1..=count).find(repeats).unwrap_or(1);
        let part: Vec<String> = self.entries.iter().take(length).map(u32::to_string).collect();
        write!(f, "{} times {}", part.join(","), count / length)
    }
}

impl FromStr for Spread {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (part, times) = text.split_once(" times ")?;
            let part: Vec<u32> = part.split(',').map(|queue| queue.parse().ok()).collect::<Option<_>>()?;
            let times: usize = times.parse().ok()?;
            let count = part.len().checked_mul(times).filter(|count| (1..=ENTRIES_MAX).contains(count))?;
            Some(Self { entries: part.into_iter().cycle().take(count).collect() })
        };
        parse().ok_or_else(|| format!("{text:?} is no table of queues, as in \"0,1 times 64\""))
    }
}

/// The driver's table; `None` where it is empty.
pub(super) fn get(ask: &mut Ask<'_>) -> io::Result<Option<Spread>> {
    let mut block = block(GET_TABLE, &[]);
    ask(&mut block)?;
    let count = usize::try_from(word(&block, 4)).unwrap_or(usize::MAX);
    if count == 0 || count > ENTRIES_MAX {
        return Ok(None);
    }
    let mut block = self::block(GET_TABLE, &vec![0; count]);
    ask(&mut block)?;
    let entries = block[8..].chunks_exact(4).map(|entry| word(entry, 0));
    Ok(Some(Spread { entries: entries.take(count).collect() }))
}

/// The driver's own table is asked for as that, by one of no entries: it then follows the count of queues, which a table of
/// ours would hinder (net/ethtool/ioctl.c, ethtool_set_rxfh_indir; netif_is_rxfh_configured).
pub(super) fn set(ask: &mut Ask<'_>, spread: &Spread, queues: u32) -> io::Result<()> {
    let is_default = spread.even(queues) == *spread;
    ask(&mut block(SET_TABLE, if is_default { &[] } else { &spread.entries }))
}

fn block(command: u32, entries: &[u32]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    [command, count].iter().chain(entries).flat_map(|word| word.to_ne_bytes()).collect()
}

fn word(block: &[u8], at: usize) -> u32 {
    block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::model::Driver;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = text.parse::<Spread>().map_or_else(|error| error, |spread| spread.to_string());
        assert_eq!(told, expected);
    }

    #[test]
    fn tables_as_text() {
        check("0,1 times 64", "0,1 times 64");
        check("0,1,0,1 times 2", "0,1 times 4");
        check("0,0,1,1 times 1", "0,0,1,1 times 1");
        check("3 times 128", "3 times 128");
        for bad in ["", "0,1", "x times 2", "0 times 0", "0 times 99999", "0,1 times -1"] {
            check(bad, &format!("{bad:?} is no table of queues, as in \"0,1 times 64\""));
        }
    }

    #[test]
    fn a_table_is_read_set_and_given_back_to_the_driver() {
        let mut driver = Driver::of(4, 128);
        let before = get(&mut |block| driver.ask(block)).unwrap().unwrap();
        assert_eq!((before.to_string().as_str(), before.even_over()), ("0,1,2,3 times 32", Some(4)));
        set(&mut |block| driver.ask(block), &before.even(2), 4).unwrap();
        let after = get(&mut |block| driver.ask(block)).unwrap().unwrap();
        assert_eq!((after.to_string().as_str(), driver.is_configured), ("0,1 times 64", true));
        set(&mut |block| driver.ask(block), &before, 4).unwrap();
        assert_eq!(get(&mut |block| driver.ask(block)).unwrap(), Some(before));
        assert!(!driver.is_configured, "it follows the count of queues again");
        let beyond = after.even(5);
        let refused = set(&mut |block| driver.ask(block), &beyond, 4).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        let mut none = Driver::of(4, 0);
        assert_eq!(get(&mut |block| none.ask(block)).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
