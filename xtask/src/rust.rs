//! Just enough of Rust's lexical rules to tell code from comments and literals.
//!
//! Not a parser: the checks look for words, and a word in a comment or a message is not one in the code.
//! Macro bodies are read like any other text.

/// A Rust file: as written, and as code alone.
#[derive(Debug)]
pub struct RustFile {
    /// From the root of the repository.
    pub path: String,
    /// As written.
    pub text: String,
    /// With comments and the contents of literals blanked; lines and columns are those of `text`.
    pub code: String,
}

impl RustFile {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code(text) }
    }

    /// The code that ships: without the tests at its foot, and nothing at all of a test, bench or example.
    pub fn shipped(&self) -> &str {
        if self.is_test() { "" } else { &self.code[..self.foot()] }
    }

    /// The text of the tests, with their literals: the foot of the file, or all of a test file.
    pub fn test_text(&self) -> &str {
        if self.is_test() { &self.text } else { &self.text[self.foot()..] }
    }

    /// The lines of [`RustFile::test_text`], each with its number and its code.
    pub fn test_lines(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        let foot = if self.is_test() { 0 } else { self.foot() };
        let first = self.text[..foot].lines().count() + 1;
        let lines = self.text[foot..].lines().zip(self.code[foot..].lines());
        lines.enumerate().map(move |(index, (text, code))| (first + index, text, code))
    }

    /// Whether the file is built for tests, benches or examples only.
    pub fn is_test(&self) -> bool {
        let beside = |part: &str| matches!(part, "tests" | "benches" | "examples");
        self.path.rsplit_once('/').is_some_and(|(folder, _)| folder.split('/').any(beside))
            || self.path.ends_with("/tests.rs")
    }

    /// The folder the file's crate lives in.
    pub fn krate(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// Where the tests at the foot begin. Tests come last (STYLE), so everything below is theirs. Blanking
    /// keeps every byte position, so one position serves `text` and `code`.
    fn foot(&self) -> usize {
        let opens = |rest: &str| {
            rest.trim_start().strip_prefix("mod ").is_some_and(|rest| {
                rest.split_once('\n').map_or(rest, |(line, _)| line).trim_end().ends_with('{')
            })
        };
        const GATE: &str = "#[cfg(test)]";
        let found = self.code.match_indices(GATE).find(|(at, _)| opens(&self.code[at + GATE.len()..]));
        found.map_or(self.code.len(), |(at, _)| at)
    }
}

/// The numbered lines of `text` (counted from 1) that hold `word`.
pub fn lines_with<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.lines().enumerate().filter(move |(_, line)| has_word(line, word)).map(|(index, _)| index + 1)
}

/// Whether `word` stands in `text` on its own, not as part of a longer name.
pub fn has_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (opens, closes) = (word.starts_with(is_name), word.ends_with(is_name));
    text.match_indices(word).any(|(at, _)| {
        let joined_before = opens && text[..at].ends_with(is_name);
        let joined_after = closes && text[at + word.len()..].starts_with(is_name);
        !joined_before && !joined_after
    })
}

/// `text` with comments and literals blanked byte for byte (line ends stay).
pub fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (length, blank) = next_piece(rest);
        let (piece, after) = rest.split_at(length);
        if blank {
            out.extend(piece.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(piece);
        }
        rest = after;
    }
    out
}

/// The length of what `rest` (not empty) starts with, and whether that is to be blanked.
fn next_piece(rest: &str) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), true);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), true);
    }
    if let Some(length) = raw_string(rest).or_else(|| string(rest)).or_else(|| character(rest)) {
        return (length, true);
    }
    let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (if name > 0 { name } else { rest.chars().next().map_or(1, char::len_utf8) }, false)
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_u32);
    loop {
        let inner = &rest[at..];
        let Some(mark) = inner.find("/*").into_iter().chain(inner.find("*/")).min() else {
            return rest.len();
        };
        depth = if inner[mark..].starts_with("/*") { depth + 1 } else { depth - 1 };
        at += mark + 2;
        if depth == 0 {
            return at;
        }
    }
}

fn raw_string(rest: &str) -> Option<usize> {
    let opened = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    let body = opened[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(rest.len() - body.len() + end)
}

fn string(rest: &str) -> Option<usize> {
    quoted(rest, '"')
}

/// A character literal, or `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut inner = rest.strip_prefix('\'')?.chars();
    let (first, second) = (inner.next()?, inner.next()?);
    if first == '\\' || second == '\'' { quoted(rest, '\'') } else { None }
}

fn quoted(rest: &str, quote: char) -> Option<usize> {
    let body = rest.strip_prefix(quote)?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(1 + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(code(text), expected);
        assert_eq!(code(text).len(), text.len(), "positions stay");
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // unsafe\nb", "a          \nb");
        check("a/* x /* y */ z */b", &format!("a{}b", " ".repeat(17)));
        check(r#"f("un\"safe") g"#, "f(          ) g");
        check(r##"f(r#"a"b"#) g"##, "f(        ) g");
        check("f('\"') g", "f(   ) g");
        check(r"f('\'') g", "f(    ) g");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"); // lifetimes are no literals
        check("bar\"x\" r#type", "bar    r#type"); // a name that ends in r opens no raw string
        check("\"ü\" x", "     x"); // two bytes, two blanks
        check("\"never closed", "             ");
    }

    #[test]
    fn words_stand_alone() {
        assert!(has_word("unsafe { }", "unsafe"));
        assert!(!has_word("expect(unsafe_code)", "unsafe"));
        assert!(has_word("std::fs::File", "std::fs"));
        assert!(!has_word("eprintln!(", "println!("));
        assert_eq!(lines_with("a\nb\na b", "b").collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn what_ships_is_told_from_tests() {
        let text = "fn a() {}\n#[cfg(test)]\nmod mock;\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        let file = RustFile::new("units/src/cpu.rs", text);
        assert!(file.shipped().contains("fn a") && !file.shipped().contains("fn b"));
        assert!(file.shipped().contains("mod mock;"), "a gated module in another file is not the foot");
        assert!(file.test_text().starts_with("#[cfg(test)]\nmod tests"));
        assert_eq!(RustFile::new("tests/it/main.rs", "fn a() {}").shipped(), "");
        assert_eq!(file.test_lines().next(), Some((4, "#[cfg(test)]", "#[cfg(test)]")));
        assert_eq!(RustFile::new("agent/tests/hot.rs", "fn a() {}").test_text(), "fn a() {}");
    }
}
