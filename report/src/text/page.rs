//! Lines of a text: wrapped, coloured and cleaned in one place.

use std::borrow::Cow;

use super::Style;
use super::table::Table;

/// The narrowest text that is still laid out; a terminal that is narrower wraps it itself.
const WIDTH_MIN: usize = 40;

/// What a word means to the reader; the colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
    Faint,
    Heading,
}

impl Tone {
    /// The tone of a status, state or result word; one that is not known gets none.
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "ok" | "fit" | "applied" | "restored" | "unchanged" => Some(Self::Good),
            "pending" | "resolving" | "needs-reboot" | "foreign" | "degraded" | "partly" | "undone"
            | "unknown" | "interrupted" => Some(Self::Warning),
            "drifted" | "blocked" | "failed" | "breached" | "quarantined" => Some(Self::Bad),
            "not-applicable" => Some(Self::Faint),
            _ => None,
        }
    }

    /// Select Graphic Rendition codes (ECMA-48, 8.3.117) that every terminal has.
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Faint => "2",
            Self::Heading => "1",
        }
    }
}

/// `text` without anything that a terminal would obey: control characters, and those that reorder what is
/// read.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().flat_map(|c| {
        let (escaped, plain) = if obeyed(c) { (Some(c.escape_unicode()), None) } else { (None, Some(c)) };
        escaped.into_iter().flatten().chain(plain)
    });
    Cow::Owned(shown.collect())
}

/// Words of `text` in lines of at most `width` characters; a longer word is cut.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let pieces = text.split_whitespace().flat_map(|word| pieces(word, width));
    for piece in pieces {
        let line = lines.last_mut().expect("never empty");
        let used = line.chars().count();
        if used == 0 {
            line.push_str(&piece);
        } else if used + 1 + piece.chars().count() <= width {
            line.push(' ');
            line.push_str(&piece);
        } else {
            lines.push(piece);
        }
    }
    lines
}

fn pieces(word: &str, width: usize) -> impl Iterator<Item = String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(width.max(1)).map(|piece| piece.iter().collect()).collect::<Vec<String>>().into_iter()
}

/// A text being written.
pub(super) struct Page {
    style: Style,
    /// Whether a table that does not fit is cut, for a picture that is drawn in place; else the terminal
    /// wraps it and nothing is lost.
    cut: bool,
    lines: Vec<String>,
}

impl Page {
    pub(super) fn new(style: &Style) -> Self {
        let style = Style { width: style.width.max(WIDTH_MIN), ..*style };
        Self { style, cut: false, lines: Vec::new() }
    }

    /// A text of which no line may be wider than the style's width.
    pub(super) fn cut(style: &Style) -> Self {
        Self { cut: true, ..Self::new(style) }
    }

    /// The answer: a word in its colour, and the rest of the sentence.
    pub(super) fn headline(&mut self, word: &str, tone: Option<Tone>, rest: &str) {
        let word = clean(word).to_uppercase();
        for (number, line) in
            wrap(&format!("{word}: {}", clean(rest)), self.style.width - 2).iter().enumerate()
        {
            self.lines.push(match (number, line.strip_prefix(&word)) {
                (0, Some(rest)) => self.paint(&word, tone) + rest,
                (0, None) => line.clone(),
                _ => format!("  {line}"),
            });
        }
    }

    /// The title of a section, after an empty line.
    pub(super) fn heading(&mut self, title: &str) {
        self.lines.push(String::new());
        let title = self.paint(&clean(title), Some(Tone::Heading));
        self.lines.push(title);
    }

    /// A paragraph; its further lines are set in.
    pub(super) fn text(&mut self, indent: usize, text: &str) {
        self.toned(indent, text, None);
    }

    /// A paragraph in one colour.
    pub(super) fn toned(&mut self, indent: usize, text: &str, tone: Option<Tone>) {
        let lines = wrap(&clean(text), self.style.width - indent - 2);
        for (number, line) in lines.iter().enumerate() {
            let margin = " ".repeat(if number == 0 { indent } else { indent + 2 });
            let line = self.paint(line, tone);
            self.lines.push(format!("{margin}{line}"));
        }
    }

    /// One line of columns, each padded to its width; a longer text pushes the rest to the right.
    pub(super) fn columns(&mut self, indent: usize, columns: &[(&str, usize)]) {
        let mut line = " ".repeat(indent);
        for (text, width) in columns {
            let text = clean(text);
            let padding = width.saturating_sub(text.chars().count());
            line += &self.paint(&text, Tone::of(&text));
            line += &" ".repeat(padding + 2);
        }
        self.lines.push(line.trim_end().to_owned());
    }

    /// A table, set in by two columns.
    pub(super) fn table(&mut self, table: &Table) {
        for line in table.lines(self.style.width - 2) {
            let mut left = if self.cut { self.style.width - 2 } else { usize::MAX };
            let mut painted = String::new();
            for (text, tone) in line {
                let text: String = text.chars().take(left).collect();
                left -= text.chars().count();
                painted += &self.paint(&text, tone);
            }
            self.lines.push(format!("  {painted}").trim_end().to_owned());
        }
    }

    fn paint(&self, text: &str, tone: Option<Tone>) -> String {
        match tone {
            Some(tone) if self.style.colour && !text.trim().is_empty() => {
                format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code())
            }
            _ => text.to_owned(),
        }
    }

    /// The lines, without line ends.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// The whole text, its last line ended.
    pub(super) fn finish(self) -> String {
        self.lines.into_iter().map(|line| line + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(clean(text), expected);
    }

    #[test]
    fn nothing_in_a_name_reaches_the_terminal() {
        check("eth0-rx-0 µs", "eth0-rx-0 µs");
        check("a\u{1b}[2Jb", "a\\u{1b}[2Jb");
        check("a\nb\r\tc\0", "a\\u{a}b\\u{d}\\u{9}c\\u{0}");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"); // the eight-bit introducer
        check("\u{202e}cod.exe", "\\u{202e}cod.exe"); // would be read backwards
    }

    #[test]
    fn colour_is_ours_alone() {
        let style = Style { colour: true, width: 80 };
        let mut page = Page::new(&style);
        page.headline("fit", Tone::of("fit"), "all \u{1b}[31mwell");
        page.headline("odd", Tone::of("odd"), "no colour for a word nobody knows");
        assert_eq!(
            page.finish(),
            "\u{1b}[32mFIT\u{1b}[0m: all \\u{1b}[31mwell\nODD: no colour for a word nobody knows\n"
        );
    }

    proptest! {
        #[test]
        fn wrapped_text_fits_and_loses_no_letter(text in "\\PC{0,200}", width in 1usize..50) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width));
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
