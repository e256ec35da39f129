//! Hours that do not go together: a session that has to be switched while the host trades.

use super::{Rule, View};
use crate::registry::Blast;
use crate::sessions::Session;
use crate::trading::Window;

pub(super) const RULES: &[Rule] = &[Rule {
    name: "session-edge-in-window",
    doc: "a session begins, or gives way to the base, while a trading window is open that forbids the switch",
    find: session_edge_in_window,
}];

fn session_edge_in_window(view: &View<'_>) -> Vec<String> {
    let windows = view.surroundings.trading.windows();
    let pairs =
        view.profile.sessions.iter().flat_map(|session| windows.iter().map(move |window| (session, window)));
    pairs.filter_map(|(session, window)| told(session, window)).collect()
}

fn told(session: &Session, window: &Window) -> Option<String> {
    let forbidden: Vec<String> = session
        .overrides
        .iter()
        .map(|wanted| (wanted.knob.id, wanted.knob.blast))
        .filter(|(_, blast): &(&str, Blast)| !window.allow.contains(blast))
        .map(|(knob, blast)| format!("{knob} ({blast})"))
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    let open = window.hours.of_a_year();
    let is_open = |edge: &i64| {
        let next = open.partition_point(|span| span.to <= *edge);
        open.get(next).is_some_and(|span| span.from <= *edge)
    };
    let mut edges = session.spans_of_a_year().into_iter().flat_map(|span| [span.from, span.to]);
    let edge = edges.find(is_open)?;
    Some(format!(
        "session {} switches {} at {}, when trading window {} is open and allows {}: the switch waits for its end",
        session.name,
        forbidden.join(", "),
        session.hours.local(edge),
        window.name,
        window.allowed()
    ))
}
