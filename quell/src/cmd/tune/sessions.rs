//! `quell tune sessions`: when a profile is something else, and whether the host is where it should be.

use report::{Exit, Session, SessionOverride, SessionsDocument, WallTime, text, wall_time_now};
use sys_tuning::{Engine, Profile, Standing, StandingProfile, Turn};

use super::show;
use crate::cli::Tune;
use crate::failure::Failure;
use crate::output;

/// Shows the sessions of the profile `which`, or of the one that the host is held to.
pub fn run(
    engine: &Engine,
    options: &Tune,
    which: Option<&str>,
    at: Option<WallTime>,
) -> Result<Exit, Failure> {
    let is_now = at.is_none();
    let at = at.unwrap_or_else(wall_time_now);
    let (profile, brought_to) = match which {
        Some(which) => (Some(Profile::load(which)?), None),
        None => match engine.standing()? {
            // What stood at another time nobody knows, and a boot takes it away.
            Standing::Profile(held) => {
                let StandingProfile { profile, sessions, is_this_boot, .. } = *held;
                (Some(profile), Some(sessions).filter(|_| is_now && is_this_boot))
            }
            Standing::Released | Standing::NeverAsked => (None, None),
        },
    };
    let document =
        profile.map_or_else(SessionsDocument::default, |profile| document(&profile, at, brought_to));
    show(options, || document.to_json(), || text::sessions(&document, &output::style()))?;
    Ok(if document.is_late() { Exit::No } else { Exit::Yes })
}

fn document(profile: &Profile, at: WallTime, brought_to: Option<Vec<String>>) -> SessionsDocument {
    let second = super::second(at);
    let wall = |second: i64| WallTime::from_unix_s(u64::try_from(second).unwrap_or(0));
    let session = |Turn { name, span, is_on, local, overrides }: Turn| {
        let (from_local, to_local) = local.unzip();
        let over = |[knob, attribute, outside, within]: [String; 4]| SessionOverride {
            knob,
            attribute,
            outside,
            within,
        };
        Session {
            name,
            on: is_on,
            from: span.map(|span| wall(span.from)),
            to: span.map(|span| wall(span.to)),
            from_local,
            to_local,
            overrides: overrides.into_iter().map(over).collect(),
        }
    };
    SessionsDocument {
        profile: Some(profile.name.clone()),
        at: Some(at),
        next_edge: profile.next_edge(second).map(wall),
        brought_to,
        sessions: profile.turns(second).into_iter().map(session).collect(),
        ..SessionsDocument::default()
    }
}
