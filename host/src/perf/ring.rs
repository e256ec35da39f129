//! Reading records out of a ring.
//!
//! The kernel is the only writer: it advances `data_head` after a record is complete and never writes beyond
//! `data_tail`, so records between the two stand still while they are read. What does not fit is lost and counted, and
//! the count comes as a record of its own. Every size is checked all the same, so that a wrong one costs the rest of the
//! ring's contents and is counted, not memory. Source: perf_event_open(2), "MMAP layout".

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use units::limits::TRACE_RING_BYTES;
use units::{CpuId, Nanos};

use super::sys::{self, HEAD_PAGE_BYTES, Map};
use super::{Handle, Layout, Point};

// Words of `struct perf_event_mmap_page`, whose counters begin at byte 1024.
const DATA_HEAD: usize = 1024 / 8;
const DATA_TAIL: usize = 1032 / 8;

const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;

/// Of a sample: header, identifier, time, and the length of what the tracepoint wrote; then that.
const SAMPLE_ID: u64 = 8;
const SAMPLE_TIME: u64 = 16;
const RAW_BYTES: u64 = 24;
const RAW: u64 = 28;
/// In what every tracepoint writes: the thread that ran when it fired.
const COMMON_PID: u64 = 4;

/// A name of at most 16 bytes as the kernel keeps it: a thread's, or the first ones of an interrupt's.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Label([u8; 16]);

impl Label {
    /// The bytes of `text` that fit.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut label = Self::default();
        for (byte, slot) in text.bytes().zip(&mut label.0) {
            *slot = byte;
        }
        label
    }

    /// As it is kept, filled up with zeros.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl From<[u8; 16]> for Label {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        f.pad(&String::from_utf8_lossy(&self.0[..length]))
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// One kernel event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When, on CLOCK_MONOTONIC_RAW.
    pub at: Nanos,
    /// What.
    pub point: Point,
    /// The thread that ran on the CPU, in the kernel's own numbering; 0 is idle.
    pub pid: u32,
    /// The next thread of a switch, the interrupt's number, the softirq's; else 0.
    pub number: u32,
    /// The next thread's name, the interrupt's; else empty.
    pub name: Label,
}

/// What one look at a ring came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Events read.
    pub events: u64,
    /// Events that the kernel had no room for.
    pub lost: u64,
    /// Records that are no event of ours: told by the kernel about the ring, or not understood.
    pub unknown: u64,
    /// Whether records were left for the next look.
    pub more: bool,
}

/// Whose records there may be.
#[derive(Debug)]
struct Source {
    id: u64,
    point: Point,
    layout: Layout,
}

/// The mapped ring of one CPU, and its events for as long as it stands.
#[derive(Debug)]
pub struct Ring {
    cpu: CpuId,
    map: Map,
    sources: Vec<Source>,
    handles: Arc<[Handle]>,
}

impl Ring {
    /// Maps the ring of the first of `handles` and sends the records of the others into it; needs no right. Where a ring
    /// was mapped for them before, by whomever, it is the same one, and what was not read yet is still in it.
    ///
    /// # Errors
    /// What came is no perf event; EPERM when more memory would be locked than `kernel.perf_event_mlock_kb` and
    /// RLIMIT_MEMLOCK allow; EINVAL when the events are of different CPUs.
    pub fn map(cpu: CpuId, handles: Arc<[Handle]>) -> io::Result<Self> {
        let owner = handles.first().ok_or_else(|| io::Error::other("no event to map"))?;
        if !handles.iter().all(|handle| super::is_event(handle.as_fd())) {
            return Err(io::Error::other("a descriptor that is no perf event"));
        }
        let map = Map::new(owner.as_fd())?;
        let mut sources = Vec::with_capacity(handles.len());
        for (index, handle) in handles.iter().enumerate() {
            if index > 0 {
                sys::redirect(handle.as_fd(), owner.as_fd())?;
            }
            let id = sys::id(handle.as_fd())?;
            sources.push(Source { id, point: handle.point, layout: handle.layout });
        }
        Ok(Self { cpu, map, sources, handles })
    }

    /// The CPU it is about, as whoever opened it said.
    #[must_use]
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// Its events.
    #[must_use]
    pub fn handles(&self) -> &Arc<[Handle]> {
        &self.handles
    }

    /// Hands every event that is there, `max` at most, to `take`, oldest first. Allocates nothing, enters no kernel;
    /// 16 ns an event (benches/benches/rings.rs, 2-vCPU VM).
    pub fn drain(&mut self, max: usize, take: impl FnMut(Event)) -> Drained {
        let words = self.map.words();
        // pairs with the kernel's store of data_head after each record: what stands before it can be read
        let head = words[DATA_HEAD].load(Ordering::Acquire);
        let tail = words[DATA_TAIL].load(Ordering::Relaxed); // only we write it
        let data = &words[HEAD_PAGE_BYTES / 8..];
        let (drained, tail) = Reader { data, sources: &self.sources }.read(tail..head, max, take);
        // pairs with the kernel's load of data_tail before it writes: we are done with what stands before it
        words[DATA_TAIL].store(tail, Ordering::Release);
        drained
    }
}

/// A ring's words and what its records mean.
struct Reader<'r> {
    /// A power of two of them.
    data: &'r [AtomicU64],
    sources: &'r [Source],
}

impl Reader<'_> {
    /// Reads the records in `range`, at most `max`; what came of it, and where the next look begins.
    fn read(&self, range: std::ops::Range<u64>, max: usize, mut take: impl FnMut(Event)) -> (Drained, u64) {
        let (mut drained, mut at, head) = (Drained::default(), range.start, range.end);
        let capacity = (self.data.len() * 8) as u64;
        for _ in 0..max {
            let left = head.saturating_sub(at);
            if left == 0 {
                break;
            }
            let (kind, size) = self.header(at);
            if left > capacity || size < 8 || size % 8 != 0 || size > left {
                drained.unknown += 1;
                at = head; // nothing says where the next record begins
                break;
            }
            let record = Record { reader: self, at, size };
            match kind {
                RECORD_SAMPLE => match record.event() {
                    Some(event) => {
                        drained.events += 1;
                        take(event);
                    }
                    None => drained.unknown += 1,
                },
                // id, and the number of events lost since the last such record
                RECORD_LOST => drained.lost += record.u64(16).unwrap_or(0),
                _ => drained.unknown += 1,
            }
            at += size;
        }
        drained.more = at < head;
        (drained, at)
    }

    /// Kind and size of the record at `at`: u32 type, u16 misc, u16 size.
    fn header(&self, at: u64) -> (u32, u64) {
        let word = self.word(at);
        ((word & 0xffff_ffff) as u32, word >> 48)
    }

    /// The word that holds the byte at `position`, wrapped around.
    fn word(&self, position: u64) -> u64 {
        let mask = self.data.len() as u64 - 1;
        self.data[((position / 8) & mask) as usize].load(Ordering::Relaxed) // ordered by data_head
    }
}

/// One record; everything is read within its size or not at all.
struct Record<'r> {
    reader: &'r Reader<'r>,
    at: u64,
    size: u64,
}

impl Record<'_> {
    fn event(&self) -> Option<Event> {
        let id = self.u64(SAMPLE_ID)?;
        let source = self.reader.sources.iter().find(|source| source.id == id)?;
        let end = RAW + u64::from(self.u32(RAW_BYTES)?);
        if end > self.size {
            return None;
        }
        let number = match source.layout.number {
            Some(offset) => self.u32(RAW + u64::from(offset))?,
            None => 0,
        };
        Some(Event {
            at: Nanos(self.u64(SAMPLE_TIME)?),
            point: source.point,
            pid: self.u32(RAW + COMMON_PID)?,
            number,
            name: self.name(source, end)?,
        })
    }

    fn name(&self, source: &Source, end: u64) -> Option<Label> {
        let Some(offset) = source.layout.name else { return Some(Label::default()) };
        let mut from = RAW + u64::from(offset);
        if source.point.points_to_name() {
            from = RAW + u64::from(self.u32(from)? & 0xffff); // the upper half is its length
        }
        let mut label = Label::default();
        for (slot, position) in label.0.iter_mut().zip(from..end) {
            *slot = self.u8(position)?;
            if *slot == 0 {
                break;
            }
        }
        Some(label)
    }

    fn u64(&self, offset: u64) -> Option<u64> {
        (offset.is_multiple_of(8) && offset + 8 <= self.size).then(|| self.reader.word(self.at + offset))
    }

    #[expect(clippy::cast_possible_truncation, reason = "one half of the word is meant")]
    fn u32(&self, offset: u64) -> Option<u32> {
        let is_inside = offset.is_multiple_of(4) && offset + 4 <= self.size;
        is_inside.then(|| (self.reader.word(self.at + offset) >> (offset % 8 * 8)) as u32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "one byte of the word is meant")]
    fn u8(&self, offset: u64) -> Option<u8> {
        (offset < self.size).then(|| (self.reader.word(self.at + offset) >> (offset % 8 * 8)) as u8)
    }
}

const _: () = assert!(TRACE_RING_BYTES.is_power_of_two(), "the kernel maps powers of two of pages");
const _: () = assert!(cfg!(target_endian = "little"), "parts of words are taken by shifting");

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: u64 = 7;
    const TIMER: u64 = 9;
    const IRQ: u64 = 11;

    fn sources() -> Vec<Source> {
        let source = |id, point, number, name| Source { id, point, layout: Layout { number, name } };
        vec![
            source(SWITCH, Point::Switch, Some(56), Some(40)),
            source(TIMER, Point::TimerEntry, None, None),
            source(IRQ, Point::IrqEntry, Some(8), Some(12)),
        ]
    }

    /// A sample as the kernel lays it out.
    fn sample(id: u64, time: u64, raw: &[u8]) -> Vec<u8> {
        let padded = (raw.len() + 4).next_multiple_of(8) - 4;
        let mut body = Vec::new();
        body.extend(id.to_le_bytes());
        body.extend(time.to_le_bytes());
        body.extend(u32::try_from(padded).unwrap().to_le_bytes());
        body.extend(raw);
        body.resize(8 + 8 + 4 + padded, 0);
        record(RECORD_SAMPLE, &body)
    }

    fn record(kind: u32, body: &[u8]) -> Vec<u8> {
        let size = u64::try_from(body.len() + 8).unwrap();
        [&(u64::from(kind) | size << 48).to_le_bytes(), body].concat()
    }

    /// What a tracepoint writes: id, flags, preemption count, pid, then `fields` from byte 8 on.
    fn raw(pid: u32, fields: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0], &pid.to_le_bytes()[..], fields].concat()
    }

    fn switch(at: u64, pid: u32, next: u32, comm: &str) -> Vec<u8> {
        let mut fields = vec![0; 56];
        fields[32..32 + comm.len()].copy_from_slice(comm.as_bytes());
        fields[48..52].copy_from_slice(&next.to_le_bytes());
        sample(SWITCH, at, &raw(pid, &fields))
    }

    /// Puts `bytes` into a ring of 512 bytes at `at`, wrapped around, and reads them back, `max` at most.
    fn read(at: u64, bytes: &[u8], max: usize) -> (Vec<String>, Drained, u64) {
        let mut ring = [0_u8; 512];
        for (position, byte) in (at..).zip(bytes) {
            ring[usize::try_from(position % 512).unwrap()] = *byte;
        }
        let words: Vec<AtomicU64> =
            ring.chunks(8).map(|word| AtomicU64::new(u64::from_le_bytes(word.try_into().unwrap()))).collect();
        let reader = Reader { data: &words, sources: &sources() };
        let mut seen = Vec::new();
        let head = at + bytes.len() as u64;
        let (drained, tail) = reader.read(at..head, max, |event| {
            let Event { at, point, pid, number, name } = event;
            seen.push(format!("{} {point:?} pid {pid}: {number} {name}", at.0));
        });
        (seen, drained, tail)
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[&str], lost: u64, unknown: u64) {
        // Wherever the ring's end falls into the records, the answer is the same.
        for at in (0..512).step_by(8) {
            let (seen, drained, tail) = read(at, bytes, 100);
            assert_eq!(seen, expected, "from {at}");
            let events = expected.len() as u64;
            assert_eq!(drained, Drained { events, lost, unknown, more: false }, "from {at}");
            assert_eq!(tail, at + bytes.len() as u64);
        }
    }

    #[test]
    fn known_records_read_as_written() {
        check(&[], &[], 0, 0);
        check(&switch(5, 12, 345, "stress"), &["5 Switch pid 12: 345 stress"], 0, 0);
        check(&switch(5, 0, 1, "sixteen-letters!"), &["5 Switch pid 0: 1 sixteen-letters!"], 0, 0);
        check(&sample(TIMER, 6, &raw(3, &[236, 0, 0, 0])), &["6 TimerEntry pid 3: 0 "], 0, 0);
        let named = [&24_u32.to_le_bytes(), &(8 << 16 | 16_u32).to_le_bytes(), &b"virtio0\0"[..]].concat();
        check(&sample(IRQ, 7, &raw(0, &named)), &["7 IrqEntry pid 0: 24 virtio0"], 0, 0);
        let both = [switch(1, 2, 3, "a"), switch(4, 3, 2, "b")].concat();
        check(&both, &["1 Switch pid 2: 3 a", "4 Switch pid 3: 2 b"], 0, 0);
    }

    #[test]
    fn what_was_lost_is_counted() {
        let lost = record(RECORD_LOST, &[TIMER.to_le_bytes(), 41_u64.to_le_bytes()].concat());
        let with_id = record(RECORD_LOST, &[1_u64, 2, 3, 4].map(u64::to_le_bytes).concat()); // sample_id_all
        check(&[lost, switch(1, 2, 3, "a"), with_id].concat(), &["1 Switch pid 2: 3 a"], 43, 0);
    }

    #[test]
    fn what_is_not_understood_is_counted_and_passed_over() {
        let unknown_id = sample(999, 1, &raw(1, &[0; 8]));
        let throttle = record(5, &[0; 24]);
        let good = switch(1, 2, 3, "a");
        check(&[unknown_id, throttle, good].concat(), &["1 Switch pid 2: 3 a"], 0, 2);
        check(&sample(SWITCH, 1, &raw(1, &[0; 8])), &[], 0, 1); // too short for its fields
        let beyond = [&24_u32.to_le_bytes(), &(8 << 16 | 4000_u32).to_le_bytes()[..]].concat();
        check(&sample(IRQ, 7, &raw(0, &beyond)), &["7 IrqEntry pid 0: 24 "], 0, 0); // a name outside the record
    }

    #[test]
    fn a_wrong_size_costs_the_rest_and_no_more() {
        for size in [0_u64, 4, 12, 480] {
            let header = (u64::from(RECORD_SAMPLE) | size << 48).to_le_bytes();
            let bytes = [&switch(1, 2, 3, "a")[..], &header, &[0; 24]].concat();
            let (seen, drained, tail) = read(504, &bytes, 100);
            assert_eq!((seen.len(), drained.unknown, drained.more), (1, 1, false), "size {size}");
            assert_eq!(tail, 504 + bytes.len() as u64, "size {size}");
        }
        let words = [const { AtomicU64::new(0) }; 64];
        let reader = Reader { data: &words, sources: &[] };
        let (drained, tail) = reader.read(0..5_000, 9, |_| ()); // more than the ring holds
        assert_eq!((drained.unknown, tail), (1, 5_000));
    }

    #[test]
    fn a_look_is_bounded_and_the_next_one_goes_on() {
        let bytes = [switch(1, 2, 3, "a"), switch(4, 3, 2, "b")].concat();
        let (seen, drained, tail) = read(64, &bytes, 1);
        assert_eq!((seen.len(), drained.more), (1, true));
        assert_eq!(tail, 64 + bytes.len() as u64 / 2);
    }
}
