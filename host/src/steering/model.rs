//! What the kernel does with these questions, and a driver behind it, as net/ethtool/ioctl.c has it: no machine of a
//! test has a card that takes rules.

use std::collections::BTreeMap;
use std::io;

use super::ioctl::{
    COUNT_RULES, DELETE_RULE, GET_RINGS, GET_RULE, GET_TABLE, INSERT_RULE, LIST_RULES, PLACES, SET_TABLE,
    least,
};

#[derive(Debug)]
pub struct Driver {
    pub queues: u32,
    pub table: Vec<u32>,
    /// The table was set by somebody: it does not follow the count of queues.
    pub is_configured: bool,
    /// The rule of each place, from its kind to its place in the block.
    pub rules: BTreeMap<u32, Vec<u8>>,
    /// Places for rules.
    pub size: u32,
    /// The driver chooses places.
    pub chooses: bool,
}

fn word(block: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(block[at..at + 4].try_into().unwrap())
}

fn put(block: &mut [u8], at: usize, word: u32) {
    block[at..at + 4].copy_from_slice(&word.to_ne_bytes());
}

impl Driver {
    pub fn of(queues: u32, entries: usize) -> Self {
        let table = (0..queues).cycle().take(entries).collect();
        Self { queues, table, is_configured: false, rules: BTreeMap::new(), size: 64, chooses: false }
    }

    pub fn ask(&mut self, block: &mut [u8]) -> io::Result<()> {
        assert!(
            least(block).is_some_and(|least| block.len() >= least),
            "the kernel would write beyond the block"
        );
        self.answer(block).map_err(io::Error::from_raw_os_error)
    }

    fn answer(&mut self, block: &mut [u8]) -> Result<(), i32> {
        match word(block, 0) {
            GET_TABLE | SET_TABLE if self.table.is_empty() => Err(libc::EOPNOTSUPP),
            GET_TABLE => {
                let (asked, has) = (word(block, 4), u32::try_from(self.table.len()).unwrap());
                put(block, 4, has);
                if asked == 0 {
                    return Ok(());
                }
                (asked >= has).then_some(()).ok_or(libc::EINVAL)?;
                self.table.iter().enumerate().for_each(|(index, queue)| put(block, 8 + 4 * index, *queue));
                Ok(())
            }
            SET_TABLE => self.set_table(block),
            GET_RINGS => {
                put(block, 8, self.queues);
                Ok(())
            }
            COUNT_RULES => {
                put(block, 184, u32::try_from(self.rules.len()).unwrap());
                put(block, 8, self.size | if self.chooses { 0x8000_0000 } else { 0 });
                Ok(())
            }
            LIST_RULES => {
                (usize::try_from(word(block, 184)).unwrap() >= self.rules.len())
                    .then_some(())
                    .ok_or(libc::EMSGSIZE)?;
                put(block, 184, u32::try_from(self.rules.len()).unwrap());
                put(block, 8, self.size);
                self.rules
                    .keys()
                    .enumerate()
                    .for_each(|(index, place)| put(block, PLACES + 4 * index, *place));
                Ok(())
            }
            GET_RULE => {
                let rule = self.rules.get(&word(block, 176)).ok_or(libc::ENOENT)?;
                block[16..184].copy_from_slice(rule);
                Ok(())
            }
            DELETE_RULE => self.rules.remove(&word(block, 176)).map(drop).ok_or(libc::ENOENT),
            INSERT_RULE => self.insert(block),
            _ => Err(libc::EOPNOTSUPP),
        }
    }

    fn set_table(&mut self, block: &[u8]) -> Result<(), i32> {
        let count = usize::try_from(word(block, 4)).unwrap();
        if count == 0 {
            self.table = (0..self.queues).cycle().take(self.table.len()).collect();
            self.is_configured = false;
            return Ok(());
        }
        (count == self.table.len()).then_some(()).ok_or(libc::EINVAL)?;
        let table: Vec<u32> = block[8..8 + 4 * count].chunks_exact(4).map(|entry| word(entry, 0)).collect();
        table.iter().all(|queue| *queue < self.queues).then_some(()).ok_or(libc::EINVAL)?;
        (self.table, self.is_configured) = (table, true);
        Ok(())
    }

    fn insert(&mut self, block: &mut [u8]) -> Result<(), i32> {
        (word(block, 168) < self.queues).then_some(()).ok_or(libc::EINVAL)?;
        let mut place = word(block, 176);
        if place == u32::MAX {
            self.chooses.then_some(()).ok_or(libc::EINVAL)?;
            place = (0..self.size).find(|place| !self.rules.contains_key(place)).ok_or(libc::ENOSPC)?;
            put(block, 176, place);
        }
        (place < self.size).then_some(()).ok_or(libc::EINVAL)?;
        self.rules.insert(place, block[16..184].to_vec());
        Ok(())
    }
}
