//! The document of `quell tune sessions`: when a profile is something else, and what the host is at.

use serde::{Deserialize, Serialize};

use super::Schema;
use crate::wall::WallTime;

/// `quell.sessions/1`: the sessions of a profile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SessionsDocument {
    /// `quell.sessions/1`.
    pub schema: Schema<Self>,
    /// The profile; `null` when the host is held to none.
    pub profile: Option<String>,
    /// The time it was looked at for.
    pub at: Option<WallTime>,
    /// The next time at which a session begins or gives way to the base.
    pub next_edge: Option<WallTime>,
    /// The sessions that the host was last brought to; `null` for a profile that it is not held to.
    pub brought_to: Option<Vec<String>>,
    /// Each session of the profile.
    pub sessions: Vec<Session>,
}

super::document!(SessionsDocument, "quell.sessions/1");

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Session {
    /// What it is called.
    pub name: String,
    /// Whether it is on.
    pub on: bool,
    /// From when it is on, or will be next.
    pub from: Option<WallTime>,
    /// When the base is back: its end without its lead.
    pub to: Option<WallTime>,
    /// `from` as the clocks of its place show it.
    pub from_local: Option<String>,
    /// `to` as the clocks of its place show it.
    pub to_local: Option<String>,
    /// What is otherwise.
    pub overrides: Vec<SessionOverride>,
}

/// One attribute that a session wants otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionOverride {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// The value outside of the session, as a profile writes it.
    pub outside: String,
    /// The value within it.
    pub within: String,
}

impl SessionsDocument {
    /// The sessions that are on.
    #[must_use]
    pub fn on(&self) -> Vec<String> {
        self.sessions.iter().filter(|session| session.on).map(|session| session.name.clone()).collect()
    }

    /// Whether the host is held to the profile and was last brought to other sessions than are on.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.brought_to.as_ref().is_some_and(|brought_to| *brought_to != self.on())
    }
}
