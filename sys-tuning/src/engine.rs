//! The engine: one machine, one state directory, and what can be done with them.
//!
//! Reading (plan, verify, drift, history) takes no lock, needs no rights beyond the files', and works beside an apply in
//! another process. Changing (apply, roll back) holds the lock from the first look at the journal to the last record.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::Root;
use host::boot::Boot;
use units::limits::{JOURNAL_BYTES_MAX, KERNEL_WRITE_DEADLINE};
use units::{CpuSet, Nanos};

use crate::Error;
use crate::book::{Book, Identity, Shelf};
use crate::boot::{self, Confirm, Judged, Settled, Standing};
use crate::journal;
use crate::ledger::Ledger;
use crate::lock::Lock;
use crate::plan::Plan;
use crate::profile::Profile;
use crate::state::StateDir;
use crate::surroundings::Surroundings;
use crate::survey::Survey;
use crate::trading::Trading;
use crate::writer::{DISK_PATIENCE, Mode, Pulse};

/// The tuning engine of one machine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) root: Arc<Root>,
    pub(crate) state_dir: PathBuf,
    pub(crate) journal_bytes_max: u64,
    pub(crate) pulse: Pulse,
    /// When the host trades, for what a plan is held against.
    trading: Trading,
    shelf: Shelf,
    /// Time one write may take.
    pub(crate) write_deadline: Nanos,
}

/// The state directory, locked, with its journal.
pub(crate) struct Locked {
    pub dir: StateDir,
    pub lock: Arc<Lock>,
    pub book: Book,
}

impl Engine {
    /// The engine for the machine (or captured tree) `root`, with its journal in `state_dir`. Touches nothing.
    #[must_use]
    pub fn new(root: Arc<Root>, state_dir: &Path) -> Self {
        // A disk behind plain files may take its time without anything being wrong.
        let patience = if root.is_system() { 1 } else { DISK_PATIENCE };
        Self {
            write_deadline: KERNEL_WRITE_DEADLINE.times(patience),
            root,
            state_dir: state_dir.to_owned(),
            journal_bytes_max: JOURNAL_BYTES_MAX,
            pulse: Pulse::default(),
            trading: Trading::NEVER,
            shelf: Shelf::default(),
        }
    }

    /// Has `beat` called at least every second while writes are waited for, by the thread that waits.
    #[must_use]
    pub fn with_pulse(self, beat: impl Fn() + Send + Sync + 'static) -> Self {
        Self { pulse: Pulse::new(beat), ..self }
    }

    /// Has [`Engine::examine`] hold a plan against these trading windows.
    #[must_use]
    pub fn with_trading(self, trading: Trading) -> Self {
        Self { trading, ..self }
    }

    /// For tests: gives up a write after another time than [`KERNEL_WRITE_DEADLINE`].
    #[doc(hidden)]
    #[must_use]
    pub fn with_write_deadline(self, write_deadline: Nanos) -> Self {
        Self { write_deadline, ..self }
    }

    /// How a batch is carried out, on these CPUs.
    pub(crate) fn mode(&self, cpus: CpuSet, stop_at_failure: bool) -> Mode {
        Mode { stop_at_failure, deadline: self.write_deadline, cpus, pulse: self.pulse.clone() }
    }

    /// For tests: has the journal rewritten at fewer bytes than [`JOURNAL_BYTES_MAX`].
    #[doc(hidden)]
    #[must_use]
    pub fn with_journal_bytes_max(self, journal_bytes_max: u64) -> Self {
        Self { journal_bytes_max, ..self }
    }

    /// The machine.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What applying `profile` would do here and now, and what works against it: other programs at the same knobs, files
    /// that will set them again, real-time threads in the way. For a plan that somebody sees. Writes nothing.
    ///
    /// # Errors
    /// As [`Engine::plan`].
    pub fn examine(&self, profile: &Profile) -> Result<Plan, Error> {
        let surroundings = Surroundings::read(&self.root);
        self.plan_among(profile, &Surroundings { trading: self.trading.clone(), ..surroundings })
    }

    /// What applying `profile` would do here and now, without a look around: for who plans again and again. Writes nothing.
    ///
    /// # Errors
    /// [`Error::Host`]; [`Error::Profile`] for what this machine cannot be asked for. A journal that cannot be read, or
    /// not trusted, does not stand in the way of planning.
    pub fn plan(&self, profile: &Profile) -> Result<Plan, Error> {
        self.plan_among(profile, &Surroundings::default())
    }

    fn plan_among(&self, profile: &Profile, surroundings: &Surroundings) -> Result<Plan, Error> {
        let survey = Survey::take(&self.root, profile)?;
        let (book, unknown) = (self.book(), Ledger::default());
        let ledger = book.as_ref().map_or(&unknown, |book| &book.ledger);
        Ok(Plan::of(profile, survey, ledger, surroundings))
    }

    /// What stands on the boot line, and how it stands with its trial; `None` where quell has none on this machine.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn boot(&self) -> Result<Option<boot::State>, Error> {
        Ok(boot::state(&self.root)?)
    }

    /// What the kernel made of each argument of the line that this boot was made with.
    #[must_use]
    pub fn judge_boot(&self, state: &boot::State) -> Vec<Judged> {
        let arguments = if state.is_running() { state.line().arguments.as_str() } else { boot::NONE };
        boot::judge_line(&self.root, arguments)
    }

    /// Judges the trial of this boot, if it is one: it becomes the good line, or is kept from being tried again.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Permission`], [`Error::State`] of the lock; [`Error::Host`].
    pub fn settle_boot(&self, confirm: Confirm) -> Result<Settled, Error> {
        let waits = [Standing::OnTrial, Standing::PassedOver, Standing::NotTaken];
        let is_trial = self.boot()?.is_some_and(|state| waits.contains(&state.standing()));
        if !is_trial {
            return Ok(Settled::Nothing); // nothing to lock, and no state directory to make
        }
        let _lock = self.lock()?;
        Ok(boot::settle(&self.root, confirm)?)
    }

    /// Forgets the trial, whatever became of it: the next boot has the good line, and the same line may be tried again.
    /// Whether there was one.
    ///
    /// # Errors
    /// As [`Engine::settle_boot`].
    pub fn forget_boot_trial(&self) -> Result<bool, Error> {
        let _lock = self.lock()?;
        let Some(state) = self.boot()? else { return Ok(false) };
        let is_there = state.trial.is_some();
        if is_there {
            boot::forget(&self.root, &state)?;
        }
        Ok(is_there)
    }

    /// Makes the blocks of the boot line that are missing. The answer is their directory; `None` where there is no GRUB.
    ///
    /// # Errors
    /// As [`Engine::settle_boot`].
    pub fn install_boot(&self) -> Result<Option<String>, Error> {
        let _lock = self.lock()?;
        Ok(boot::install(&self.root)?)
    }

    fn lock(&self) -> Result<Lock, Error> {
        Lock::take(&StateDir::create(&self.state_dir)?)
    }

    /// The journal without the lock; a journal that does not exist is empty.
    pub(crate) fn book(&self) -> Result<Arc<Book>, Error> {
        let identity = self.identity()?;
        let dir = StateDir::open(&self.state_dir)?;
        let book = self.shelf.book(dir.as_ref(), identity)?;
        // The lock is free once the last write that was stuck is through: what came of it can be seen, if not recorded.
        let is_over = !book.ledger.stuck.is_empty()
            && dir.is_some_and(|dir| !matches!(Lock::take_unnamed(&dir), Err(Error::Busy { .. })));
        Ok(if is_over { self.settled(book) } else { book })
    }

    /// The journal's damage as the error it is to everything that relies on it.
    pub(crate) fn damage(&self, book: &Book) -> Option<Error> {
        book.contents.damage.as_deref().map(|damage| journal::damaged(&self.state_dir, damage))
    }

    /// The state directory, made if need be, with the lock taken and the journal read.
    pub(crate) fn locked(&self) -> Result<Locked, Error> {
        let dir = StateDir::create(&self.state_dir)?;
        let lock = Lock::take(&dir)?;
        self.with_book(dir, lock)
    }

    /// The same for who goes back: a write that is stuck in the kernel, a killed process's too, has its share of the lock,
    /// and ends.
    pub(crate) fn locked_patiently(&self) -> Result<Locked, Error> {
        let dir = StateDir::create(&self.state_dir)?;
        let lock = Lock::take_patiently(&dir, &self.pulse)?;
        self.with_book(dir, lock)
    }

    fn with_book(&self, dir: StateDir, lock: Lock) -> Result<Locked, Error> {
        let book = Book::read(Some(&dir), self.identity()?)?;
        Ok(self.settle(Locked { dir, lock: Arc::new(lock), book }))
    }

    /// Whether there is anything to lock.
    pub(crate) fn has_state(&self) -> Result<bool, Error> {
        StateDir::open(&self.state_dir).map(|dir| dir.is_some())
    }

    /// Which boot this is.
    pub(crate) fn boot_id(&self) -> Result<String, Error> {
        self.identity().map(|identity| identity.boot)
    }

    fn identity(&self) -> Result<Identity, Error> {
        match Boot::read(&self.root) {
            Ok(boot) => Ok(Identity { boot: boot.boot_id, machine: boot.machine_id }),
            // Only of a captured tree: on the running machine an earlier boot's values would pass for this one's.
            Err(error) if error.is_absent() && !self.root.is_system() => {
                Ok(Identity { boot: "unknown".to_owned(), machine: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where whoever writes may run: not on CPUs that are kept for an application.
    #[must_use]
    pub fn worker_cpus(&self) -> CpuSet {
        let allowed = host::threads::allowed_cpus().unwrap_or_else(|_| CpuSet::empty());
        let housekeeping = host::cpus::Cpus::read(&self.root).map(|cpus| cpus.housekeeping());
        match housekeeping.map(|cpus| cpus.intersection(&allowed)) {
            Ok(cpus) if !cpus.is_empty() && self.root.is_system() => cpus,
            _ => allowed,
        }
    }
}
