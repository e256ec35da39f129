//! What the host is to be held to: the profile that was asked for last and not taken back.
//!
//! It outlives the boot it was asked for in, and needs neither the file it came from nor what that included. It is no file
//! of its own but follows from the journal's transactions, so that it changes with the very record that an apply or a
//! roll-back is: killed anywhere, it is the old one or the new one. The steps:
//!
//! - an apply makes its profile the standing one, with its `begin`; one that failed or was taken back leaves the former;
//! - undoing the last apply leads back to the one before it, going back to the baseline to nothing at all;
//! - the same profile, applied again after a reboot by whoever holds the host to it, takes the place of its former self.

use crate::Error;
use crate::engine::Engine;
use crate::profile::Profile;
use crate::record::{Asked, Asker};

/// What the host is to be held to.
#[derive(Debug, Clone)]
pub enum Standing {
    /// Nobody has asked for anything yet.
    NeverAsked,
    /// It was taken back: the host is nobody's to hold, also after a reboot.
    Released,
    /// To this.
    Profile(Box<StandingProfile>),
}

/// A profile that stands.
#[derive(Debug, Clone)]
pub struct StandingProfile {
    /// The apply it was asked for by; 0 when that is older than what the journal keeps.
    pub transaction: u64,
    /// What is wanted; its name is that of the apply.
    pub profile: Profile,
    /// When it was asked for, in seconds since 1970.
    pub at: u64,
    /// Who asked.
    pub by: Asker,
    /// Whether they accepted its dangers.
    pub accepts_dangers: bool,
    /// Whether it was applied in this boot.
    pub is_this_boot: bool,
    /// The sessions of it that the host was last brought to it in.
    pub sessions: Vec<String>,
    /// Whether it still waits to be confirmed.
    pub is_on_trial: bool,
}

impl Engine {
    /// What the host is to be held to.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::State`], [`Error::Host`]; [`Error::Integrity`] when the journal is damaged or another
    /// machine's: what is missing in it may be what counts; [`Error::Profile`] when this quell does not know a knob of it.
    pub fn standing(&self) -> Result<Standing, Error> {
        let book = self.book()?;
        if let Some(damaged) = self.damage(&book) {
            return Err(damaged);
        }
        match book.ledger.standing() {
            Some(asked) => standing(asked, &book.identity.boot),
            None if book.ledger.is_released() => Ok(Standing::Released),
            None => Ok(Standing::NeverAsked),
        }
    }
}

fn standing(asked: &Asked, boot: &str) -> Result<Standing, Error> {
    Ok(Standing::Profile(Box::new(StandingProfile {
        transaction: asked.id,
        profile: Profile::parse(&asked.profile, &asked.wanted.text)?,
        at: asked.at,
        by: asked.wanted.by,
        accepts_dangers: asked.wanted.accepts_dangers,
        is_this_boot: asked.boot == boot,
        sessions: asked.sessions.clone(),
        is_on_trial: asked.confirm_by.is_some(),
    })))
}
