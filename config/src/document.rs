//! One TOML file as an owned tree in which every key and value knows its line.

use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use units::limits::CONFIG_BYTES_MAX;

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
        let too_large = std::fs::metadata(path).is_ok_and(|file| file.len() > CONFIG_BYTES_MAX as u64);
        if too_large {
            return Err(failed(format!(
                "larger than {CONFIG_BYTES_MAX} bytes; that is no configuration file"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|cause| failed(format!("cannot read: {cause}")))?;
        Self::parse(&name, &text)
    }

    /// Parses `text`; `name` stands for the file in every message.
    ///
    /// # Errors
    /// The mistakes of the TOML itself (the parser recovers, so that there may be several), each with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistakes> {
        let lines = Lines { file: name.into(), text };
        let (table, errors) = DeTable::parse_recoverable(text);
        let mistakes = Mistakes::default();
        for error in errors {
            let place = lines.place(error.span().map_or(0, |span| span.start));
            mistakes.add(&place, error.message().replace('\n', ", "));
        }
        let root = lines.table(&table, &mistakes);
        mistakes.into_result(Self { root })
    }
}

/// Turns byte offsets into lines.
struct Lines<'t> {
    file: Rc<str>,
    text: &'t str,
}

impl Lines<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        Place { file: self.file.clone(), line: 1 + before.iter().filter(|byte| **byte == b'\n').count() }
    }

    fn table(&self, table: &Spanned<DeTable<'_>>, mistakes: &Mistakes) -> Node {
        let mut entries: Vec<(usize, String, Node)> = Vec::new();
        for (key, value) in table.get_ref() {
            let mut node = self.node(value, mistakes);
            if matches!(node.value, Value::Table(_)) {
                node.place = self.place(key.span().start);
            }
            entries.push((key.span().start, key.get_ref().to_string(), node));
        }
        entries.sort_by_key(|(start, _, _)| *start);
        let entries = entries.into_iter().map(|(_, key, node)| (key, node)).collect();
        Node { place: self.place(table.span().start), value: Value::Table(entries) }
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
            DeValue::Table(inner) => self.table(&Spanned::new(value.span(), inner.clone()), mistakes).value,
        };
        Node { place, value }
    }

    fn refuse(&self, mistakes: &Mistakes, place: &Place, problem: String) -> Value {
        mistakes.add(place, problem);
        Value::Boolean(false) // never read: a document with mistakes is not returned
    }
}
