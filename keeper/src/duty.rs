//! What the keeper is there for: the host, the profile it is held to, and how far root lets it go.
//!
//! Every change of the kernel by the keeper is one of these functions: taking the profile up at the start, and carrying out
//! what the agent orders or the watch finds, within the policy and the hour's ceiling. Nothing here knows sockets.

use host::Root;
use host::cpus::Cpus;
use orders::{Evacuate, Refusal, STATUS_WORDS};
use report::WallTime;
use sys_tuning::{
    Applied, ApplyOptions, Asker, DueWhy, Engine, Error, Isolated, Over, Profile, Standing, StandingProfile,
    StateDir, Status, Trading, Verified, Verifying, registry,
};
use units::limits::FENCE_STEP_MAX;
use units::{CpuSet, Nanos};

use crate::audit::{Audit, Entry, Level};
use crate::ceiling::Ceiling;
use crate::edges::{Latch, Turn};
use crate::fence::Fence;
use crate::measure::Measure;
use crate::moment::Moment;
use crate::policy::Policy;
use crate::watch::drifts::Drifts;

/// The host, what it is held to, and the means.
#[derive(Debug)]
pub struct Duty {
    /// The host's tuning engine.
    pub engine: Engine,
    /// How far root lets us go.
    pub policy: Policy,
    /// What the host is held to.
    pub held: Held,
    /// The hour's changes.
    pub ceiling: Ceiling,
    /// How fast orders that change something may come.
    pub measure: Measure,
    /// Where everything is written down.
    pub audit: Audit,
    /// What drifted.
    pub drifts: Drifts,
    /// The clock that sessions go by.
    pub latch: Latch,
    /// The fence, and the directory it is kept in.
    pub fence: Fence,
    dir: StateDir,
}

/// What the host is held to, and how that stands.
#[derive(Debug, Default)]
pub struct Held {
    /// What is wanted; `None` when the host is to be left as it is.
    pub wish: Option<Wish>,
    /// Why the host is not as it should be, as far as applying goes.
    pub unfit: Option<String>,
    /// The sessions of its profile that it was last brought to.
    pub on: Vec<String>,
    /// Why it is not at the session of its profile that is on.
    pub late: Option<String>,
    /// Attributes by state when they were last compared, in the order of [`STATUS_WORDS`].
    pub knobs: [u32; STATUS_WORDS.len()],
    /// The last transaction of ours.
    pub journal: Option<u64>,
}

/// A profile, and on whose word.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What is wanted.
    pub profile: Profile,
    /// Who wants it.
    pub by: Asker,
    /// Whether its dangers were accepted.
    pub accepts_dangers: bool,
    /// The apply it was asked for by; `None` when bringing the host to it is a new wish.
    pub standing: Option<u64>,
    /// Whether that apply is of this boot.
    pub is_taken_up: bool,
}

/// Why something was not done.
#[derive(Debug, PartialEq, Eq)]
pub enum NotDone {
    /// It may not be.
    Refused(Refusal, String),
    /// It did not work.
    Failed(String),
}

/// What bringing the host to a session came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Switched {
    /// It is there, and its effects were seen.
    Done {
        /// The journal's transaction; `None` when there was nothing to record.
        transaction: Option<u64>,
        /// Values written.
        written: u32,
    },
    /// Another engine is at work.
    Busy,
    /// It may not be yet.
    Waits(String),
    /// It did not work.
    Failed(String),
}

/// What a change came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// Values written.
    pub written: u32,
    /// The journal's transaction, when something was.
    pub id: Option<u64>,
}

/// The knobs that keep strangers off the isolated CPUs.
const EVACUATE: [(Evacuate, &[&str]); 3] = [
    (Evacuate::Irqs, &["irq.default", "irq.aff"]),
    (Evacuate::Workqueues, &["iso.wq"]),
    (Evacuate::Tasks, &["iso.kthreads", "iso.cpuset2", "iso.cpuset1", "iso.tasks"]),
];

impl Duty {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(engine: Engine, policy: Policy, audit: Audit, fence: Fence, dir: StateDir) -> Self {
        Self {
            engine,
            policy,
            held: Held::default(),
            ceiling: Ceiling::default(),
            measure: Measure::default(),
            audit,
            drifts: Drifts::default(),
            latch: Latch::default(),
            fence,
            dir,
        }
    }

    /// Brings the host to its profile, finishing what an interrupted apply began (its profile stands from its begin on).
    /// Without a profile to hold nothing is touched: what looks interrupted may be under way. Returns whether another engine
    /// was at it, so that it has to be tried again.
    pub fn take_up(&mut self, now: Moment) -> bool {
        let (unfit, is_busy) = match self.bring_up(now) {
            Ok(()) => (None, false),
            Err(error) => (Some(error.to_string()), matches!(error, TakeUp::Engine(Error::Busy { .. }))),
        };
        let entry = match (&unfit, &self.held.wish) {
            (Some(why), _) => Entry::new(Level::Error, "unfit").text("reason", why),
            (None, Some(wish)) => Entry::new(Level::Notice, "holds").text("profile", &wish.profile.name),
            (None, None) => Entry::new(Level::Notice, "holds-nothing"),
        };
        if unfit != self.held.unfit || !is_busy {
            self.audit.tell(now.wall, &entry);
        }
        self.held.unfit = unfit;
        is_busy
    }

    fn bring_up(&mut self, now: Moment) -> Result<(), TakeUp> {
        self.undo_due(now)?;
        self.learn()?;
        self.held.on.clear();
        let Some(wish) = &self.held.wish else { return Ok(()) };
        let profile = wish.profile.at(self.latch.second(now.wall_s()));
        let plan = self.engine.plan(&profile)?.at_runtime();
        let plan = plan.in_hours(self.trading(now), now.wall_s());
        let applied = self.engine.apply(&plan, &wish.options(wish.standing.is_some(), now.wall))?;
        self.held.journal = applied.id.or(self.held.journal);
        if let Some(id) = applied.id {
            let entry = Entry::new(Level::Notice, "applied").text("profile", &applied.profile);
            let entry = entry.number("transaction", id).number("written", written_by(&applied).into());
            let entry = match profile.sessions_on() {
                [] => entry,
                on => entry.text("sessions", &on.join(", ")),
            };
            self.audit.tell(now.wall, &entry);
        }
        self.held.on = profile.sessions_on().to_vec();
        let _ = self.reverify(now); // for the counts; what does not hold is told by the knobs themselves
        trouble(&applied).map_or(Ok(()), |why| Err(TakeUp::Profile(why)))
    }

    /// Undoes the apply that was not confirmed in time, or was to be all or nothing and was cut off; and tells it.
    pub fn undo_due(&mut self, now: Moment) -> Result<(), Error> {
        let Some(due) = self.engine.due(now.boottime)? else { return Ok(()) };
        if self.engine.undo_due(now.boottime, now.wall.unix_s())?.is_some() {
            let happened = match due.why {
                DueWhy::NotConfirmed => "not-confirmed",
                DueWhy::CutOff => "cut-off",
            };
            let entry = Entry::new(Level::Warning, happened).number("transaction", due.id);
            self.audit.tell(now.wall, &entry);
        }
        Ok(())
    }

    /// What the host is held to: what root asked for last, else what the policy names.
    fn learn(&mut self) -> Result<(), TakeUp> {
        self.held.wish = None; // what cannot be known is not guessed from before
        let wish = match self.engine.standing()? {
            Standing::Profile(standing) => {
                let StandingProfile { transaction, profile, by, accepts_dangers, is_this_boot, .. } =
                    *standing;
                let standing = Some(transaction);
                Some(Wish { profile, by, accepts_dangers, standing, is_taken_up: is_this_boot })
            }
            Standing::Released => None,
            Standing::NeverAsked => {
                let profile = self.policy.load_profile().map_err(TakeUp::Profile)?;
                profile.map(|profile| Wish {
                    profile,
                    by: Asker::Policy,
                    accepts_dangers: false,
                    standing: None,
                    is_taken_up: false,
                })
            }
        };
        if let Some(Wish { profile, .. }) = &wish
            && !self.policy.allows_profile(&profile.name)
        {
            let why = format!("profile {:?} is not among the profiles of the policy", profile.name);
            return Err(TakeUp::Profile(why));
        }
        self.held.wish = wish;
        Ok(())
    }

    /// The CPUs that are an application's: those that `machine` keeps quiet since its boot, and those that the profile wants
    /// isolated, before and after it is applied.
    pub fn set_apart(&mut self, machine: &Root) -> CpuSet {
        let quiet = Cpus::read(machine).map_or_else(|_| CpuSet::empty(), |cpus| cpus.quiet());
        let _ = self.learn(); // what stands in the way of it is told by whoever takes the profile up
        match self.held.wish.as_ref().map(|wish| &wish.profile.isolated) {
            Some(Isolated::List(cpus)) => quiet.union(cpus),
            Some(Isolated::Auto) | None => quiet,
        }
    }

    /// Brings about what stands on what came since: an interrupt, a CPU that is back.
    ///
    /// # Errors
    /// As the engine's.
    pub fn complete(&mut self, now: Moment) -> Result<(), Error> {
        let Standing::Profile(standing) = self.engine.standing()? else { return Ok(()) };
        if !self.policy.repair || self.held.wish.is_none() {
            return Ok(());
        }
        let (except, at) = (&self.policy.repair_except, now.wall.unix_s());
        if let Some(applied) = self.engine.complete(&standing, except, at, self.trading(now))? {
            let written = written_by(&applied);
            self.ceiling.count(now.monotonic, written);
            self.held.journal = applied.id.or(self.held.journal);
            let entry = Entry::new(Level::Notice, "completed").number("written", written.into());
            self.audit.tell(now.wall, &entry.number("transaction", applied.id.unwrap_or_default()));
        }
        Ok(())
    }

    /// Puts one knob back to what the profile wants.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn repair(&mut self, knob: &str, now: Moment) -> Result<Changed, NotDone> {
        if registry::find(knob).is_none() {
            return Err(NotDone::Refused(Refusal::Knob, format!("there is no knob {knob:?}")));
        }
        if self.policy.leaves(knob) {
            let why = format!("the policy leaves {knob} alone (repair_except = [...] in policy.toml)");
            return Err(NotDone::Refused(Refusal::Policy, why));
        }
        let wish = self.held_now()?;
        if !wish.profile.wants(knob) {
            return Err(NotDone::Refused(Refusal::Knob, format!("the profile wants nothing of {knob}")));
        }
        self.reapply(&wish, &[knob], now)
    }

    /// Applies again what keeps strangers off the isolated CPUs.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn evacuate(&mut self, what: Evacuate, now: Moment) -> Result<Changed, NotDone> {
        let knobs = EVACUATE.iter().find(|(which, _)| *which == what).map_or(&[][..], |(_, knobs)| knobs);
        let knobs: Vec<&str> = knobs.iter().copied().filter(|knob| !self.policy.leaves(knob)).collect();
        if knobs.is_empty() {
            let why = "the policy leaves all of it alone (repair_except = [...] in policy.toml)".to_owned();
            return Err(NotDone::Refused(Refusal::Policy, why));
        }
        let wish = self.held_now()?;
        if !knobs.iter().any(|knob| wish.profile.wants(knob)) {
            return Err(NotDone::Refused(
                Refusal::Knob,
                format!("the profile wants nothing of {}", knobs.join(", ")),
            ));
        }
        self.reapply(&wish, &knobs, now)
    }

    /// Compares everything with the profile: attributes by state, in the order of [`STATUS_WORDS`].
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn reverify(&mut self, now: Moment) -> Result<[u32; STATUS_WORDS.len()], NotDone> {
        let wish = self.held_now()?;
        let profile = wish.profile.at(self.latch.second(now.wall_s()));
        let verified = self.engine.verify(&profile).map_err(|error| not_done(&error))?;
        self.count(&verified);
        Ok(self.held.knobs)
    }

    fn count(&mut self, verified: &Verified) {
        self.held.knobs = Status::ALL.map(|status| u32::try_from(verified.count(status)).unwrap_or(u32::MAX));
    }

    /// Which sessions of the profile are on; `None` where it has none.
    pub fn turn(&mut self, now: Moment) -> Option<Turn> {
        let wish = self.held.wish.as_ref().filter(|wish| wish.profile.has_sessions())?;
        let second = self.latch.second(now.wall_s());
        let profile = wish.profile.at(second);
        Some(Turn {
            standing: wish.standing,
            on: profile.sessions_on().to_vec(),
            until: profile.next_edge(second),
        })
    }

    /// Brings the host to the sessions that are on: the knobs that some session overrides, as one transaction, which
    /// belongs to the apply that asked for the profile. What a trading window forbids is left to its end; the hour's ceiling
    /// is for what others bring about, not for what root declared.
    pub fn switch(&mut self, now: Moment) -> Switched {
        match self.try_switch(now) {
            Ok(switched) => switched,
            Err(Error::Busy { .. }) => Switched::Busy,
            Err(error) => Switched::Failed(error.to_string()),
        }
    }

    fn try_switch(&mut self, now: Moment) -> Result<Switched, Error> {
        let before = self.held.wish.clone();
        match self.learn() {
            Ok(()) => {}
            Err(TakeUp::Profile(why)) => return Ok(Switched::Waits(why)),
            Err(TakeUp::Engine(error)) => {
                self.held.wish = before; // it is tried again, and the watch goes on meanwhile
                return Err(error);
            }
        }
        let Some(wish) = self.held.wish.clone().filter(|wish| wish.is_taken_up) else {
            return Ok(Switched::Waits("the profile is not taken up yet".to_owned()));
        };
        if let Some(trial) = self.engine.on_trial()? {
            return Ok(Switched::Waits(format!("transaction {} waits to be confirmed", trial.id)));
        }
        let profile = wish.profile.at(self.latch.second(now.wall_s()));
        let plan = self.engine.plan(&profile)?.at_runtime().of_sessions(&profile);
        let waits = plan.kept_from(self.trading(now), now.wall_s());
        let plan = plan.in_hours(self.trading(now), now.wall_s());
        let waits = waits.into_iter().next();
        if let Some(why) = waits.as_ref().filter(|_| plan.changes.is_empty()) {
            return Ok(Switched::Waits(why.clone()));
        }
        let applied = self.engine.apply(&plan, &wish.options(true, now.wall))?;
        self.held.journal = applied.id.or(self.held.journal);
        if let Some(why) = waits {
            return Ok(Switched::Waits(why));
        }
        let verified = self.engine.verify(&profile)?;
        self.count(&verified);
        let is_off = |knob: &&Verifying| knob.status.is_trouble() && profile.is_of_session(knob.knob);
        let off = verified.knobs.iter().find(is_off);
        let off = off.map(|knob| format!("{} {}: {}", knob.knob, knob.attribute, knob.reason));
        Ok(match trouble(&applied).or(off) {
            Some(why) => Switched::Failed(why),
            None => {
                self.held.on = profile.sessions_on().to_vec();
                Switched::Done { transaction: applied.id, written: written_by(&applied) }
            }
        })
    }

    /// Raises the fence.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn raise_fence(&mut self, to: u64) -> Result<(), NotDone> {
        let (is, most) = (self.fence.number(), self.fence.number().saturating_add(FENCE_STEP_MAX));
        let refused = |why: String| Err(NotDone::Refused(Refusal::Fence, why));
        if to < is {
            return refused(format!("the fence is {is} already"));
        }
        if to > most {
            return refused(format!("the fence is {is}; one order raises it to {most} at most"));
        }
        self.fence.raise(&self.dir, to).map_err(NotDone::Failed)
    }

    /// What the host is held to by now: root may have asked for something else since.
    fn held_now(&mut self) -> Result<Wish, NotDone> {
        self.learn().map_err(|error| match error {
            TakeUp::Profile(why) => NotDone::Refused(Refusal::NothingHeld, why),
            TakeUp::Engine(error) => not_done(&error),
        })?;
        let nothing = || NotDone::Refused(Refusal::NothingHeld, "this host is held to no profile".to_owned());
        self.held.wish.clone().ok_or_else(nothing)
    }

    /// When the host trades; never while it is only coming up, because nobody trades on it yet.
    #[must_use]
    pub fn trading(&self, now: Moment) -> &Trading {
        static NEVER: Trading = Trading::NEVER;
        if now.boottime < self.policy.boot_settle { &NEVER } else { &self.policy.trading }
    }

    fn reapply(&mut self, wish: &Wish, knobs: &[&str], now: Moment) -> Result<Changed, NotDone> {
        let profile = wish.profile.at(self.latch.second(now.wall_s()));
        let plan = self.engine.plan(&profile).map_err(|error| not_done(&error))?.at_runtime().only(knobs);
        if let Some(why) = plan.kept_from(self.trading(now), now.wall_s()).into_iter().next() {
            return Err(NotDone::Refused(Refusal::Policy, why));
        }
        self.check_ceiling(u32::try_from(plan.changes.len()).unwrap_or(u32::MAX), now.monotonic)?;
        let applied =
            self.engine.apply(&plan, &wish.options(true, now.wall)).map_err(|error| not_done(&error))?;
        let written = written_by(&applied);
        self.ceiling.count(now.monotonic, written);
        self.held.journal = applied.id.or(self.held.journal);
        trouble(&applied).map_or(Ok(Changed { written, id: applied.id }), |why| Err(NotDone::Failed(why)))
    }

    fn check_ceiling(&mut self, wanted: u32, now: Nanos) -> Result<(), NotDone> {
        let per_hour = self.policy.changes_per_hour_max;
        let left = self.ceiling.left(now, per_hour);
        match wanted > left {
            true => {
                let why = format!("{wanted} changes are more than the {left} left of {per_hour} an hour");
                Err(NotDone::Refused(Refusal::Ceiling, why))
            }
            false => Ok(()),
        }
    }
}

/// Why the profile could not be taken up.
#[derive(Debug, thiserror::Error)]
enum TakeUp {
    #[error("{0}")]
    Profile(String),
    #[error(transparent)]
    Engine(#[from] Error),
}

impl Wish {
    fn options(&self, is_hold: bool, at: WallTime) -> ApplyOptions {
        let Self { by, accepts_dangers: accept_dangers, .. } = *self;
        let over = self.standing.map_or(Over::Nothing, Over::Standing);
        ApplyOptions { at: at.unix_s(), by, accept_dangers, is_hold, over, ..ApplyOptions::PLAIN }
    }
}

fn written_by(applied: &Applied) -> u32 {
    let written = applied.changes.iter().filter(|change| change.now.as_deref() != Some(&change.from)).count();
    u32::try_from(written).unwrap_or(u32::MAX)
}

/// The first thing that is not as the plan wanted it, and how many more there are.
fn trouble(applied: &Applied) -> Option<String> {
    let changes = applied.changes.iter().filter(|change| change.status.is_trouble());
    let changes = changes.map(|change| format!("{} {}: {}", change.knob, change.attribute, change.reason));
    let skipped = applied.skipped.iter().filter(|skipped| skipped.status.is_trouble());
    let mut troubles = changes.chain(skipped.map(|skipped| format!("{}: {}", skipped.knob, skipped.reason)));
    let first = troubles.next()?;
    match troubles.count() {
        0 => Some(first),
        more => Some(format!("{first}; and {more} more")),
    }
}

fn not_done(error: &Error) -> NotDone {
    match error {
        Error::Busy { .. } => NotDone::Refused(Refusal::Busy, error.to_string()),
        other => NotDone::Failed(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_evacuates_is_in_the_registry() {
        for (what, knobs) in EVACUATE {
            for knob in knobs {
                assert!(registry::find(knob).is_some(), "{what:?}: {knob}");
            }
        }
    }

    #[test]
    fn the_states_of_orders_are_those_of_knobs() {
        assert_eq!(Status::ALL.map(Status::word), STATUS_WORDS);
    }
}
