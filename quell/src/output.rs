//! stdout: data, in the reader's form.

use std::io::{self, IsTerminal, Write};

use report::text::Style;

use crate::failure::Failure;

/// Columns assumed when nothing says how many there are.
const WIDTH: usize = 80;

/// How text is written to stdout: colour only for a terminal that wants it (NO_COLOR, TERM=dumb), as wide as COLUMNS
/// says, else as the terminal is.
pub fn style() -> Style {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = said.or_else(measured).unwrap_or(WIDTH);
    Style { colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb, width }
}

/// Writes `text` and one line end.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.trim_end_matches('\n').as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes one line to stderr, for a person who watches.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}"); // nobody watches, then
}

/// Lines assumed when nothing says how many there are.
const HEIGHT: u16 = 24;

/// The terminal's lines but the last, in which the cursor waits: a taller block scrolls, and what has scrolled away
/// cannot be written over.
fn rows_max() -> usize {
    let height = terminal_size::terminal_size().map_or(HEIGHT, |(_, height)| height.0);
    usize::from(height.saturating_sub(1))
}

/// A block of lines that is written over again and again.
#[derive(Debug, Default)]
pub struct Live {
    lines: usize,
}

impl Live {
    /// Replaces what was shown by `lines`, as many as fit.
    pub fn show(&mut self, lines: &[String]) {
        let lines = &lines[..lines.len().min(rows_max())];
        let mut text = self.rewind();
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        self.lines = lines.len();
        self.write(&text);
    }

    /// Removes what was shown, so that the result stands alone.
    pub fn clear(&mut self) {
        let text = self.rewind();
        self.lines = 0;
        self.write(&text);
    }

    /// Back to the first line of the block, clearing downwards.
    fn rewind(&self) -> String {
        if self.lines == 0 { String::new() } else { format!("\x1b[{}A\x1b[J", self.lines) }
    }

    fn write(&self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush()); // a terminal that went away ends us by SIGHUP
    }
}
