//! When the host trades, and what may be done to it meanwhile.
//!
//! Root's policy declares windows of local time; inside one only changes of the blast classes it allows are made, whoever
//! asks: an apply is refused, a repair waits for the end. A roll-back is never held up: it is the way back when something
//! goes wrong, and that is in trading hours. Pure: the moment is passed in, as seconds since 1970.
//!
//! Local time is that of the system's time zone files. Where a clock change makes an edge ambiguous, or skips it, the
//! window is as long as it can be read to be.

use std::path::Path;
use std::str::FromStr;

use config::{Document, Mistakes, Section};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{Disambiguation, TimeZone};
use jiff::{Timestamp, ToSpan};
use units::Name;

use crate::plan::{Change, Plan};
use crate::registry::{Blast, When};

/// The windows in which the host trades.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trading {
    windows: Vec<Window>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// What it is called.
    pub name: Name,
    /// When it is open.
    pub hours: Hours,
    /// What may be changed while it is open. A set and not a ceiling: classes are of different kinds.
    pub allow: Vec<Blast>,
}

/// Hours of certain days in one time zone; `to` at or before `from` is of the next day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// From when until when, in seconds since 1970; the end is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first second.
    pub from: i64,
    /// The first second after it.
    pub to: i64,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A day of the week, as it is written.
struct Day(Weekday);

impl FromStr for Day {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = DAYS.iter().find(|(name, _)| *name == word).map(|(_, day)| Self(*day));
        found.ok_or_else(|| format!("{word:?} is no day; days are mon, tue, wed, thu, fri, sat, sun"))
    }
}

/// A time of day, as it is written: `08:00`.
struct Clock(Time);

impl FromStr for Clock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time of day; write it as \"08:00\"");
        let is_whole = text.len() == 5 && text.as_bytes()[2] == b':';
        Time::strptime("%H:%M", text).ok().filter(|_| is_whole).map(Self).ok_or_else(wrong)
    }
}

/// A time zone by its name in the system's files.
struct Zone(TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let wrong = |_| format!("this system has no time zone {name:?}; write it as \"Europe/Berlin\"");
        TimeZone::get(name).map(Self).map_err(wrong)
    }
}

impl Hours {
    /// Reads `days`, `from`, `to` and `zone`; `None` after saying what is wrong with them.
    pub(crate) fn parse(section: &Section<'_>) -> Option<Self> {
        let days = section.list::<Day>("days");
        let (from, to) = (section.parsed::<Clock>("from"), section.parsed::<Clock>("to"));
        let zone = section.parsed::<Zone>("zone");
        for key in ["days", "from", "to", "zone"] {
            if section.value(key).is_none()
                && let Some(place) = section.place()
            {
                section.mistake(place, format!("{key} is missing"));
            }
        }
        let days: Vec<Weekday> = days?.value.into_iter().map(|day| day.value.0).collect();
        Some(Self { days, from: from?.value.0, to: to?.value.0, zone: zone?.value.0 })
    }

    /// The hours that begin on `date`; `None` when it is none of the days.
    fn on(&self, date: Date) -> Option<Span> {
        let until = if self.to > self.from { date } else { date.tomorrow().ok()? };
        let instant = |date: Date, time: Time, which| {
            let zoned = self.zone.to_ambiguous_zoned(date.to_datetime(time)).disambiguate(which);
            zoned.map(|zoned| zoned.timestamp().as_second()).ok()
        };
        self.days.contains(&date.weekday()).then_some(())?;
        Some(Span {
            from: instant(date, self.from, Disambiguation::Earlier)?,
            to: instant(until, self.to, Disambiguation::Later)?,
        })
    }

    /// The hours around `at`, from those before to those that begin within the next eight days, in order.
    pub(crate) fn around(&self, at: i64) -> Vec<Span> {
        let Ok(now) = Timestamp::from_second(at) else { return Vec::new() };
        let today = now.to_zoned(self.zone.clone()).date();
        (-2i64..=8).filter_map(|days| self.on(today.checked_add(days.days()).ok()?)).collect()
    }

    /// The hours that begin within one year, in order: long enough for the clock changes of any two zones to have met.
    pub(crate) fn of_a_year(&self) -> Vec<Span> {
        let first = jiff::civil::date(2026, 1, 1);
        (0i64..=366).filter_map(|days| self.on(first.checked_add(days.days()).ok()?)).collect()
    }

    /// When they begin and end, in seconds of a day.
    pub(crate) fn edges_s(&self) -> (i64, i64) {
        let second = |time: Time| i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60;
        (second(self.from), second(self.to))
    }

    /// The keys that read as these.
    pub(crate) fn to_toml(&self) -> String {
        let word =
            |day: &Weekday| DAYS.iter().find(|(_, known)| known == day).map(|(word, _)| format!("{word:?}"));
        let days: Vec<String> = self.days.iter().filter_map(word).collect();
        let time = |time: Time| time.strftime("%H:%M").to_string();
        let (from, to) = (time(self.from), time(self.to));
        let zone = self.zone.iana_name().unwrap_or("UTC");
        format!("days = [{}]\nfrom = \"{from}\"\nto = \"{to}\"\nzone = {zone:?}", days.join(", "))
    }

    /// The hours that `at` is in.
    #[must_use]
    pub fn at(&self, at: i64) -> Option<Span> {
        self.around(at).into_iter().find(|span| span.from <= at && at < span.to)
    }

    /// A moment as the clocks of the place show it.
    #[must_use]
    pub fn local(&self, at: i64) -> String {
        let name = self.zone.iana_name().unwrap_or("UTC");
        Timestamp::from_second(at).map_or_else(
            |_| at.to_string(),
            |at| format!("{} {name}", at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M")),
        )
    }
}

impl Trading {
    /// No window at all.
    pub const NEVER: Self = Self { windows: Vec::new() };

    /// The windows in the policy at `path`; none where there is no such file. What else stands there is not looked at.
    ///
    /// # Errors
    /// Every mistake, with its line.
    pub fn read(path: &Path) -> Result<Self, Mistakes> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let document = Document::read(path)?;
        let mistakes = Mistakes::default();
        let trading = Self::parse(&Section::top(std::slice::from_ref(&document), &mistakes));
        mistakes.into_result(trading)
    }

    /// The `[[trading]]` of a policy.
    #[must_use]
    pub fn parse(top: &Section<'_>) -> Self {
        Self { windows: top.sections("trading").into_iter().filter_map(window).collect() }
    }

    /// Every window.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The windows that are open at `at`, with the hours they are open for.
    pub fn open(&self, at: i64) -> impl Iterator<Item = (&Window, Span)> {
        self.windows.iter().filter_map(move |window| Some((window, window.hours.at(at)?)))
    }

    /// Why a change of this class has to wait; `None` when it may be made at `at`.
    #[must_use]
    pub fn forbids(&self, blast: Blast, at: i64) -> Option<String> {
        let (window, span) = self.open(at).find(|(window, _)| !window.allow.contains(&blast))?;
        Some(format!(
            "its blast class is {blast}; trading window {} is open until {} and allows {}",
            window.name,
            window.hours.local(span.to),
            window.allowed()
        ))
    }
}

/// One `[[trading]]`.
fn window(section: Section<'_>) -> Option<Window> {
    let name = section.parsed::<Name>("name");
    if section.value("name").is_none()
        && let Some(place) = section.place()
    {
        section.mistake(place, "name is missing");
    }
    let hours = Hours::parse(&section);
    let allow = section.list::<Blast>("allow");
    let allow = allow.map_or_else(
        || vec![Blast::Harmless],
        |list| list.value.into_iter().map(|blast| blast.value).collect(),
    );
    section.finish();
    Some(Window { name: name?.value, hours: hours?, allow })
}

impl Window {
    pub(crate) fn allowed(&self) -> String {
        let words: Vec<String> = self.allow.iter().map(ToString::to_string).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    }
}

impl Plan {
    /// Why it may not be carried out at `at`: one reason a window that is open and forbids something of it. What takes
    /// hold with the next boot disturbs nobody now.
    #[must_use]
    pub fn kept_from(&self, trading: &Trading, at: i64) -> Vec<String> {
        let forbidden = |window: &Window| -> Vec<String> {
            let changes = self.changes.iter().filter(|change| forbids(window, change));
            let mut told: Vec<String> =
                changes.map(|change| format!("{} ({})", change.knob, change.blast)).collect();
            told.dedup(); // one knob's changes stand together
            told
        };
        let reason = |(window, span): (&Window, Span)| {
            let told = forbidden(window);
            (!told.is_empty()).then(|| {
                format!(
                    "trading window {} is open until {} and allows {}, not {}; wait for its end, or say --in-session",
                    window.name,
                    window.hours.local(span.to),
                    window.allowed(),
                    told.join(", ")
                )
            })
        };
        trading.open(at).filter_map(reason).collect()
    }

    /// The plan without what may not be done at `at`, which is only skipped: for whoever goes on with the rest.
    #[must_use]
    pub fn in_hours(mut self, trading: &Trading, at: i64) -> Self {
        let waits = |change: &Change| match change.when {
            When::Runtime => trading.forbids(change.blast, at),
            When::Boot | When::Firmware | When::Elsewhere => None,
        };
        let (kept, left) = self.changes.into_iter().partition(|change| waits(change).is_none());
        let left: Vec<Change> = left;
        self.changes = kept;
        self.skipped.extend(left.iter().map(|change| change.skipped(waits(change).unwrap_or_default())));
        self
    }
}

fn forbids(window: &Window, change: &Change) -> bool {
    change.when == When::Runtime && !window.allow.contains(&change.blast)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Hours {
        let document = Document::parse("p", text).unwrap();
        let mistakes = Mistakes::default();
        let hours = Hours::parse(&Section::top(std::slice::from_ref(&document), &mistakes));
        hours.unwrap_or_else(|| panic!("{mistakes}"))
    }

    fn second(at: &str) -> i64 {
        at.parse::<Timestamp>().unwrap().as_second()
    }

    /// The hours that `at` is in, as instants of UTC.
    #[track_caller]
    fn check(hours: &Hours, at: &str, expected: &str) {
        let told = |second: i64| Timestamp::from_second(second).unwrap().strftime("%dT%H:%M").to_string();
        let span = hours.at(second(at)).map(|span| format!("{} {}", told(span.from), told(span.to)));
        assert_eq!(span.unwrap_or_else(|| "closed".to_owned()), expected, "{at}");
    }

    #[test]
    fn a_week_with_a_change_of_the_clocks() {
        let berlin = hours(
            "days = ['mon', 'tue', 'wed', 'thu', 'fri']\nfrom = '08:00'\nto = '22:00'\nzone = 'Europe/Berlin'",
        );
        check(&berlin, "2026-03-27T06:59:59Z", "closed");
        check(&berlin, "2026-03-27T07:00:00Z", "27T07:00 27T21:00"); // Friday, winter: UTC + 1
        check(&berlin, "2026-03-27T20:59:59Z", "27T07:00 27T21:00");
        check(&berlin, "2026-03-27T21:00:00Z", "closed"); // the end is no part
        check(&berlin, "2026-03-28T12:00:00Z", "closed"); // Saturday
        check(&berlin, "2026-03-29T12:00:00Z", "closed"); // Sunday, the clocks go forward
        check(&berlin, "2026-03-30T05:59:59Z", "closed");
        check(&berlin, "2026-03-30T06:00:00Z", "30T06:00 30T20:00"); // Monday, summer: UTC + 2
        check(&berlin, "2026-10-26T07:00:00Z", "26T07:00 26T21:00"); // winter again
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_begin() {
        let chicago = hours("days = ['sun', 'mon']\nfrom = '17:00'\nto = '16:00'\nzone = 'America/Chicago'");
        check(&chicago, "2026-06-07T21:59:59Z", "closed"); // Sunday, 16:59
        check(&chicago, "2026-06-07T22:00:00Z", "07T22:00 08T21:00");
        check(&chicago, "2026-06-08T20:59:59Z", "07T22:00 08T21:00"); // Monday, of Sunday's
        check(&chicago, "2026-06-08T21:30:00Z", "closed");
        check(&chicago, "2026-06-09T12:00:00Z", "08T22:00 09T21:00"); // Tuesday, of Monday's
        check(&chicago, "2026-06-09T22:00:00Z", "closed"); // Tuesday has none of its own
    }

    #[test]
    fn where_the_clocks_change_the_hours_are_as_long_as_they_can_be_read() {
        let edges = |from: &str, to: &str| {
            hours(&format!("days = ['sun']\nfrom = '{from}'\nto = '{to}'\nzone = 'Europe/Berlin'"))
        };
        // 02:30 comes twice on 2026-10-25 (00:30Z and 01:30Z), and not at all on 2026-03-29.
        check(&edges("02:30", "04:00"), "2026-10-25T00:30:00Z", "25T00:30 25T03:00");
        check(&edges("01:00", "02:30"), "2026-10-25T01:00:00Z", "24T23:00 25T01:30");
        check(&edges("02:30", "04:00"), "2026-03-29T01:00:00Z", "29T00:30 29T02:00");
        check(&edges("01:00", "02:30"), "2026-03-29T01:15:00Z", "29T00:00 29T01:30");
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let document = Document::parse("p", text).unwrap();
        let mistakes = Mistakes::default();
        let _ = Trading::parse(&Section::top(std::slice::from_ref(&document), &mistakes));
        assert_eq!(mistakes.to_string(), expected);
    }

    #[test]
    fn every_mistake_at_once() {
        check_refused(
            "[[trading]]\nname = 'x y'\ndays = ['monday']\nfrom = '8'\nto = '25:00'\nzone = 'Mars/Olympus'\nallow = ['harmles']\n",
            "p:2: trading.name: \"x y\": a name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit\n\
             p:3: trading.days: \"monday\" is no day; days are mon, tue, wed, thu, fri, sat, sun\n\
             p:4: trading.from: \"8\" is no time of day; write it as \"08:00\"\n\
             p:5: trading.to: \"25:00\" is no time of day; write it as \"08:00\"\n\
             p:6: trading.zone: this system has no time zone \"Mars/Olympus\"; write it as \"Europe/Berlin\"\n\
             p:7: trading.allow: \"harmles\" is no blast class; did you mean \"harmless\"?",
        );
        check_refused(
            "[[trading]]\nname = 'x'\n",
            "p:1: days is missing\np:1: from is missing\np:1: to is missing\np:1: zone is missing",
        );
    }

    #[test]
    fn a_window_allows_a_set_of_classes() {
        let text = "[[trading]]\nname = 'xetra'\ndays = ['fri']\nfrom = '08:00'\nto = '22:00'\nzone = 'Europe/Berlin'\n\
                    allow = ['harmless', 'memory']\n";
        let document = Document::parse("p", text).unwrap();
        let mistakes = Mistakes::default();
        let trading = Trading::parse(&Section::top(std::slice::from_ref(&document), &mistakes));
        let (inside, outside) = (second("2026-03-27T12:00:00Z"), second("2026-03-28T12:00:00Z"));
        assert_eq!(trading.forbids(Blast::Harmless, inside), None);
        assert_eq!(trading.forbids(Blast::Memory, inside), None);
        assert_eq!(
            trading.forbids(Blast::Ipi, inside).unwrap(),
            "its blast class is ipi; trading window xetra is open until 2026-03-27 22:00 Europe/Berlin and allows harmless, memory"
        );
        assert!(Blast::ALL.iter().all(|blast| trading.forbids(*blast, outside).is_none()));
    }
}
