//! `quell.error/1`: what the report socket answers when it does not answer the question.

use serde::{Deserialize, Serialize};

use super::Schema;

/// A refusal, with what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// `quell.error/1`.
    pub schema: Schema<Self>,
    /// The status: the HTTP status on the socket.
    pub code: u16,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do instead.
    pub hint: String,
}

super::document!(ErrorDocument, "quell.error/1");

impl ErrorDocument {
    /// A refusal with its status, reason and remedy.
    #[must_use]
    pub fn new(code: u16, message: &str, hint: &str) -> Self {
        Self { schema: Schema::new(), code, message: message.to_owned(), hint: hint.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_of_json() {
        let document = ErrorDocument::new(404, "/v2: no such path", "try /v1/report");
        let json = document.to_json();
        let expected =
            r#"{"schema":"quell.error/1","code":404,"message":"/v2: no such path","hint":"try /v1/report"}"#;
        assert_eq!(json, expected);
        assert_eq!(ErrorDocument::from_json(&json).unwrap(), document);
    }
}
