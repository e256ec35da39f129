//! One TOML file as an owned tree in which every key and value knows its line.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use units::limits::{CONFIG_BYTES_MAX, NAME_LEN_MAX};

use crate::{Mistakes, Place};

/// A value of TOML, without its dates (no configuration of ours has one).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `"text"`.
    String(String),
    /// `10`.
    Integer(i64),
    /// `0.5`.
    Float(f64),
    /// `true`.
    Boolean(bool),
    /// `[…]`, and every `[[table]]` of one name.
    Array(Vec<Node>),
    /// `{…}` or `[table]`, in the file's order.
    Table(Vec<(String, Node)>),
}

impl Value {
    /// What a person would call it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it (for a table: its first key) begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// One file.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) root: Node,
}

impl Document {
    /// Reads and parses the file at `path`.
    ///
    /// # Errors
    /// One mistake naming the file when it cannot be read or is larger than [`CONFIG_BYTES_MAX`], else as
    /// [`Document::parse`].
    pub fn read(path: &Path) -> Result<Self, Mistakes> {
        let name = path.display().to_string();
        let failed = |problem: String| {
            let mistakes = Mistakes::default();
            mistakes.add(&Place::named(&name), problem);
            mistakes
        };
        let bytes = read_bounded(path).map_err(|cause| failed(format!("cannot read: {cause}")))?;
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(failed(format!(
                "larger than {CONFIG_BYTES_MAX} bytes; that is no configuration file"
            )));
        }
        let text = String::from_utf8(bytes).map_err(|cause| {
            let line = 1 + cause.as_bytes()[..cause.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            failed(format!("line {line} is not UTF-8 text"))
        })?;
        Self::parse(&name, &text)
    }

    /// Parses `text`; `name` stands for the file in every message.
    ///
    /// # Errors
    /// The mistakes of the TOML itself (the parser recovers, so that there may be several), each with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistakes> {
        let lines = Lines::new(name, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        let mistakes = Mistakes::default();
        for error in errors {
            let span = error.span().unwrap_or_default();
            let message = error.message().replace('\n', ", ");
            mistakes.add(&lines.place(span.start), message + &at(text, span));
        }
        let root = lines.table(table.span(), table.get_ref(), &mistakes);
        mistakes.into_result(Self { root })
    }
}

/// All of the file at `path`, or as much of it as shows that it is too large: a device has no end.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(CONFIG_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text that a message of the parser is about, where that is a word: "duplicate key" alone leaves the reader to
/// count.
fn at(text: &str, span: Range<usize>) -> String {
    match text.get(span) {
        Some(word) if (1..=NAME_LEN_MAX).contains(&word.len()) && !word.contains(char::is_control) => {
            format!(": {word}")
        }
        _ => String::new(),
    }
}

/// Turns byte offsets into lines.
struct Lines {
    file: Rc<str>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Lines {
    fn new(name: &str, text: &str) -> Self {
        Self { file: name.into(), ends: text.match_indices('\n').map(|(end, _)| end).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        Place { file: self.file.clone(), line: 1 + self.ends.partition_point(|end| *end < offset) }
    }

    fn table(&self, span: Range<usize>, table: &DeTable<'_>, mistakes: &Mistakes) -> Node {
        let mut entries: Vec<(usize, String, Node)> = Vec::new();
        for (key, value) in table {
            let mut node = self.node(value, mistakes);
            if matches!(node.value, Value::Table(_)) {
                node.place = self.place(key.span().start);
            }
            entries.push((key.span().start, key.get_ref().to_string(), node));
        }
        entries.sort_by_key(|(start, _, _)| *start);
        let entries = entries.into_iter().map(|(_, key, node)| (key, node)).collect();
        Node { place: self.place(span.start), value: Value::Table(entries) }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>, mistakes: &Mistakes) -> Node {
        let place = self.place(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) => Value::Integer(number),
                Err(cause) => self.refuse(mistakes, &place, format!("{integer}: {cause}")),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(cause) => self.refuse(mistakes, &place, format!("{float}: {cause}")),
            },
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(_) => self.refuse(mistakes, &place, "a date has no meaning here".to_owned()),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.node(item, mistakes)).collect())
            }
            DeValue::Table(inner) => self.table(value.span(), inner, mistakes).value,
        };
        Node { place, value }
    }

    fn refuse(&self, mistakes: &Mistakes, place: &Place, problem: String) -> Value {
        mistakes.add(place, problem);
        Value::Boolean(false) // never read: a document with mistakes is not returned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Document::parse("a", text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_the_parser_refuses_is_named() {
        check("x = 1\n[t]\nstall = 1\nstall = 2\n", "a:4: duplicate key: stall");
        check("x = 2026-03-01\n", "a:1: a date has no meaning here");
        check(
            "x = 9223372036854775808\n",
            "a:1: 9223372036854775808: number too large to fit in target type",
        );
    }

    #[test]
    fn files_that_are_none_are_refused_at_their_bound() {
        #[track_caller]
        fn read(path: &str, expected: &str) {
            assert_eq!(Document::read(Path::new(path)).unwrap_err().to_string(), expected);
        }
        read("/dev/zero", "/dev/zero: larger than 1048576 bytes; that is no configuration file");
        read("/", "/: cannot read: Is a directory (os error 21)");
        read("/nowhere", "/nowhere: cannot read: No such file or directory (os error 2)");
    }

    #[test]
    fn a_file_full_of_keys_is_read_in_one_pass() {
        let text: String = (0..50_000).map(|key| format!("k{key} = 1\n")).collect();
        let document = Document::parse("a", &text).unwrap();
        let Value::Table(entries) = &document.root.value else { panic!("the top is a table") };
        assert_eq!(
            entries.last().map(|(key, node)| (key.as_str(), node.place.line)),
            Some(("k49999", 50_000))
        );
    }
}
