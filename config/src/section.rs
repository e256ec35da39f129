//! Reading the keys of one table, through every layer that has it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use units::nearest;

use crate::{Document, Mistakes, Node, Place, Value};

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its source.
    pub place: Place,
}

/// One table as seen through all layers; keys are asked for one by one, and [`Section::finish`] refuses the rest.
#[derive(Debug)]
pub struct Section<'d> {
    /// Earlier layers first; a later one wins.
    tables: Vec<(&'d Place, &'d [(String, Node)])>,
    asked: RefCell<Vec<String>>,
    path: String,
    mistakes: Mistakes,
}

impl<'d> Section<'d> {
    /// The top level of `layers`, earlier ones first.
    #[must_use]
    pub fn top(layers: &'d [Document], mistakes: &Mistakes) -> Self {
        let nodes = layers.iter().map(|document| &document.root);
        Self::over(nodes, String::new(), mistakes)
    }

    fn over(nodes: impl Iterator<Item = &'d Node>, path: String, mistakes: &Mistakes) -> Self {
        let mut tables = Vec::new();
        for node in nodes {
            match &node.value {
                Value::Table(entries) => tables.push((&node.place, entries.as_slice())),
                other => mistakes.add(&node.place, format!("{path} must be a table, not {}", other.kind())),
            }
        }
        Self { tables, asked: RefCell::default(), path, mistakes: mistakes.clone() }
    }

    /// Where the section begins: its last layer's first line; `None` when no layer has it.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.tables.last().map(|(place, _)| *place)
    }

    /// The dotted name of `key` in messages.
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn nodes(&self, key: &str) -> impl Iterator<Item = &'d Node> {
        self.asked.borrow_mut().push(key.to_owned());
        let key = key.to_owned();
        let tables = self.tables.clone();
        tables.into_iter().filter_map(move |(_, entries)| {
            entries.iter().find(|(name, _)| *name == key).map(|(_, node)| node)
        })
    }

    /// The raw value of `key` in the last layer that has it; `None` when none has.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'d Node> {
        self.nodes(key).last()
    }

    /// The keys nobody asked for yet, in the file's order, each once: for tables whose keys are names.
    #[must_use]
    pub fn rest(&self) -> Vec<(&'d str, &'d Place)> {
        let asked = self.asked.borrow();
        let mut known: HashSet<&str> = asked.iter().map(String::as_str).collect();
        let mut keys = Vec::new();
        for (name, node) in self.tables.iter().flat_map(|(_, entries)| entries.iter()) {
            if known.insert(name) {
                keys.push((name.as_str(), &node.place));
            }
        }
        keys
    }

    /// Notes a mistake at `place`.
    pub fn mistake(&self, place: &Place, problem: impl Into<String>) {
        self.mistakes.add(place, problem);
    }

    fn wrong_kind(&self, key: &str, node: &Node, wanted: &str) {
        self.mistakes
            .add(&node.place, format!("{} must be {wanted}, not {}", self.name(key), node.value.kind()));
    }

    /// A string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<Located<String>> {
        let node = self.value(key)?;
        let Value::String(text) = &node.value else {
            self.wrong_kind(key, node, "a string");
            return None;
        };
        Some(Located { value: text.clone(), place: node.place.clone() })
    }

    /// A string that reads as a `T`: a duration, a CPU list, a name.
    #[must_use]
    pub fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Option<Located<T>> {
        let Located { value, place } = self.string(key)?;
        match value.parse() {
            Ok(value) => Some(Located { value, place }),
            Err(problem) => {
                self.mistakes.add(&place, format!("{}: {problem}", self.name(key)));
                None
            }
        }
    }

    /// An integer within `range`.
    #[must_use]
    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<Located<i64>> {
        let node = self.value(key)?;
        let Value::Integer(number) = node.value else {
            self.wrong_kind(key, node, "an integer");
            return None;
        };
        if !range.contains(&number) {
            let problem =
                format!("{} = {number} is outside {} to {}", self.name(key), range.start(), range.end());
            self.mistakes.add(&node.place, problem);
            return None;
        }
        Some(Located { value: number, place: node.place.clone() })
    }

    /// True or false.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<Located<bool>> {
        let node = self.value(key)?;
        let Value::Boolean(truth) = node.value else {
            self.wrong_kind(key, node, "true or false");
            return None;
        };
        Some(Located { value: truth, place: node.place.clone() })
    }

    /// An array of strings, each read as a `T`; `None` when one of them is wrong, so that what is left of the list is
    /// not judged as if it were meant.
    #[must_use]
    pub fn list<T: FromStr<Err: Display>>(&self, key: &str) -> Option<Located<Vec<Located<T>>>> {
        let node = self.value(key)?;
        let Value::Array(items) = &node.value else {
            self.wrong_kind(key, node, "an array of strings");
            return None;
        };
        let mut list = Vec::new();
        for item in items {
            match &item.value {
                Value::String(text) => match text.parse() {
                    Ok(value) => list.push(Located { value, place: item.place.clone() }),
                    Err(problem) => self.mistakes.add(&item.place, format!("{}: {problem}", self.name(key))),
                },
                _ => self.wrong_kind(key, item, "an array of strings"),
            }
        }
        (list.len() == items.len()).then(|| Located { value: list, place: node.place.clone() })
    }

    /// The table `key`, over all layers that have it; one that no layer has reads as empty.
    #[must_use]
    pub fn section(&self, key: &str) -> Section<'d> {
        Self::over(self.nodes(key), self.name(key), &self.mistakes)
    }

    /// Every `[[key]]`, of all layers, in order.
    #[must_use]
    pub fn sections(&self, key: &str) -> Vec<Section<'d>> {
        let mut sections = Vec::new();
        for node in self.nodes(key) {
            match &node.value {
                Value::Array(items) => {
                    sections.extend(
                        items
                            .iter()
                            .map(|item| Self::over(std::iter::once(item), self.name(key), &self.mistakes)),
                    );
                }
                _ => self.wrong_kind(key, node, "an array of tables, as in [[…]]"),
            }
        }
        sections
    }

    /// Refuses every key that was not asked for, naming the nearest one that was.
    pub fn finish(self) {
        for (key, place) in self.rest() {
            let asked = self.asked.borrow();
            let hint = match nearest(key, asked.iter().map(String::as_str)) {
                Some(known) => format!("did you mean {known:?}?"),
                None if asked.is_empty() => "none is known here".to_owned(),
                None => format!("known are {}", asked.join(", ")),
            };
            self.mistakes.add(place, format!("unknown key {:?}; {hint}", self.name(key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::Nanos;

    /// Reads a small configuration from `layers`; the outcome is its values, or every mistake.
    fn read(layers: &[(&str, &str)]) -> String {
        let mistakes = Mistakes::default();
        let documents: Result<Vec<Document>, Mistakes> =
            layers.iter().map(|(name, text)| Document::parse(name, text)).collect();
        let documents = match documents {
            Ok(documents) => documents,
            Err(mistakes) => return mistakes.to_string(),
        };
        let top = Section::top(&documents, &mistakes);
        let interval = top.parsed::<Nanos>("interval");
        let threshold = top.integer("threshold", 1..=9);
        let probe = top.section("probe");
        let on = probe.boolean("on");
        probe.finish();
        let names: Vec<_> = top
            .sections("budget")
            .into_iter()
            .map(|budget| {
                let name = budget.string("name");
                budget.finish();
                name.map_or_else(String::new, |name| format!("{}@{}", name.value, name.place))
            })
            .collect();
        top.finish();
        let shown = |place: Option<&Place>| place.map_or_else(|| "-".to_owned(), ToString::to_string);
        let values = format!(
            "interval {} threshold {} on {} budgets {}",
            shown(interval.as_ref().map(|v| &v.place)),
            shown(threshold.as_ref().map(|v| &v.place)),
            shown(on.as_ref().map(|v| &v.place)),
            names.join(" ")
        );
        mistakes.into_result(values).unwrap_or_else(|mistakes| mistakes.to_string())
    }

    #[track_caller]
    fn check(layers: &[(&str, &str)], expected: &str) {
        assert_eq!(read(layers), expected);
    }

    #[test]
    fn layers_override_single_values_and_know_their_source() {
        check(&[], "interval - threshold - on - budgets ");
        check(&[("a", "interval = '1ms'\nthreshold = 2\n")], "interval a:1 threshold a:2 on - budgets ");
        check(
            &[("a", "interval = '1ms'\n[probe]\non = true\n"), ("b", "\ninterval = '2ms'\n")],
            "interval b:2 threshold - on a:3 budgets ",
        );
        check(
            &[("a", "[[budget]]\nname = 'x'\n"), ("b", "[[budget]]\nname = 'y'\n")],
            "interval - threshold - on - budgets x@a:2 y@b:2",
        );
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        check(
            &[("a", "intervall = '1ms'\nthreshold = 10\n\n[probe]\non = 'yes'\n[zzz]\n")],
            "a:1: unknown key \"intervall\"; did you mean \"interval\"?\n\
             a:2: threshold = 10 is outside 1 to 9\n\
             a:5: probe.on must be true or false, not a string\n\
             a:6: unknown key \"zzz\"; known are interval, threshold, probe, budget",
        );
        check(
            &[("a", "interval = '1 parsec'\nprobe = 3\n")],
            "a:1: interval: \"1 parsec\": \"parsec\" is no unit of time; use ns, us, ms, s, min or h, as in 2.5us\n\
             a:2: probe must be a table, not an integer",
        );
    }

    #[test]
    fn broken_toml_names_its_lines() {
        let text = read(&[("a", "interval = \n[probe\n")]);
        assert!(text.lines().count() >= 2, "{text}");
        assert!(text.lines().all(|line| line.starts_with("a:")), "{text}");
    }
}
