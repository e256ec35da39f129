//! What was done and what was refused, a line each: for the journal of the host, and in a file that only root reads.
//!
//! A line is a JSON object, so that no text in it can be mistaken for another line; its keys are ours and its values are
//! escaped down to printable ASCII. Nobody waits for a log: a line that the journal or the disk does not take is counted,
//! and the count stands in the next one that is taken. What others can bring about as often as they like (orders carried
//! out, refusals, drift) is counted after so many lines of a minute, each kind for itself, so that none pushes out the rest.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::fstat;
use report::WallTime;
use sys_tuning::{Error, StateDir};
use units::Nanos;
use units::limits::{
    AUDIT_BYTES_MAX, DRIFTS_TOLD_PER_MINUTE, ORDERS_TOLD_PER_MINUTE, REFUSALS_TOLD_PER_MINUTE,
};

const NAME: &str = "audit.log";
const BEFORE: &str = "audit.log.1";

/// How a line is told to the host's journal. Source: sd-daemon(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Somebody has to look.
    Error = 3,
    /// Refused, or not as it should be.
    Warning = 4,
    /// Something was changed.
    Notice = 5,
    /// For the record.
    Info = 6,
}

/// One line, built a field at a time.
#[derive(Debug, Clone)]
pub struct Entry {
    level: Level,
    text: String,
}

impl Entry {
    /// A line about `event`, a word of ours.
    #[must_use]
    pub fn new(level: Level, event: &str) -> Self {
        Self { level, text: String::new() }.text("event", event)
    }

    /// With a text, whoever wrote it.
    #[must_use]
    pub fn text(mut self, key: &str, value: &str) -> Self {
        let _ = write!(self.text, ",\"{key}\":\""); // a String takes everything
        escape(value, &mut self.text);
        self.text.push('"');
        self
    }

    /// With a number.
    #[must_use]
    pub fn number(mut self, key: &str, value: u64) -> Self {
        let _ = write!(self.text, ",\"{key}\":{value}");
        self
    }
}

/// Bytes of the text of one field as it is written; an error with a path and a value is below. Seven such fields, more than
/// any line has that others have a say in, are below the 4096 bytes that a pipe takes at once.
const TEXT_BYTES_MAX: usize = 512;

/// `text` as the inside of a JSON string, in printable ASCII.
fn escape(text: &str, into: &mut String) {
    let end = into.len() + TEXT_BYTES_MAX - ESCAPE_BYTES_MAX;
    for char in text.chars() {
        if into.len() > end {
            return;
        }
        match char {
            '"' | '\\' => into.extend(['\\', char]),
            ' '..='~' => into.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _ = write!(into, "\\u{unit:04x}");
                }
            }
        }
    }
}

/// What one character may become: two UTF-16 units.
const ESCAPE_BYTES_MAX: usize = 12;

/// What others can bring about as often as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Often {
    /// Orders and connections that were refused.
    Refusal,
    /// Orders that were carried out, or attempted.
    Order,
    /// Values that somebody else changed.
    Drift,
}

/// Where lines go.
#[derive(Debug)]
pub struct Audit {
    dir: StateDir,
    file: File,
    bytes: u64,
    /// Lines the file did not take.
    unwritten: u64,
    /// Lines stderr did not take.
    unheard: u64,
    refusals: Flood,
    orders: Flood,
    drifts: Flood,
}

impl Audit {
    /// Goes on with the log in `dir`.
    ///
    /// # Errors
    /// The file cannot be opened, or is not ours alone.
    pub fn open(dir: StateDir) -> Result<Self, Error> {
        let (file, bytes) = open(&dir)?;
        Ok(Self {
            dir,
            file,
            bytes,
            unwritten: 0,
            unheard: 0,
            refusals: Flood::of(REFUSALS_TOLD_PER_MINUTE),
            orders: Flood::of(ORDERS_TOLD_PER_MINUTE),
            drifts: Flood::of(DRIFTS_TOLD_PER_MINUTE),
        })
    }

    /// Writes down something that happened.
    pub fn tell(&mut self, at: WallTime, entry: &Entry) {
        let mut line = format!("{{\"at\":\"{at:.3}\"{}", entry.text);
        for (key, lost) in [("lines_unwritten", self.unwritten), ("lines_unheard", self.unheard)] {
            if lost > 0 {
                let _ = write!(line, ",\"{key}\":{lost}");
            }
        }
        line.push_str("}\n");
        // A count is told where it arose; until a line is taken there, it stands in each.
        self.unheard = if say(entry.level, &line).is_ok() { 0 } else { self.unheard + 1 };
        self.unwritten = if self.write(&line).is_ok() { 0 } else { self.unwritten + 1 };
    }

    /// Writes down what others can bring about as often as they like, unless a minute had enough of its kind.
    pub fn tell_some(&mut self, at: WallTime, now: Nanos, kind: Often, entry: Entry) {
        let (flood, untold) = match kind {
            Often::Refusal => (&mut self.refusals, "refusals_untold"),
            Often::Order => (&mut self.orders, "orders_untold"),
            Often::Drift => (&mut self.drifts, "drifts_untold"),
        };
        if let Some(before) = flood.passes(now) {
            let entry = if before == 0 { entry } else { entry.number(untold, before) };
            self.tell(at, &entry);
        }
    }

    fn write(&mut self, line: &str) -> Result<(), Error> {
        if self.bytes + line.len() as u64 > AUDIT_BYTES_MAX {
            // Moved away already, by an earlier attempt that could not open the next one, or by somebody else.
            if self.dir.has(NAME) {
                self.dir.rename(NAME, BEFORE)?;
            }
            (self.file, self.bytes) = open(&self.dir)?;
        }
        if let Err(cause) = self.file.write_all(line.as_bytes()) {
            // Half a line would run into the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(Error::State { path: self.dir.display(NAME), doing: "write to it", cause });
        }
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn open(dir: &StateDir) -> Result<(File, u64), Error> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT;
    let doing = "open the audit log";
    let missing = || Error::State { path: dir.display(NAME), doing, cause: Errno::ENOENT.into() };
    let file = dir.file(NAME, flags, doing)?.ok_or_else(missing)?;
    let bytes = fstat(&file).ok().and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0);
    Ok((file, bytes))
}

/// To stderr, which systemd gives to the journal; never waits for whoever reads it.
fn say(level: Level, line: &str) -> io::Result<()> {
    let line = format!("<{}>{line}", level as u8);
    let stderr = io::stderr();
    match send(stderr.as_raw_fd(), line.as_bytes(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Err(Errno::ENOTSOCK) => {}
        sent => return sent.map(drop).map_err(io::Error::from),
    }
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    match nix::poll::poll(&mut ready, PollTimeout::ZERO) {
        Ok(1..) => stderr.lock().write_all(line.as_bytes()), // a pipe with room has room for PIPE_BUF bytes
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Lines of the running minute.
#[derive(Debug)]
struct Flood {
    per_minute: u32,
    since: Option<Nanos>,
    told: u32,
    untold: u64,
}

impl Flood {
    fn of(per_minute: u32) -> Self {
        Self { per_minute, since: None, told: 0, untold: 0 }
    }

    /// Whether one more is told; then how many were not since the last one that was.
    fn passes(&mut self, now: Nanos) -> Option<u64> {
        if self.since.is_none_or(|since| since + Nanos::from_secs(60) <= now) {
            self.since = Some(now);
            self.told = 0;
        }
        if self.told >= self.per_minute {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(dir: &std::path::Path) -> String {
        std::fs::read_to_string(dir.join(NAME)).unwrap()
    }

    #[test]
    fn a_line_is_one_line_whatever_it_is_about() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let mut audit = Audit::open(StateDir::create(&state).unwrap()).unwrap();
        let entry =
            Entry::new(Level::Notice, "order").text("why", "a\"b\\c\nd\u{1b}[0mä\u{1f600}").number("pid", 7);
        audit.tell(WallTime::from_unix_s(0), &entry);
        assert_eq!(
            logged(&state),
            "{\"at\":\"1970-01-01T00:00:00.000Z\",\"event\":\"order\",\
             \"why\":\"a\\\"b\\\\c\\u000ad\\u001b[0m\\u00e4\\ud83d\\ude00\",\"pid\":7}\n"
        );
    }

    #[test]
    fn the_log_has_a_size_and_one_before_it() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let mut audit = Audit::open(StateDir::create(&state).unwrap()).unwrap();
        audit.bytes = AUDIT_BYTES_MAX - 1; // as if it were full
        audit.file.write_all(b"old\n").unwrap();
        audit.tell(WallTime::from_unix_s(0), &Entry::new(Level::Info, "start"));
        assert_eq!(std::fs::read_to_string(state.join(BEFORE)).unwrap(), "old\n");
        assert!(logged(&state).contains("\"event\":\"start\""));
        drop(audit);
        let audit = Audit::open(StateDir::open(&state).unwrap().unwrap()).unwrap();
        assert_eq!(audit.bytes, logged(&state).len() as u64, "a restart goes on");
    }

    #[test]
    fn what_the_disk_did_not_take_is_counted() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let mut audit = Audit::open(StateDir::create(&state).unwrap()).unwrap();
        let good = std::mem::replace(&mut audit.file, File::options().write(true).open("/dev/full").unwrap());
        for _ in 0..3 {
            audit.tell(WallTime::from_unix_s(0), &Entry::new(Level::Info, "lost"));
        }
        audit.file = good;
        audit.tell(WallTime::from_unix_s(0), &Entry::new(Level::Info, "kept"));
        assert!(
            logged(&state).ends_with(",\"event\":\"kept\",\"lines_unwritten\":3}\n"),
            "{}",
            logged(&state)
        );
    }

    #[test]
    fn a_log_that_could_not_be_begun_anew_is_begun_later() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let mut audit = Audit::open(StateDir::create(&state).unwrap()).unwrap();
        audit.bytes = AUDIT_BYTES_MAX;
        std::fs::rename(state.join(NAME), state.join(BEFORE)).unwrap(); // and then there was no descriptor left
        audit.tell(WallTime::from_unix_s(0), &Entry::new(Level::Info, "start"));
        assert!(logged(&state).contains("\"event\":\"start\""));
    }

    #[test]
    fn a_line_fits_a_pipe_whatever_others_put_into_it() {
        let mut entry = Entry::new(Level::Notice, "drift");
        for key in ["wanted", "found", "identity", "comm", "command", "reason", "attribute"] {
            entry = entry.text(key, &"\u{1f600}".repeat(5000));
        }
        assert!(entry.text.len() > 3000 && entry.text.len() < 3900, "{}", entry.text.len());
    }

    #[test]
    fn one_kind_of_flood_does_not_push_out_another() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let mut audit = Audit::open(StateDir::create(&state).unwrap()).unwrap();
        for kind in [Often::Order, Often::Drift, Often::Refusal] {
            for _ in 0..10_000 {
                let entry = Entry::new(Level::Notice, "often").number("kind", kind as u64);
                audit.tell_some(WallTime::from_unix_s(0), Nanos::ZERO, kind, entry);
            }
        }
        let log = logged(&state);
        let told = |kind: Often| log.matches(&format!("\"kind\":{}", kind as u64)).count();
        assert_eq!(told(Often::Order), ORDERS_TOLD_PER_MINUTE as usize);
        assert_eq!(told(Often::Drift), DRIFTS_TOLD_PER_MINUTE as usize);
        assert_eq!(told(Often::Refusal), REFUSALS_TOLD_PER_MINUTE as usize);
    }

    #[test]
    fn a_flood_is_counted() {
        let mut flood = Flood::of(7);
        let second = Nanos::from_secs;
        for _ in 0..7 {
            assert_eq!(flood.passes(second(1)), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(flood.passes(second(60)), None);
        }
        assert_eq!(flood.passes(second(61)), Some(1000));
        assert_eq!(flood.passes(second(61)), Some(0));
    }
}
