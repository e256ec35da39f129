//! What is wrong with a person's file, all of it at once.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Where a value stands: a file and a line, or a command-line flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named, `--flag` for a flag, or `default`.
    pub file: Rc<str>,
    /// Counted from one; zero where there are no lines.
    pub line: usize,
}

impl Place {
    /// A place without lines: a flag, a built-in default.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { file: name.into(), line: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Mistakes shown of one file; a file with more is not the file that was meant.
const SHOWN_MAX: usize = 50;

/// All mistakes found, shared by the sections that read one set of files.
#[derive(Debug, Clone, Default)]
pub struct Mistakes {
    list: Rc<RefCell<Vec<Mistake>>>,
}

impl Mistakes {
    /// Adds one.
    pub fn add(&self, place: &Place, problem: impl Into<String>) {
        self.list.borrow_mut().push(Mistake { place: place.clone(), problem: problem.into() });
    }

    /// All so far, by file and line.
    #[must_use]
    pub fn list(&self) -> Vec<Mistake> {
        let mut list = self.list.borrow().clone();
        list.sort_by(|a, b| (&a.place.file, a.place.line).cmp(&(&b.place.file, b.place.line)));
        list
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// `value` when nothing was wrong.
    ///
    /// # Errors
    /// The mistakes themselves, which print one a line.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list();
        for (index, mistake) in list.iter().take(SHOWN_MAX).enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{mistake}")?;
        }
        if list.len() > SHOWN_MAX {
            write!(f, "\n… and {} more", list.len() - SHOWN_MAX)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
