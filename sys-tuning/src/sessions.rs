//! Sessions of a profile: hours in which single attributes are something else, and the way back before they end.
//!
//! A host that does not trade at night may sleep deeper then. A session names its hours, what is otherwise within them, and
//! a lead: so long before its end the base is back, so that there is time to verify it, to try again, and to call somebody.
//! Only what has a base value can be overridden, because that value is the way back; and only what takes hold at run time.
//! Pure: the moment is passed in, as seconds since 1970. Who switches, and what holds a switch up, is the caller's matter.
//!
//! The profile stays one text whatever session is on: what is asked for has not changed, only what it comes to now.

use std::collections::BTreeMap;

use config::{Place, Section};
use units::{Name, Nanos};

use crate::plan::Plan;
use crate::profile::{Profile, Setting, Wanted, setting};
use crate::registry::{self, When};
use crate::trading::{Hours, Span};

/// How long before its end a session that does not say gives way to the base.
const LEAD: Nanos = Nanos::from_secs(15 * 60);

const SECONDS_A_DAY: i64 = 24 * 3600;

/// Hours in which a profile wants some things otherwise.
#[derive(Debug, Clone)]
pub struct Session {
    /// What it is called.
    pub name: Name,
    /// As declared; the base is back a lead before they end.
    pub hours: Hours,
    /// The time between the way back and the end.
    pub lead: Nanos,
    /// What is otherwise, in the registry's order.
    pub(crate) overrides: Vec<Wanted>,
}

/// A session as it stands at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// What it is called.
    pub name: String,
    /// From when until when what it overrides holds: the hours that are on, else the next ones.
    pub span: Option<Span>,
    /// Whether that is now.
    pub is_on: bool,
    /// These moments as the clocks of its place show them.
    pub local: Option<(String, String)>,
    /// Knob, attribute, value outside of it and within it, as a profile writes them.
    pub overrides: Vec<[String; 4]>,
}

impl Session {
    /// When it holds, around `at`, in order.
    fn spans(&self, at: i64) -> impl Iterator<Item = Span> {
        self.shortened(self.hours.around(at))
    }

    /// Hours without their lead; none is left of hours that a change of the clocks made as short as that.
    fn shortened(&self, hours: Vec<Span>) -> impl Iterator<Item = Span> {
        let lead = i64::try_from(self.lead.0.div_ceil(1_000_000_000)).unwrap_or(i64::MAX);
        let shorter = move |span: Span| Span { to: span.to.saturating_sub(lead), ..span };
        hours.into_iter().map(shorter).filter(|span| span.from < span.to)
    }

    fn is_on(&self, at: i64) -> bool {
        self.spans(at).any(|span| span.from <= at && at < span.to)
    }

    /// When it begins and ends in a year, for what has to be known before any of it.
    pub(crate) fn spans_of_a_year(&self) -> Vec<Span> {
        self.shortened(self.hours.of_a_year()).collect()
    }

    /// Knob, attribute and value of everything that is otherwise.
    fn attributes(&self) -> impl Iterator<Item = (&'static str, &'static str, &Setting)> {
        self.overrides.iter().flat_map(|Wanted { knob, settings }| {
            settings.iter().map(|(attribute, setting)| (knob.id, *attribute, setting))
        })
    }

    pub(crate) fn to_toml(&self) -> Vec<String> {
        let Self { name, hours, lead, overrides } = self;
        let mut lines = vec![format!("[session.\"{name}\"]"), hours.to_toml()];
        lines.push(format!("lead = \"{}s\"", lead.0 / 1_000_000_000));
        lines.push(format!("[session.\"{name}\".knobs]"));
        lines.extend(overrides.iter().map(Wanted::to_toml));
        lines
    }
}

impl Profile {
    /// What it comes to at `at`: the base, with what the sessions override that are on.
    #[must_use]
    pub fn at(&self, at: i64) -> Self {
        let base = self.base.as_ref().unwrap_or(&self.wanted);
        let on: Vec<&Session> = self.sessions.iter().filter(|session| session.is_on(at)).collect();
        let mut wanted = base.clone();
        for over in on.iter().flat_map(|session| &session.overrides) {
            for own in wanted.iter_mut().filter(|own| own.knob.id == over.knob.id) {
                own.settings.extend(over.settings.iter().map(|(name, value)| (*name, value.clone())));
            }
        }
        Self {
            wanted,
            base: Some(base.clone()),
            on: on.into_iter().map(|session| session.name.to_string()).collect(),
            ..self.clone()
        }
    }

    /// The sessions it was last asked about that are on; none of a profile that was never asked [`Profile::at`].
    #[must_use]
    pub fn sessions_on(&self) -> &[String] {
        &self.on
    }

    /// Whether what it wants depends on the hour.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// The next moment after `at` at which a session begins or gives way to the base.
    #[must_use]
    pub fn next_edge(&self, at: i64) -> Option<i64> {
        let edges =
            self.sessions.iter().flat_map(|session| session.spans(at)).flat_map(|span| [span.from, span.to]);
        edges.filter(|edge| *edge > at).min()
    }

    /// Its sessions at `at`, in the order of their names.
    #[must_use]
    pub fn turns(&self, at: i64) -> Vec<Turn> {
        let base = self.base.as_ref().unwrap_or(&self.wanted);
        let turn = |session: &Session| {
            let span = session.spans(at).find(|span| at < span.to);
            let outside = |knob: &str, attribute: &str| {
                let wanted = base.iter().find(|wanted| wanted.knob.id == knob);
                let setting = wanted.and_then(|wanted| wanted.setting(attribute));
                setting.map_or_else(String::new, |setting| setting.value.to_toml())
            };
            Turn {
                name: session.name.to_string(),
                span,
                is_on: session.is_on(at),
                local: span.map(|span| (session.hours.local(span.from), session.hours.local(span.to))),
                overrides: session
                    .attributes()
                    .map(|(knob, attribute, setting)| {
                        [
                            knob.to_owned(),
                            attribute.to_owned(),
                            outside(knob, attribute),
                            setting.value.to_toml(),
                        ]
                    })
                    .collect(),
            }
        };
        self.sessions.iter().map(turn).collect()
    }

    /// Whether some session overrides something of this knob.
    #[must_use]
    pub fn is_of_session(&self, knob: &str) -> bool {
        self.sessions.iter().flat_map(|session| &session.overrides).any(|wanted| wanted.knob.id == knob)
    }

    /// The knobs that a session overrides something of.
    pub(crate) fn session_knobs(&self) -> Vec<&'static str> {
        let overrides = self.sessions.iter().flat_map(|session| &session.overrides);
        let mut knobs: Vec<&str> = overrides.map(|wanted| wanted.knob.id).collect();
        knobs.sort_unstable();
        knobs.dedup();
        knobs
    }
}

impl Plan {
    /// What of it is a switch of sessions: the changes of the knobs that some session overrides, and no other's.
    #[must_use]
    pub fn of_sessions(self, profile: &Profile) -> Self {
        self.only(&profile.session_knobs())
    }
}

/// The `[session.NAME]` of a profile that otherwise wants `base`, in the order of their names.
pub(crate) fn read(top: &Section<'_>, base: &[Wanted]) -> Vec<Session> {
    let table = top.section("session");
    let mut sessions: Vec<(Session, Place)> = Vec::new();
    for (name, place) in table.rest() {
        let section = table.section(name);
        sessions.extend(session(name, place, &section, base).map(|session| (session, place.clone())));
        section.finish();
    }
    sessions.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    for (index, (session, place)) in sessions.iter().enumerate() {
        for (earlier, _) in &sessions[..index] {
            if let Some(problem) = collision(earlier, session) {
                top.mistake(place, problem);
            }
        }
    }
    sessions.into_iter().map(|(session, _)| session).collect()
}

/// One of them; `None` after saying what is wrong with it.
fn session(name: &str, place: &Place, section: &Section<'_>, base: &[Wanted]) -> Option<Session> {
    let checked = name.parse::<Name>();
    if let Err(problem) = &checked {
        section.mistake(place, format!("session.{name}: {problem}"));
    }
    let hours = Hours::parse(section);
    let lead = section.parsed::<Nanos>("lead");
    let (lead, lead_place) = lead.map_or((LEAD, place.clone()), |lead| (lead.value, lead.place));
    if let Some(length) = hours.as_ref().map(Hours::length_s)
        && lead >= Nanos::from_secs(length)
    {
        let problem =
            format!("session.{name}: its hours are not longer than its lead of {} s", lead.0 / 1_000_000_000);
        section.mistake(&lead_place, problem);
    }
    let knobs = section.section("knobs");
    let overrides = overrides(name, place, &knobs, base);
    knobs.finish();
    Some(Session { name: checked.ok()?, hours: hours?, lead, overrides })
}

fn overrides(session: &str, place: &Place, knobs: &Section<'_>, base: &[Wanted]) -> Vec<Wanted> {
    let mut overrides = Vec::new();
    for knob in registry::all() {
        let section = knobs.section(knob.id);
        let Some(start) = section.place().cloned() else { continue };
        if knob.when != When::Runtime {
            let problem = format!(
                "session.{session}: {} does not take hold at run time; no session can set it",
                knob.id
            );
            section.mistake(&start, problem);
        }
        let outside = base.iter().find(|wanted| wanted.knob.id == knob.id);
        let mut settings = BTreeMap::new();
        for attribute in knob.attributes {
            let Some((value, place)) = setting(&section, attribute) else { continue };
            if outside.is_none_or(|wanted| wanted.setting(attribute.name).is_none()) {
                let problem = format!(
                    "session.{session}: {} {} has no value to go back to; say in [knobs] what it is otherwise",
                    knob.id, attribute.name
                );
                section.mistake(&place, problem);
            }
            settings.insert(attribute.name, Setting { value, place: place.to_string() });
        }
        section.finish();
        overrides.push(Wanted { knob, settings });
    }
    if overrides.is_empty() && knobs.rest().is_empty() {
        let problem = format!(
            "session.{session}: it overrides nothing; say in [session.{session}.knobs] what it is for"
        );
        knobs.mistake(place, problem);
    }
    overrides
}

/// Two sessions that are on together and want something of the same attribute.
fn collision(one: &Session, other: &Session) -> Option<String> {
    let mut others = other.attributes();
    let (knob, attribute, _) = others
        .find(|(knob, attribute, _)| one.attributes().any(|(k, a, _)| (k, a) == (*knob, *attribute)))?;
    let spans = one.spans_of_a_year();
    let meets = |span: &Span| {
        let next = spans.partition_point(|known| known.to <= span.from);
        spans.get(next).is_some_and(|known| known.from < span.to)
    };
    let at = other.spans_of_a_year().into_iter().find(meets)?;
    Some(format!(
        "sessions {} and {} both set {knob} {attribute} and overlap, as on {}",
        one.name,
        other.name,
        other.hours.local(at.from)
    ))
}

impl Hours {
    /// How long they are on a day without a change of the clocks, in seconds.
    fn length_s(&self) -> u64 {
        let (from, to) = self.edges_s();
        let length = (to - from).rem_euclid(SECONDS_A_DAY);
        u64::try_from(if length == 0 { SECONDS_A_DAY } else { length }).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use jiff::Timestamp;

    const BASE: &str = "schema = \"quell.profile/1\"\n[knobs]\n'mem.swap' = { swappiness = 10 }\n\
                        'iso.hung' = { timeout_secs = 600 }\n'iso.vmstat' = { stat_interval = 120 }\n\
                        'iso.skew' = { enabled = true }\n";

    const NIGHT: &str = "[session.night]\ndays = ['mon', 'tue', 'wed', 'thu', 'fri']\nfrom = '22:30'\nto = '07:30'\n\
                         zone = 'Europe/Berlin'\n[session.night.knobs]\n'mem.swap' = { swappiness = 60 }\n";

    fn profile(sessions: &str) -> Profile {
        Profile::parse("p", &format!("{BASE}{sessions}")).unwrap_or_else(|error| panic!("{error}"))
    }

    fn second(at: &str) -> i64 {
        at.parse::<Timestamp>().unwrap().as_second()
    }

    /// What the profile is at a time of 2026: sessions, swappiness, and the next edge.
    #[track_caller]
    fn check(profile: &Profile, at: &str, expected: &str) {
        let at = second(&format!("2026-{at}"));
        let now = profile.at(at);
        let swappiness = now.wanted.iter().find(|wanted| wanted.knob.id == "mem.swap").unwrap();
        let edge = profile.next_edge(at).map_or("-".to_owned(), |at| {
            Timestamp::from_second(at).unwrap().strftime("%m-%dT%H:%MZ").to_string()
        });
        let swappiness = swappiness.integer("swappiness").unwrap();
        assert_eq!(format!("{:?} {swappiness} until {edge}", now.sessions_on()), expected);
        assert_eq!(now.to_toml(), profile.to_toml(), "asked for is the same whatever is on");
    }

    #[test]
    fn the_base_is_back_a_lead_before_the_end() {
        let night = profile(NIGHT);
        check(&night, "11-30T21:29:59Z", "[] 10 until 11-30T21:30Z"); // a Monday, 22:29:59
        check(&night, "11-30T21:30:00Z", "[\"night\"] 60 until 12-01T06:15Z");
        check(&night, "12-01T06:14:59Z", "[\"night\"] 60 until 12-01T06:15Z");
        check(&night, "12-01T06:15:00Z", "[] 10 until 12-01T21:30Z"); // 07:15, fifteen minutes before the end
        check(&night, "12-05T06:15:00Z", "[] 10 until 12-07T21:30Z"); // Saturday morning until Monday night
        let long = profile(&NIGHT.replace("[session.night.knobs]", "lead = '2h'\n[session.night.knobs]"));
        check(&long, "12-01T04:29:59Z", "[\"night\"] 60 until 12-01T04:30Z");
        check(&long, "12-01T04:30:00Z", "[] 10 until 12-01T21:30Z");
        let all_day =
            NIGHT.replace("22:30", "00:00").replace("07:30", "00:00").replace("Europe/Berlin", "UTC");
        check(&profile(&all_day), "12-01T23:44:59Z", "[\"night\"] 60 until 12-01T23:45Z");
        check(&profile(&all_day), "12-01T23:45:00Z", "[] 10 until 12-02T00:00Z");
    }

    #[test]
    fn where_the_clocks_change_the_way_back_stays_where_it_is_on_the_clock() {
        let daily = NIGHT.replace("'fri'", "'fri', 'sat', 'sun'");
        let berlin = profile(&daily);
        // To winter time on 2026-10-25 at 01:00Z: the night is ten hours, 07:15 is 06:15Z and not 05:15Z.
        check(&berlin, "10-24T20:30:00Z", "[\"night\"] 60 until 10-25T06:15Z");
        check(&berlin, "10-25T05:15:00Z", "[\"night\"] 60 until 10-25T06:15Z");
        // To summer time on 2026-03-29 at 01:00Z: eight hours.
        check(&berlin, "03-28T21:30:00Z", "[\"night\"] 60 until 03-29T05:15Z");
        check(&berlin, "03-29T05:15:00Z", "[] 10 until 03-29T20:30Z");
        // Where 02:30 comes twice the hours are as long as they can be read, and the lead counts from their end.
        let short = daily.replace("22:30", "01:00").replace("07:30", "02:30");
        check(&profile(&short), "10-25T01:14:59Z", "[\"night\"] 60 until 10-25T01:15Z");
        check(&profile(&short), "10-25T01:15:00Z", "[] 10 until 10-26T00:00Z");
    }

    /// Every edge of a week, one after the other, each told by the one before it.
    #[track_caller]
    fn check_week(profile: &Profile, from: &str, expected: &[&str]) {
        let mut at = second(&format!("2026-{from}"));
        let end = at + 7 * SECONDS_A_DAY;
        let mut found = Vec::new();
        while let Some(edge) = profile.next_edge(at).filter(|edge| *edge < end) {
            let on = profile.at(edge).on.join("+");
            assert_ne!(profile.at(edge - 1).on.join("+"), on, "nothing changes at an edge");
            let shown = Timestamp::from_second(edge).unwrap().strftime("%d %H:%M").to_string();
            found.push(format!("{shown} {}", if on.is_empty() { "base" } else { &on }));
            at = edge;
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_week_with_a_change_of_the_clocks() {
        let weekend = "[session.weekend]\ndays = ['fri']\nfrom = '23:00'\nto = '23:00'\nzone = 'America/New_York'\n\
                       [session.weekend.knobs]\n'iso.hung' = { timeout_secs = 0 }\n";
        let both = profile(&format!("{}{weekend}", NIGHT.replace("'mon', 'tue', 'wed', ", "")));
        check_week(
            &both,
            "10-21T12:00:00Z", // Wednesday; Berlin changes on Sunday, New York a week later
            &[
                "22 20:30 night",
                "23 05:15 base",
                "23 20:30 night",
                "24 03:00 night+weekend",
                "24 05:15 weekend",
                "25 02:45 base",
            ],
        );
    }

    #[test]
    fn sessions_are_part_of_the_text_and_only_they_are_switched() {
        let night = profile(NIGHT);
        let text = night.to_toml();
        assert!(
            text.ends_with(
                "[session.\"night\"]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\n\
                 from = \"22:30\"\nto = \"07:30\"\nzone = \"Europe/Berlin\"\nlead = \"900s\"\n\
                 [session.\"night\".knobs]\n\"mem.swap\" = { \"swappiness\" = 60 }\n"
            ),
            "{text}"
        );
        assert_eq!(Profile::parse("again", &text).unwrap().to_toml(), text);
        assert!(night.is_of_session("mem.swap") && !night.is_of_session("iso.hung"));
        let [turn] = night.turns(second("2026-11-30T22:00:00Z")).try_into().unwrap();
        let until =
            ("2026-11-30 22:30 Europe/Berlin".to_owned(), "2026-12-01 07:15 Europe/Berlin".to_owned());
        assert!(turn.is_on && turn.local == Some(until), "{turn:?}");
        assert_eq!(turn.overrides, [["mem.swap", "swappiness", "10", "60"].map(str::to_owned)]);
    }

    #[track_caller]
    fn check_refused(sessions: &str, expected: &str) {
        match Profile::parse("p", &format!("{BASE}{sessions}")) {
            Err(Error::Profile(mistakes)) => assert_eq!(mistakes.to_string(), expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_mistake_at_once_with_its_line() {
        check_refused(
            "[session.night]\ndays = ['mo']\nfrom = '22:30'\nto = '25:00'\nlead = '15'\nzon = 'UTC'\n[session.night.knobs]\n\
             'mem.swap' = { swappiness = 900 }\n'mem.thp' = { enabled = 'never' }\n'iso.skew' = { enabled = false }\n\
             'mem.swp' = { swappiness = 1 }\n",
            "p:7: zone is missing\n\
             p:8: session.night.days: \"mo\" is no day; days are mon, tue, wed, thu, fri, sat, sun\n\
             p:10: session.night.to: \"25:00\" is no time of day; write it as \"08:00\"\n\
             p:11: session.night.lead: \"15\": a duration needs a unit, as in 300ns, 2.5us, 10ms, 5s\n\
             p:12: unknown key \"session.night.zon\"; did you mean \"zone\"?\n\
             p:14: session.night.knobs.mem.swap.swappiness = 900 is outside 0 to 200\n\
             p:15: session.night: mem.thp enabled has no value to go back to; say in [knobs] what it is otherwise\n\
             p:16: session.night: iso.skew does not take hold at run time; no session can set it\n\
             p:17: unknown key \"session.night.knobs.mem.swp\"; did you mean \"mem.swap\"?",
        );
        check_refused(
            "[session.'A b']\ndays = ['mon']\nfrom = '22:00'\nto = '22:10'\nzone = 'UTC'\n",
            "p:7: session.A b: \"A b\": a name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit\n\
             p:7: session.A b: its hours are not longer than its lead of 900 s\n\
             p:7: session.A b: it overrides nothing; say in [session.A b.knobs] what it is for",
        );
    }

    #[test]
    fn sessions_that_overlap_may_not_set_the_same() {
        let other = |from: &str, to: &str, zone: &str, knobs: &str| {
            format!(
                "{NIGHT}[session.other]\ndays = ['mon', 'fri', 'sat']\nfrom = '{from}'\nto = '{to}'\nzone = '{zone}'\n\
                 [session.other.knobs]\n{knobs}\n"
            )
        };
        let same = "'mem.swap' = { swappiness = 30 }";
        let problem = |at: &str| {
            format!("p:14: sessions night and other both set mem.swap swappiness and overlap, as on {at}")
        };
        check_refused(
            &other("23:00", "02:00", "Europe/Berlin", same),
            &problem("2026-01-02 23:00 Europe/Berlin"),
        );
        // 01:16 in New York is 07:16 in Berlin, when the base is back, and 06:16 while only New York has summer time.
        check_refused(
            &other("01:16", "01:40", "America/New_York", same),
            &problem("2026-03-13 01:16 America/New_York"),
        );
        profile(&other("01:16", "01:40", "America/New_York", "'iso.hung' = { timeout_secs = 0 }"));
        // The lead is no part of a session: the next may begin where it gives way.
        profile(&other("07:15", "08:00", "Europe/Berlin", same));
        check_refused(
            &other("07:14", "08:00", "Europe/Berlin", same),
            &problem("2026-01-02 07:14 Europe/Berlin"),
        );
    }
}
