//! Documents as JSON: the schema in the first key, whole nanoseconds, `null` for what is absent.

pub(crate) mod error;
pub(crate) mod lists;
pub(crate) mod ns;
pub(crate) mod report;
pub(crate) mod tune;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// A type that is a whole document, with its name and version.
pub trait Document: Serialize + DeserializeOwned {
    /// As in `quell.report/1`; the number changes only when a key changes its meaning.
    const SCHEMA: &'static str;
}

/// The first key of a document: written as its name, refused when it is read as another's.
pub struct Schema<D>(PhantomData<D>);

impl<D> Schema<D> {
    /// The only value.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<D> Default for Schema<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D> Clone for Schema<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Schema<D> {}

impl<D> PartialEq for Schema<D> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<D: Document> fmt::Debug for Schema<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(D::SCHEMA)
    }
}

impl<D: Document> Serialize for Schema<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(D::SCHEMA)
    }
}

impl<'de, D: Document> Deserialize<'de> for Schema<D> {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let name = String::deserialize(deserializer)?;
        match name == D::SCHEMA {
            true => Ok(Self::new()),
            false => Err(de::Error::custom(format_args!("this is a {name:?}, not a {:?}", D::SCHEMA))),
        }
    }
}

/// A text that is not the document it was read as.
#[derive(Debug, thiserror::Error)]
#[error("not {schema}: {cause} (is this an agent of the same version?)")]
pub struct JsonError {
    schema: &'static str,
    cause: serde_json::Error,
}

pub(crate) fn read<D: Document>(text: &str) -> Result<D, JsonError> {
    serde_json::from_str(text).map_err(|cause| JsonError { schema: D::SCHEMA, cause })
}

/// Compact, on one line.
pub(crate) fn write<D: Document>(document: &D) -> String {
    serde_json::to_string(document).expect("documents have string keys and no failing serializer")
}

/// Indented, for people and for files under version control.
pub(crate) fn write_pretty<D: Document>(document: &D) -> String {
    serde_json::to_string_pretty(document).expect("documents have string keys and no failing serializer")
}

/// Makes a type a document: its name, and JSON both ways without importing the trait.
macro_rules! document {
    ($document:ty, $schema:literal) => {
        impl $crate::json::Document for $document {
            const SCHEMA: &'static str = $schema;
        }

        impl $document {
            #[doc = concat!("`", $schema, "` on one line, without a line end.")]
            #[must_use]
            pub fn to_json(&self) -> String {
                $crate::json::write(self)
            }

            #[doc = concat!("`", $schema, "` indented, for people.")]
            #[must_use]
            pub fn to_json_pretty(&self) -> String {
                $crate::json::write_pretty(self)
            }

            #[doc = concat!("Reads `", $schema, "`; keys it does not know are passed over.")]
            ///
            /// # Errors
            /// [`JsonError`](crate::JsonError) for anything else, with the place in the text.
            pub fn from_json(text: &str) -> Result<Self, $crate::JsonError> {
                $crate::json::read(text)
            }
        }
    };
}
pub(crate) use document;

#[cfg(test)]
mod tests {
    use crate::{ErrorDocument, Report};

    #[test]
    fn a_document_is_refused_as_another() {
        let error = ErrorDocument::new(404, "no such thing", "see /v1/report").to_json();
        let refusal = Report::from_json(&error).unwrap_err().to_string();
        let expected = "not quell.report/1: this is a \"quell.error/1\", not a \"quell.report/1\" at line 1";
        assert!(refusal.starts_with(expected), "{refusal}");
        assert!(
            Report::from_json("<html>").unwrap_err().to_string().starts_with("not quell.report/1: expected")
        );
        assert!(ErrorDocument::from_json("{\"code\": 1}").is_err());
    }
}
