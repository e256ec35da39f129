//! The journal file: append-only, one record a line, each with its own check word and that of the line before.
//!
//! A line reads `q1 CHECK PREVIOUS LENGTH JSON`: the version, the CRC-32 of what follows it, the check word of the record
//! before, the JSON's length. So one flipped bit damages one record and is noticed, and a record that was cut out of the
//! middle is missed. Two things can be wrong with a file, and they are told apart, because they mean different things:
//!
//! - a *torn tail*: the last append did not finish. Nothing was written to the kernel for it (the append comes first), so
//!   the longest valid prefix counts and the tail is cut off before the next append;
//! - any other *damage*: originals may be lost, or what the host is to be held to, so nothing is applied, and nothing undone
//!   unless it is forced. That a record is of an earlier boot is no excuse: the profile that stands and the boot line
//!   outlive theirs, and nobody can say what a damaged record held.
//!
//! What a check word cannot see: whole records missing at the very end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::unistd::fdatasync;
use units::limits::JOURNAL_RESERVE_BYTES;

use crate::Error;
use crate::record::{Header, Record};
use crate::state::StateDir;

/// The journal.
pub(crate) const NAME: &str = "journal";
/// Bytes kept so that a roll-back can be recorded on a full disk.
const RESERVE: &str = "journal.reserve";
/// The format's version; a later one is refused, because it may hold what this version would drop.
const VERSION: &str = "q1";

/// What a journal file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The intact records, in order.
    pub records: Vec<Record>,
    /// Why they cannot all be trusted.
    pub damage: Option<String>,
    /// Bytes up to the torn tail.
    pub valid_len: u64,
    /// Bytes of the torn tail.
    pub torn_len: u64,
    /// The check word that the next record points back to.
    last_check: u32,
}

/// Reads the bytes of a journal.
pub(crate) fn decode(bytes: &[u8]) -> Contents {
    let lines = Lines::of(bytes);
    let damage = lines.damage();
    let torn_len = (bytes.len() - lines.valid_len) as u64;
    Contents {
        damage,
        valid_len: lines.valid_len as u64,
        torn_len,
        last_check: lines.last_check,
        records: lines.into_records(),
    }
}

/// One stretch of the file.
enum Item {
    Intact { record: Box<Record>, check: u32, previous: u32 },
    Bad { at: usize },
}

struct Lines {
    items: Vec<Item>,
    valid_len: usize,
    last_check: u32,
}

impl Lines {
    fn of(bytes: &[u8]) -> Self {
        let mut lines = Self { items: Vec::new(), valid_len: 0, last_check: 0 };
        let mut start = 0;
        while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
            match parse(&bytes[start..start + length]) {
                Some((record, check, previous)) => {
                    lines.items.push(Item::Intact { record: Box::new(record), check, previous });
                    lines.valid_len = start + length + 1;
                    lines.last_check = check;
                }
                None => lines.items.push(Item::Bad { at: start }),
            }
            start += length + 1;
        }
        if start < bytes.len() {
            lines.items.push(Item::Bad { at: start });
        }
        if is_torn(&bytes[lines.valid_len..]) {
            let valid_len = lines.valid_len;
            lines.items.retain(|item| !matches!(item, Item::Bad { at } if *at >= valid_len));
        } else {
            lines.valid_len = bytes.len();
        }
        lines
    }

    /// What is wrong first, in whichever boot it was written: what the host is held to, and the boot line, outlive theirs.
    fn damage(&self) -> Option<String> {
        let mut before = 0;
        for (index, item) in self.items.iter().enumerate() {
            match item {
                Item::Bad { at } => return Some(format!("damaged at byte {at}")),
                Item::Intact { previous, .. } if before != *previous => {
                    return Some(format!("record {} does not follow the one before it", index + 1));
                }
                Item::Intact { record, .. } if index == 0 && !is_header(record) => {
                    return Some("the first record is no header".to_owned());
                }
                Item::Intact { check, .. } => before = *check,
            }
        }
        None
    }

    fn into_records(self) -> Vec<Record> {
        let record = |item| if let Item::Intact { record, .. } = item { Some(*record) } else { None };
        self.items.into_iter().filter_map(record).collect()
    }
}

fn is_header(record: &Record) -> bool {
    matches!(record, Record::Header(_))
}

/// Whether these bytes behind the last intact record are what an interrupted append leaves: the beginning of a record, or
/// blocks that never reached the disk. A whole line that does not check out is damage, and so is a record whose newline
/// alone is wrong, because both were once complete.
fn is_torn(tail: &[u8]) -> bool {
    let hole = tail.windows(2).any(|pair| pair == [0, 0]) || tail.last() == Some(&0);
    let complete = tail.split_last().is_some_and(|(_, record)| parse(record).is_some());
    hole || !(tail.contains(&b'\n') || complete)
}

// Format: "q1 1c291ca3 00000000 33 {\"kind\":\"header\",\"machine\":null}"
fn parse(line: &[u8]) -> Option<(Record, u32, u32)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.splitn(5, ' ');
    let (version, check) = (fields.next()?, word(fields.next()?)?);
    let (previous, length, json) = (fields.next()?, fields.next()?, fields.next()?);
    let sound =
        version == VERSION && length.parse() == Ok(json.len()) && check == check_word(previous, length, json);
    if !sound {
        return None;
    }
    Some((Record::from_json(json)?, check, word(previous)?))
}

fn word(digits: &str) -> Option<u32> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (digits.len() == 8 && digits.bytes().all(lower_hex)).then(|| u32::from_str_radix(digits, 16).ok())?
}

fn check_word(previous: &str, length: &str, json: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [VERSION, " ", previous, " ", length, " ", json] {
        hasher.update(part.as_bytes());
    }
    hasher.finalize()
}

/// Adds one line for `record` to `bytes`; the answer is its check word.
fn encode(record: &Record, previous: u32, bytes: &mut Vec<u8>) -> u32 {
    let json = serde_json::to_string(record).expect("records are strings, numbers and lists of them");
    let (previous, length) = (format!("{previous:08x}"), json.len().to_string());
    let check = check_word(&previous, &length, &json);
    bytes.extend_from_slice(format!("{VERSION} {check:08x} {previous} {length} {json}\n").as_bytes());
    check
}

/// Opens the journal in `dir` for reading; `None` when there is none.
///
/// # Errors
/// [`Error::Permission`], [`Error::State`], [`Error::Integrity`] for a file that others could have changed.
pub(crate) fn open(dir: &StateDir) -> Result<Option<File>, Error> {
    dir.file(NAME, OFlag::O_RDONLY, "read it")
}

/// Reads the journal `file` of `dir`.
///
/// # Errors
/// [`Error::Permission`], [`Error::State`]; [`Error::Integrity`] when another machine or a later version wrote it. Damage
/// is in the contents, for the caller to weigh.
pub(crate) fn load(dir: &StateDir, file: File, machine: Option<&str>) -> Result<Contents, Error> {
    let mut bytes = Vec::new();
    // Through `take`: a bare file asks the kernel for its size and its position first, two calls more in a filter.
    file.take(u64::MAX)
        .read_to_end(&mut bytes)
        .map_err(|cause| Error::state(dir.display(NAME), "read it", cause))?;
    let refuse = |problem: String, remedy| Error::Integrity { path: dir.display(NAME), problem, remedy };
    if let Some(version) = later_version(&bytes) {
        let problem = format!("written by a later quell (format {version}; this one reads {VERSION})");
        return Err(refuse(problem, "use the quell that wrote it"));
    }
    let contents = decode(&bytes);
    let written_by = contents.records.iter().find_map(|record| match record {
        Record::Header(Header { machine }) => machine.as_deref(),
        _ => None,
    });
    match (written_by, machine) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let problem = format!("it is the journal of machine {theirs}, this is {ours}");
            Err(refuse(problem, "its originals are not this machine's: move it away"))
        }
        _ => Ok(contents),
    }
}

/// The version in a first line that is not ours.
fn later_version(bytes: &[u8]) -> Option<String> {
    let first = bytes.split(|byte| *byte == b' ').next()?;
    let digits = first.strip_prefix(b"q")?;
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number > 1).then(|| format!("q{number}"))
}

/// The damage as an error.
pub(crate) fn damaged(dir: &Path, damage: &str) -> Error {
    Error::Integrity {
        path: dir.join(NAME).display().to_string(),
        problem: format!("{damage}; originals may be missing"),
        remedy: "`quell tune rollback --force` restores from every intact record; then move the file away",
    }
}

/// The journal, open for appending; its holder has the lock.
pub(crate) struct Journal<'d> {
    dir: &'d StateDir,
    file: Option<File>,
    machine: Option<String>,
    len: u64,
    torn_len: u64,
    last_check: u32,
    bytes_max: u64,
}

impl<'d> Journal<'d> {
    /// The journal behind `contents`. Nothing is written until the first append.
    pub fn new(
        dir: &'d StateDir,
        contents: &Contents,
        machine: Option<&str>,
        bytes_max: u64,
    ) -> Result<Self, Error> {
        let file = dir.file(NAME, OFlag::O_RDWR, "open it")?;
        Ok(Self {
            dir,
            file,
            machine: machine.map(str::to_owned),
            len: contents.valid_len,
            torn_len: contents.torn_len,
            last_check: contents.last_check,
            bytes_max,
        })
    }

    /// Whether `records` would make the file longer than it may be.
    pub fn is_full_with(&self, record: &Record) -> bool {
        let mut bytes = Vec::new();
        encode(record, 0, &mut bytes);
        self.len + bytes.len() as u64 > self.bytes_max
    }

    /// Writes the whole journal anew, with these records behind a header.
    pub fn rewrite(&mut self, records: &[Record]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let mut check = encode(&self.header(), 0, &mut bytes);
        for record in records {
            check = encode(record, check, &mut bytes);
        }
        self.dir.replace(NAME, &bytes)?;
        self.file = self.dir.file(NAME, OFlag::O_RDWR, "open it")?;
        (self.len, self.torn_len, self.last_check) = (bytes.len() as u64, 0, check);
        Ok(())
    }

    fn header(&self) -> Record {
        Record::Header(Header { machine: self.machine.clone() })
    }

    /// Appends one record and returns when it is on disk.
    ///
    /// # Errors
    /// [`Error::State`]. The record then does not count, and a second attempt at the same bytes is not made: after a
    /// failed flush the system forgets which pages were not written.
    pub fn commit(&mut self, record: &Record) -> Result<(), Error> {
        self.append(record, true)
    }

    /// Appends one record that may be lost with the machine's power, not with the process.
    pub fn note(&mut self, record: &Record) -> Result<(), Error> {
        self.append(record, false)
    }

    fn append(&mut self, record: &Record, durably: bool) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let before = if self.len == 0 { encode(&self.header(), 0, &mut bytes) } else { self.last_check };
        let check = encode(record, before, &mut bytes);
        match self.write(&bytes, durably) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                self.last_check = check;
                Ok(())
            }
            Err(cause) => {
                // What was written of it must not be taken for a record later; nothing more can be done if this fails.
                let _ = self.file.as_ref().map(|file| file.set_len(self.len));
                Err(Error::state(self.dir.display(NAME), "append to it", cause))
            }
        }
    }

    fn write(&mut self, bytes: &[u8], durably: bool) -> io::Result<()> {
        let is_new = self.len == 0;
        if self.file.is_none() {
            let made = self.dir.file(NAME, OFlag::O_RDWR | OFlag::O_CREAT, "make it");
            self.file = made.map_err(|error| io::Error::other(error.to_string()))?;
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        if self.torn_len > 0 {
            file.set_len(self.len)?;
            fdatasync(&*file)?;
            self.torn_len = 0;
        }
        file.seek(SeekFrom::Start(self.len))?;
        file.write_all(bytes)?;
        if durably {
            fdatasync(&*file)?;
        }
        if is_new {
            self.dir.sync().map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(())
    }

    /// Sets bytes aside for recording a roll-back on a full disk.
    ///
    /// # Errors
    /// [`Error::State`] when there is no room for them: then there is none for a safe apply.
    pub fn reserve(&self) -> Result<(), Error> {
        if self.dir.has(RESERVE) {
            return Ok(());
        }
        let doing = "set bytes aside for a roll-back";
        let file = self.dir.file(RESERVE, OFlag::O_WRONLY | OFlag::O_CREAT, doing)?;
        let length = i64::try_from(JOURNAL_RESERVE_BYTES).expect("a reserve of kibibytes");
        let allocated =
            file.ok_or(Errno::ENOENT).and_then(|file| fallocate(file, FallocateFlags::empty(), 0, length));
        match allocated {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()), // no file system of a server; then without a reserve
            Err(errno) => {
                self.dir.remove(RESERVE)?;
                Err(Error::state(self.dir.display(RESERVE), doing, errno))
            }
        }
    }

    /// Gives the reserve up; the next apply makes a new one.
    pub fn release(&self) -> Result<(), Error> {
        self.dir.remove(RESERVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Begin, End, Entry, EntryResult, Outcome, Target, What};
    use proptest::prelude::*;

    const BOOT: &str = "this-boot";

    fn begin(id: u64, boot: &str) -> Record {
        let entry = |name: &str| Entry {
            target: Target { knob: "mem.swap".into(), attribute: name.into(), identity: String::new() },
            path: format!("/proc/sys/vm/{name}"),
            from: format!("{id} 60"),
            raw: vec!["60\n".into()],
            to: Some("10".into()),
            set_anew_by: None,
        };
        let begin = Begin {
            id,
            boot: boot.into(),
            what: What::Apply,
            at: 1_790_000_000,
            profile: "balanced".into(),
            undoes: vec![],
            changes: vec![entry("swappiness")],
            holds: vec![],
            standing: None,
            confirm_by: None,
            extends: None,
            sessions: vec![],
            atomic: false,
            releases: false,
        };
        Record::Begin(begin.into())
    }

    fn end(id: u64, boot: &str) -> Record {
        let result = EntryResult {
            status: "ok".into(),
            now: Some("10".into()),
            reason: "a reason with blanks".into(),
            refused_for_good: false,
        };
        let end = End { id, boot: boot.into(), outcome: Outcome::Done, results: vec![result] };
        Record::End(end.into())
    }

    /// Three transactions, the last one interrupted.
    fn records() -> Vec<Record> {
        let header = Record::Header(Header { machine: Some("m".into()) });
        vec![header, begin(1, BOOT), end(1, BOOT), begin(2, BOOT), end(2, BOOT), begin(3, BOOT)]
    }

    fn encode_all<'r>(records: impl IntoIterator<Item = &'r Record>) -> Vec<u8> {
        let (mut bytes, mut previous) = (Vec::new(), 0);
        for record in records {
            previous = encode(record, previous, &mut bytes);
        }
        bytes
    }

    /// The ends of the records, zero first.
    fn boundaries(records: &[Record]) -> Vec<usize> {
        (0..=records.len()).map(|count| encode_all(&records[..count]).len()).collect()
    }

    /// Whether `contents` are exactly the records that end at or before byte `length`.
    fn is_longest_prefix(
        contents: &Contents,
        records: &[Record],
        boundaries: &[usize],
        length: usize,
    ) -> bool {
        let whole = boundaries.iter().rposition(|end| *end <= length).unwrap();
        contents.damage.is_none()
            && contents.records == records[..whole]
            && contents.valid_len == boundaries[whole] as u64
    }

    #[test]
    fn every_prefix_and_every_torn_end_reads_as_the_longest_valid_prefix() {
        let records = records();
        let (bytes, ends) = (encode_all(&records), boundaries(&records));
        let (mut states, mut wrong) = (0u64, 0u64);
        for length in 0..=bytes.len() {
            let contents = decode(&bytes[..length]);
            states += 1;
            wrong += u64::from(!is_longest_prefix(&contents, &records, &ends, length));
            // Blocks that never reached the disk read as zeroes, from any byte of the last record to any later one.
            let start = *ends.iter().rev().find(|end| **end <= length).unwrap();
            for hole in start..length {
                let mut torn = bytes[..length].to_vec();
                torn[hole..].fill(0);
                states += 1;
                wrong += u64::from(!is_longest_prefix(&decode(&torn), &records, &ends, start));
            }
        }
        println!("journal: {states} torn states, {wrong} wrong");
        assert_eq!(wrong, 0, "of {states}");
    }

    #[test]
    fn every_flipped_bit_of_a_whole_journal_is_noticed() {
        let records = records();
        let bytes = encode_all(&records);
        let (mut states, mut wrong) = (0u64, 0u64);
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                let contents = decode(&flipped);
                let invented = contents.records.iter().any(|record| !records.contains(record));
                // A newline that is gone joins two records.
                let lost = records.len() - contents.records.len();
                states += 1;
                wrong += u64::from(contents.damage.is_none() || invented || !(1..=2).contains(&lost));
            }
        }
        println!("journal: {states} flipped bits, {wrong} not noticed");
        assert_eq!(wrong, 0, "of {states}");
    }

    #[test]
    fn records_cut_out_swapped_or_doubled_are_noticed() {
        let records = records();
        let (bytes, ends) = (encode_all(&records), boundaries(&records));
        let line = |index: usize| &bytes[ends[index]..ends[index + 1]];
        let assemble =
            |order: &[usize]| order.iter().flat_map(|index| line(*index).to_vec()).collect::<Vec<u8>>();
        for order in
            [&[0, 2, 3, 4, 5][..], &[0, 1, 3, 4, 5], &[1, 2, 3, 4, 5], &[0, 2, 1, 3, 4, 5], &[0, 1, 1, 2]]
        {
            let contents = decode(&assemble(order));
            assert!(contents.damage.is_some(), "{order:?} was believed");
        }
        assert!(decode(&assemble(&[0, 1, 2])).damage.is_none(), "a journal may end after any record");
    }

    #[test]
    fn damage_of_an_earlier_boot_is_noticed_too() {
        let header = Record::Header(Header { machine: None });
        let records =
            vec![header, begin(1, "old"), end(1, "old"), begin(2, "older"), begin(3, BOOT), end(3, BOOT)];
        let bytes = encode_all(&records);
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            assert!(decode(&damaged).damage.is_some(), "byte {position}");
        }
    }

    #[test]
    fn nothing_at_all_is_an_empty_journal() {
        let contents = decode(b"");
        assert_eq!((contents.records.len(), contents.damage, contents.valid_len), (0, None, 0));
        assert_eq!(decode(b"q1 1c2").torn_len, 6);
        assert!(decode(b"garbage\n").damage.is_some());
    }

    #[test]
    fn a_later_version_is_recognised() {
        assert_eq!(later_version(b"q2 00 00 5 {}").as_deref(), Some("q2"));
        assert_eq!(later_version(b"q1 00 00 5 {}"), None);
        assert_eq!(later_version(b""), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever happens to the bytes, no record is read that was not written.
        #[test]
        fn no_record_is_invented(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let records = records();
            let mut bytes = encode_all(&records);
            bytes.truncate(cut.index(bytes.len()) + 1);
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let contents = decode(&bytes);
            prop_assert!(contents.records.iter().all(|record| records.contains(record)));
        }
    }
}
