//! Documents as JSON: the schema in the first key, whole nanoseconds, `null` for what is absent.

pub(crate) mod boot;
pub(crate) mod doctor;
pub(crate) mod error;
pub(crate) mod explain;
pub(crate) mod keeper;
pub(crate) mod lists;
pub(crate) mod ns;
pub(crate) mod prove;
pub(crate) mod report;
pub(crate) mod sessions;
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
    use super::*;
    use crate::example::{self, golden};
    use crate::{
        ApplyDocument, BudgetsDocument, ConfirmDocument, DriftDocument, ErrorDocument, HistoryDocument,
    };
    use crate::{PlanDocument, Report, RollbackDocument, StallsDocument, VerifyDocument};
    use proptest::prelude::*;

    /// The first key is the schema, the whole reads back as it was, and keys from a later version do no harm.
    #[track_caller]
    fn check<D: Document + PartialEq + fmt::Debug>(document: &D) {
        let json = write(document);
        assert!(json.starts_with(&format!("{{\"schema\":\"{}\",", D::SCHEMA)), "{json}");
        assert!(!json.contains('\n'));
        assert_eq!(&read::<D>(&json).unwrap(), document);
        assert_eq!(&read::<D>(&write_pretty(document)).unwrap(), document);
        let later = json.replacen('{', "{\"a_later_key\":[{\"x\":null}],", 1);
        assert_eq!(&read::<D>(&later).unwrap(), document);
    }

    #[test]
    fn documents_read_back() {
        check(&example::report());
        check(&example::bare());
        check(&BudgetsDocument::from(&example::report()));
        check(&StallsDocument::from(&example::report()));
        check(&example::plan());
        check(&example::apply());
        check(&example::rollback());
        check(&example::verify());
        check(&example::drift());
        check(&example::history());
        check(&example::sessions());
        check(&example::explain());
        check(&example::prove());
        check(&example::prove_held());
        check(&ApplyDocument::default());
        check(&DriftDocument::default());
        check(&HistoryDocument::default());
        check(&ConfirmDocument::default());
        check(&PlanDocument::default());
        check(&RollbackDocument::default());
        check(&VerifyDocument::default());
    }

    #[test]
    fn json_is_as_its_golden_files() {
        let file = |name: &str, json: String| golden(name, &(json + "\n"));
        file("report.json", example::report().to_json_pretty());
        file("report-bare.json", example::bare().to_json_pretty());
        file("budgets.json", BudgetsDocument::from(&example::report()).to_json_pretty());
        file("stalls.json", StallsDocument::from(&example::report()).to_json_pretty());
        file("plan.json", example::plan().to_json_pretty());
        file("apply.json", example::apply().to_json_pretty());
        file("rollback.json", example::rollback().to_json_pretty());
        file("verify.json", example::verify().to_json_pretty());
        file("sessions.json", example::sessions().to_json_pretty());
        file("drift.json", example::drift().to_json_pretty());
        file("history.json", example::history().to_json_pretty());
        file("explain.json", example::explain().to_json_pretty());
        file("prove.json", example::prove().to_json_pretty());
    }

    /// Every key in the contract stands there, also when its value is absent: then it is null, not left out
    /// and not 0.
    #[test]
    fn absent_is_null() {
        let mut report = example::bare();
        report.channels = vec![crate::ChannelReport {
            cpu: None,
            min: None,
            p50: None,
            p90: None,
            p99: None,
            max: None,
            mean: None,
            floor: None,
            total_max: None,
            p99_interval: None,
            ..example::report().channels[0].clone()
        }];
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        let null =
            |at: &str| assert!(json.pointer(at).is_some_and(serde_json::Value::is_null), "{at}: {json}");
        for key in ["cpu", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max", "mean", "hist", "floor"] {
            null(&format!("/channels/0/{key}"));
        }
        for at in
            ["/boot_id", "/knobs", "/clock/error_ppb", "/clock/skew_bound", "/self/rss_bytes", "/self/cpu_s"]
        {
            null(at);
        }
    }

    #[test]
    fn a_report_of_the_first_version_still_reads() {
        let contract = r#"{"schema":"quell.report/1","host":"h","boot_id":null,
            "generated_at":"2026-03-01T09:30:00Z",
            "window_s":1.5,"clock":{"source":"tsc","hz":1,"error_ppb":null,"invariant":true},
            "channels":[{"name":"a","cpu":1,"count":0,"min":null,"p50":null,"p90":null,"p99":null,
            "p99_9":null,"p99_99":null,"max":null,"mean":null,"dropped":0,"hist":null}],
            "stalls":[{"at":"2026-03-01T09:30:00Z","cpu":1,"duration":5,
            "cause":{"kind":"unexplained","who":null,"evidence":null}}],
            "budgets":[{"name":"b","channel":"a","state":"ok","value":null,"limit":5,
            "since":"2026-03-01T09:30:00Z","samples":3}],
            "fitness":{"state":"unknown","reasons":[]},"knobs":{"ok":1,"drifted":0},
            "threads":[{"name":"t","cpu":null,"policy":"other","priority":null,"cpu_time_s":null}],
            "self":{"rss_bytes":null,"rss_anon_bytes":null,"cpu_s":null,"wakeups":null}}"#;
        let report = Report::from_json(contract).unwrap();
        assert_eq!((report.stalls_seen, report.channels[0].scheduled, report.measuring), (None, None, None));
    }

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

    proptest! {
        /// Any text and any whole number survives, on one line; fractions to the last bit but one, so dyadic
        /// here.
        #[test]
        fn values_survive(
            host in any::<String>(),
            ns in any::<u64>(),
            quarters in any::<u32>(),
            p in 0u16..=1024,
        ) {
            let (seconds, p) = (f64::from(quarters) / 4.0, f64::from(p) / 1024.0);
            let mut report = example::report();
            report.host = host;
            report.window_s = seconds;
            report.channels[2].max = Some(units::Nanos(ns));
            report.channels[2].delay[0].probability = p;
            let json = report.to_json();
            prop_assert!(!json.contains('\n'));
            prop_assert_eq!(Report::from_json(&json).unwrap(), report);
        }
    }
}
