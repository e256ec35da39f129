//! The sessions of a profile as text.

use super::Style;
use super::page::Page;
use crate::json::sessions::{Session, SessionsDocument};

/// When a profile is something else, and what.
#[must_use]
pub fn sessions(document: &SessionsDocument, style: &Style) -> String {
    let mut page = Page::new(style);
    let Some(profile) = &document.profile else {
        page.headline("sessions", None, "this host is held to no profile; --profile names one");
        return page.finish();
    };
    let edge = document.next_edge.map_or_else(String::new, |edge| format!(", the next edge is {edge:.0}"));
    let on = match document.on() {
        _ if document.sessions.is_empty() => "no sessions".to_owned(),
        on => format!("{}{edge}", named(&on)),
    };
    page.headline("sessions", None, &format!("profile {profile}, {on}"));
    if document.is_late() {
        let brought_to = named(document.brought_to.as_deref().unwrap_or_default());
        page.text(
            2,
            &format!("the host was last brought to it with {brought_to}: the keeper has yet to switch it"),
        );
    }
    for session in &document.sessions {
        page.text(2, &format!("{}: {}", session.name, hours(session)));
        for one in &session.overrides {
            page.text(
                6,
                &format!("{} {}: {}, otherwise {}", one.knob, one.attribute, one.within, one.outside),
            );
        }
    }
    page.finish()
}

fn named(on: &[String]) -> String {
    match on {
        [] => "no session on".to_owned(),
        on => format!("{} on", on.join(", ")),
    }
}

fn hours(session: &Session) -> String {
    let (Some(from), Some(to)) = (&session.from_local, &session.to_local) else { return "never".to_owned() };
    if session.on { format!("on until {to}") } else { format!("from {from} until {to}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{self, golden};

    #[test]
    fn sessions_read_as_their_golden_files() {
        golden("sessions.txt", &sessions(&example::sessions(), &Style::PLAIN));
        let late = SessionsDocument { brought_to: Some(Vec::new()), ..example::sessions() };
        golden("sessions-late.txt", &sessions(&late, &Style::PLAIN));
        let none = SessionsDocument { sessions: Vec::new(), next_edge: None, ..late };
        golden("sessions-none.txt", &sessions(&none, &Style::PLAIN));
        golden("sessions-unheld.txt", &sessions(&SessionsDocument::default(), &Style::PLAIN));
    }
}
