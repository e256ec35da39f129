//! The two texts: the request somebody with root's rights wrote, and the result they read. Pure.

use std::fmt;

use report::WallTime;
use units::Name;

/// A request's bytes at most: three lines of names. A file that is longer is none.
pub const REQUEST_BYTES_MAX: u64 = 256;

/// Which generation a component shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// A staged generation.
    pub generation: Name,
}

impl Request {
    /// Reads `text` as a request for `component`: exactly these lines, so that half a file is no request.
    ///
    /// ```text
    /// quell.switch/1
    /// component execution-engine
    /// generation 2026-11-21.1
    /// ```
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, component: &Name) -> Result<Self, String> {
        let lines: Vec<&str> =
            text.strip_suffix('\n').ok_or("it does not end with a line end")?.split('\n').collect();
        let [schema, named, generation] = lines[..] else {
            return Err(format!("it has {} lines; write schema, component and generation", lines.len()));
        };
        if schema != "quell.switch/1" {
            return Err(format!("its first line is {schema:?}; write \"quell.switch/1\""));
        }
        if named.strip_prefix("component ") != Some(component.as_str()) {
            return Err(format!(
                "its second line is {named:?}; write \"component {component}\", as the file is named"
            ));
        }
        let generation = generation.strip_prefix("generation ");
        let generation = generation.ok_or("its third line names no generation; write \"generation ID\"")?;
        Ok(Self { generation: generation.parse().map_err(|error| format!("generation {error}"))? })
    }
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// About to: whoever finds this after a crash carries it on.
    Switching,
    /// Done; the component is being restarted.
    Switched,
    /// That generation ran already, nothing was touched.
    Already,
    /// The request cannot be carried out as it stands.
    Refused,
    /// The system refused something on the way.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Switching => "switching",
            Self::Switched => "switched",
            Self::Already => "already",
            Self::Refused => "refused",
            Self::Failed => "failed",
        })
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How far it came.
    pub outcome: Outcome,
    /// The generation before, where there was one.
    pub old: Option<Name>,
    /// The wanted one, where the request could be read.
    pub new: Option<Name>,
    /// Why not; empty where it went well.
    pub reason: String,
}

impl Answer {
    /// The file's text.
    ///
    /// ```text
    /// quell.switched/1
    /// outcome switched
    /// old 2026-11-20.3
    /// new 2026-11-21.1
    /// when 2026-11-21T07:00:00.000Z
    /// reason
    /// ```
    pub fn text(&self, when: WallTime) -> String {
        let name = |name: &Option<Name>| name.as_ref().map_or_else(|| "-".to_owned(), Name::to_string);
        // The reason quotes what somebody wrote, escaped; a line end in it would be a line of ours.
        let reason = self.reason.replace(['\n', '\r'], " ");
        let (outcome, old, new) = (self.outcome, name(&self.old), name(&self.new));
        let text = format!(
            "quell.switched/1\noutcome {outcome}\nold {old}\nnew {new}\nwhen {when}\nreason {reason}"
        );
        format!("{}\n", text.trim_end())
    }

    /// The generation `(old, new)` of an answer whose switch was begun and not ended.
    pub fn interrupted(text: &str) -> Option<(Option<Name>, Name)> {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let begun = field("outcome") == Some("switching");
        begun.then(|| Some((field("old")?.parse().ok(), field("new")?.parse().ok()?))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match Request::parse(text, &"engine".parse().unwrap()) {
            Ok(request) => request.generation.to_string(),
            Err(problem) => format!("error: {problem}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn requests() {
        check("quell.switch/1\ncomponent engine\ngeneration 7.1\n", "7.1");
        check("quell.switch/1\ncomponent engine\ngeneration 7.1", "error: it does not end with a line end");
        check("", "error: it does not end with a line end");
        check("quell.switch/1\n", "error: it has 1 lines; write schema, component and generation");
        check(
            "quell.switch/1\ncomponent engine\ngeneration 7.1\n\n",
            "error: it has 4 lines; write schema, component and generation",
        );
        check(
            "quell.switch/2\ncomponent engine\ngeneration 7.1\n",
            "error: its first line is \"quell.switch/2\"; write \"quell.switch/1\"",
        );
        check(
            "quell.switch/1\ncomponent other\ngeneration 7.1\n",
            "error: its second line is \"component other\"; write \"component engine\", as the file is named",
        );
        check(
            "quell.switch/1\ncomponent engine\n7.1\n",
            "error: its third line names no generation; write \"generation ID\"",
        );
        check(
            "quell.switch/1\ncomponent engine\ngeneration ../../etc\n",
            "error: generation \"../../etc\": a name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit",
        );
    }

    #[test]
    fn an_answer_is_lines_and_tells_whether_it_was_interrupted() {
        let when = "2026-11-21T07:00:00Z".parse().unwrap();
        let name = |text: &str| Some(text.parse().unwrap());
        let begun =
            Answer { outcome: Outcome::Switching, old: None, new: name("7.1"), reason: String::new() };
        let text = begun.text(when);
        assert_eq!(
            text,
            format!("quell.switched/1\noutcome switching\nold -\nnew 7.1\nwhen {when}\nreason\n")
        );
        assert_eq!(Answer::interrupted(&text), Some((None, "7.1".parse().unwrap())));
        let refused =
            Answer { outcome: Outcome::Refused, old: name("7.0"), new: None, reason: "a\nb".to_owned() };
        assert!(refused.text(when).ends_with("old 7.0\nnew -\nwhen 2026-11-21T07:00:00Z\nreason a b\n"));
        assert_eq!(Answer::interrupted(&refused.text(when)), None);
        assert_eq!(Answer::interrupted("outcome switching\n"), None, "half a file");
    }
}
