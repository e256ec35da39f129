//! The three blocks that GRUB reads, and what they come to.
//!
//! `good.env` and `trial.env` are replaced whole, by rename. `armed.env` is the one that GRUB writes, by block number, so
//! it is made once and then only overwritten where it stands: a file that was replaced could have its old blocks, by then
//! somebody else's, written to. GRUB reads a journaled file system as it was before the journal is replayed, and may see an
//! old file after a power cut; that is why the blocks are paired by the line's id, and nothing but an equal pair is tried.

use host::boot::{Boot, Cmdline};
use host::grub::Block;
use host::{Error, Root, if_present};

use super::line::{self, Line, MARK, NONE};

/// GRUB's directory on a Debian and on a Fedora, below which ours stands.
pub(super) const GRUB_DIRS: [&str; 2] = ["/boot/grub", "/boot/grub2"];

const GOOD: &str = "good.env";
const TRIAL: &str = "trial.env";
const ARMED: &str = "armed.env";

/// One line as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What `quell.boot=` on the command line says when it was booted; empty for a line without arguments.
    pub id: String,
    /// The arguments, or `none`.
    pub arguments: String,
    /// Why it was not kept, when it was tried and refused.
    pub refused: Option<String>,
}

/// What is stored, and what was booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The directory of the blocks.
    pub dir: String,
    /// The line that every boot has unless a trial is armed.
    pub good: Stored,
    /// The line to be tried, or the last one that was.
    pub trial: Option<Stored>,
    /// The id of the trial that the next boot is to try.
    pub armed: Option<String>,
    /// The id of the trial that GRUB tried last.
    pub tried: Option<String>,
    /// Whether this system came up with the very boot that GRUB meant for that trial.
    pub is_first_since: bool,
    /// Boots that passed over the trial.
    pub passed_over: u32,
    /// Whether it was armed by an earlier boot than this one.
    pub is_overdue: bool,
    /// The id of the line that was booted; `None` when it carried none of our arguments.
    pub booted: Option<String>,
}

/// How it stands with the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is none, or it is none yet: written, and not armed.
    Settled,
    /// The next boot tries it.
    Armed,
    /// This boot was to try it, and GRUB left it armed: it cannot write, or the machine did not boot by its menu.
    NotTaken,
    /// This boot is the trial; nobody has judged it yet.
    OnTrial,
    /// GRUB would have tried it, and an entry was booted that does not carry it: a recovery one, or another system's.
    PassedOver,
    /// It was tried, and the machine came back with the good line.
    CameBack,
    /// It was tried, and judged not to be kept.
    Refused,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Armed => "armed",
            Self::NotTaken => "not-taken",
            Self::OnTrial => "on-trial",
            Self::PassedOver => "passed-over",
            Self::CameBack => "came-back",
            Self::Refused => "refused",
        }
    }
}

impl State {
    /// How it stands with the trial.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Some(trial) = &self.trial else { return Standing::Settled };
        let is = |id: &Option<String>| id.as_deref() == Some(trial.id.as_str());
        match () {
            () if is(&self.armed) && self.is_overdue => Standing::NotTaken,
            () if is(&self.armed) => Standing::Armed,
            () if !is(&self.tried) => Standing::Settled,
            () if trial.refused.is_some() => Standing::Refused,
            () if is(&self.booted) => Standing::OnTrial,
            () if self.is_first_since => Standing::PassedOver,
            () => Standing::CameBack,
        }
    }

    /// The line that is in force or on its way to be: the trial until something speaks against it.
    #[must_use]
    pub fn line(&self) -> &Stored {
        match (self.standing(), &self.trial) {
            (
                Standing::Armed | Standing::NotTaken | Standing::PassedOver | Standing::OnTrial,
                Some(trial),
            ) => trial,
            _ => &self.good,
        }
    }

    /// Whether this boot was made with [`State::line`].
    #[must_use]
    pub fn is_running(&self) -> bool {
        let line = self.line();
        match self.standing() {
            Standing::Armed | Standing::NotTaken | Standing::PassedOver => false,
            _ => self.booted.as_deref().unwrap_or_default() == line.id,
        }
    }
}

/// Reads the blocks; `None` where there are none of ours.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`]; [`Error::Absent`] when one of the three is missing.
pub fn state(root: &Root) -> Result<Option<State>, Error> {
    dir(root).map(|dir| read(root, &dir)).transpose()
}

/// Our directory, where there is one.
pub(crate) fn dir(root: &Root) -> Option<String> {
    GRUB_DIRS.iter().map(|grub| format!("{grub}/quell")).find(|dir| root.exists(dir))
}

fn read(root: &Root, dir: &str) -> Result<State, Error> {
    let block = |name: &str| Block::read(root, &format!("{dir}/{name}"));
    let (good, trial, armed) = (block(GOOD)?, block(TRIAL)?, block(ARMED)?);
    let word = |block: &Block, name: &str| block.value(name).map(str::to_owned);
    let stored = |block: &Block, name: &str| Stored {
        id: word(block, &format!("{name}_id")).unwrap_or_default(),
        arguments: line::arguments(block.value(name).unwrap_or_default()),
        refused: word(block, "quell_refused"),
    };
    Ok(State {
        dir: dir.to_owned(),
        good: stored(&good, "quell_good"),
        trial: Some(stored(&trial, "quell_trial")).filter(|trial| !trial.id.is_empty()),
        armed: word(&armed, "quell_armed"),
        tried: word(&armed, "quell_tried"),
        is_first_since: armed.value(AFTER) == Some("0"),
        passed_over: armed.value(PASSED).and_then(|count| count.parse().ok()).unwrap_or(0),
        is_overdue: armed.value(ARMED_IN).is_some_and(|boot| Some(boot) != this_boot(root).as_deref()),
        booted: booted(root)?,
    })
}

/// The boot in which a trial was armed.
const ARMED_IN: &str = "quell_armed_in";
/// Whether GRUB was there again since it tried a trial: 0, then 1.
const AFTER: &str = "quell_after";
/// How many boots passed the trial over.
const PASSED: &str = "quell_passed";

fn this_boot(root: &Root) -> Option<String> {
    Boot::read(root).ok().map(|boot| boot.boot_id)
}

fn booted(root: &Root) -> Result<Option<String>, Error> {
    let name = MARK.trim_end_matches('=');
    let cmdline = if_present(Cmdline::read(root))?;
    Ok(cmdline.and_then(|cmdline| cmdline.last(name).flatten().map(str::to_owned)))
}

/// The file that stands for all three in messages and questions of rights.
pub(crate) fn trial_file(dir: &str) -> String {
    format!("{dir}/{TRIAL}")
}

/// The canonical text of the line in force; `None` where there are no blocks.
pub(crate) fn read_line(root: &Root, dir: &str) -> Result<Option<String>, Error> {
    Ok(if_present(read(root, dir))?.map(|state| state.line().arguments.clone()))
}

/// Makes `to` the line in force: at once when it is known to boot, as an armed trial otherwise.
///
/// Known to boot are the good line, and no arguments at all: that is how the machine came up before quell. Whenever this
/// is cut short, the next boot has the line before, or the good one, or `to`.
pub(crate) fn write_line(root: &Root, dir: &str, to: &str) -> Result<(), Error> {
    let line: Line = to.parse().map_err(|problem| malformed(root, dir, problem))?;
    let state = read(root, dir)?;
    let at = |name: &str| format!("{dir}/{name}");
    if line.is_empty() || line.to_string() == state.good.arguments {
        disarm(root, &state)?;
        if line.is_empty() && state.good.arguments != NONE {
            put(root, &at(GOOD), &[])?;
        }
        return if state.trial.is_some() { put(root, &at(TRIAL), &[]) } else { Ok(()) };
    }
    let id = line.id();
    put(root, &at(TRIAL), &[("quell_trial", &line.tried()), ("quell_trial_id", &id)])?;
    arm(root, &at(ARMED), &id, 0)
}

/// Makes the trial the good line.
pub(super) fn promote(root: &Root, state: &State, trial: &Stored) -> Result<(), Error> {
    let kept = format!("{} {MARK}{}", trial.arguments, trial.id);
    let good = format!("{}/{GOOD}", state.dir);
    put(root, &good, &[("quell_good", &kept), ("quell_good_id", &trial.id)])?;
    put(root, &trial_file(&state.dir), &[])
}

/// Keeps the trial from being tried again, with the reason.
pub(super) fn refuse(root: &Root, state: &State, trial: &Stored, reason: &str) -> Result<(), Error> {
    let tried = format!("{} {MARK}{}", trial.arguments, trial.id);
    let words = [("quell_trial", tried.as_str()), ("quell_trial_id", &trial.id), ("quell_refused", reason)];
    put(root, &trial_file(&state.dir), &words)
}

/// Forgets a trial, whatever became of it; the next boot has the good line.
pub(crate) fn forget(root: &Root, state: &State) -> Result<(), Error> {
    disarm(root, state)?;
    put(root, &trial_file(&state.dir), &[])
}

fn disarm(root: &Root, state: &State) -> Result<(), Error> {
    let is_blank = state.armed.is_none() && state.tried.is_none();
    if is_blank { Ok(()) } else { arm(root, &format!("{}/{ARMED}", state.dir), "", 0) }
}

/// Has the next boot try it after all.
pub(super) fn arm_again(root: &Root, state: &State, trial: &Stored) -> Result<(), Error> {
    arm(root, &format!("{}/{ARMED}", state.dir), &trial.id, state.passed_over + 1)
}

fn arm(root: &Root, path: &str, id: &str, passed: u32) -> Result<(), Error> {
    let (passed, boot) = (passed.to_string(), this_boot(root).unwrap_or_default());
    let mut words = vec![("quell_armed", id), ("quell_tried", "")];
    if !id.is_empty() {
        words.extend([(AFTER, ""), (PASSED, &passed), (ARMED_IN, &boot)]);
    }
    let bytes = rendered(root, path, &words)?;
    root.overwrite(path, &bytes[..host::SECTOR_BYTES])
}

fn put(root: &Root, path: &str, words: &[(&str, &str)]) -> Result<(), Error> {
    root.replace(path, &rendered(root, path, words)?)
}

fn rendered(root: &Root, path: &str, words: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
    Block::of(words).render().map_err(|problem| malformed(root, path, problem))
}

fn malformed(root: &Root, path: &str, problem: String) -> Error {
    Error::Format { path: root.display(path), line: String::new(), problem }
}

/// Makes the directory and the blocks that are missing, beside GRUB's own files, and those anew that are none (GRUB passes
/// them over and writes to none of them, so that they may move); what is there stays. The answer is the directory, or `None`
/// where there is no GRUB.
///
/// # Errors
/// [`Error::Write`], [`Error::Read`].
pub fn install(root: &Root) -> Result<Option<String>, Error> {
    let Some(grub) = GRUB_DIRS.iter().find(|dir| root.exists(dir)) else { return Ok(None) };
    let dir = format!("{grub}/quell");
    if !root.exists(&dir) {
        root.make_dir(&dir)?;
    }
    let blank: [(&str, &[(&str, &str)]); 3] =
        [(GOOD, &[]), (TRIAL, &[]), (ARMED, &[("quell_armed", ""), ("quell_tried", "")])];
    for (name, words) in blank {
        let path = format!("{dir}/{name}");
        if !is_block(root, &path)? {
            put(root, &path, words)?;
        }
    }
    Ok(Some(dir))
}

/// Whether a block stands there, of the length that GRUB writes back.
fn is_block(root: &Root, path: &str) -> Result<bool, Error> {
    match Block::read(root, path) {
        Ok(_) => Ok(root.read_lossy(path)?.len() == host::grub::BLOCK_BYTES),
        Err(Error::Absent { .. } | Error::Format { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
