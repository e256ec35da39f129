//! What can be asked on the report socket.
//!
//! `/v1/report`, `/v1/budgets`, `/v1/stalls`, `/healthz`; reading only. The answers are the desk's, which bounds what
//! any number of clients can cost the collector.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use report::{BudgetsDocument, ErrorDocument, Report, StallsDocument};
use units::{Nanos, nearest};

use crate::desk::{Desk, DeskError};
use crate::reporter::Wanted;

/// The paths, for the answer to one that is none.
const PATHS: [&str; 4] = ["/v1/report", "/v1/budgets", "/v1/stalls", "/healthz"];

/// How far back `/v1/report` reaches unless told otherwise.
const WINDOW: Nanos = Nanos::from_secs(10);

/// The router over `desk`.
pub fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/report", get(report))
        .route("/v1/budgets", get(budgets))
        .route("/v1/stalls", get(stalls))
        .route("/healthz", get(healthz))
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "this socket is for reading", "use GET")
        })
        .fallback(unknown)
        .with_state(desk)
}

/// The query of `/v1/report`: `window=10s` or `window=all`, `hist=1`.
type Parameters = Query<Vec<(String, String)>>;

async fn report(State(desk): State<Arc<Desk>>, Query(parameters): Parameters) -> Response {
    match wanted(&parameters) {
        Ok(wanted) => answer(desk.report(wanted).await, |report| report.to_json()),
        Err(problem) => {
            error(StatusCode::BAD_REQUEST, &problem, "as in /v1/report?window=10s&hist=1, or window=all")
        }
    }
}

async fn budgets(State(desk): State<Arc<Desk>>) -> Response {
    let wanted = Wanted { span: Some(WINDOW), hist: false };
    answer(desk.report(wanted).await, |report| BudgetsDocument::from(report).to_json())
}

async fn stalls(State(desk): State<Arc<Desk>>) -> Response {
    let wanted = Wanted { span: Some(WINDOW), hist: false };
    answer(desk.report(wanted).await, |report| StallsDocument::from(report).to_json())
}

/// Alive means that the collector answered: the socket alone could outlive it.
async fn healthz(State(desk): State<Arc<Desk>>) -> Response {
    let wanted = Wanted { span: Some(WINDOW), hist: false };
    match desk.report(wanted).await {
        Ok(_) => "ok\n".into_response(),
        Err(problem) => unavailable(&problem),
    }
}

async fn unknown(uri: axum::http::Uri) -> Response {
    let hint = match nearest(uri.path(), PATHS) {
        Some(path) => format!("did you mean {path}?"),
        None => format!("there are {}", PATHS.join(", ")),
    };
    error(StatusCode::NOT_FOUND, &format!("{}: no such path", uri.path()), &hint)
}

fn wanted(parameters: &[(String, String)]) -> Result<Wanted, String> {
    let mut wanted = Wanted { span: Some(WINDOW), hist: false };
    for (key, value) in parameters {
        match (key.as_str(), value.as_str()) {
            ("window", "all") => wanted.span = None,
            ("window", text) => {
                wanted.span = Some(text.parse().map_err(|problem| format!("window: {problem}"))?);
            }
            ("hist", "1") => wanted.hist = true,
            ("hist", "0") => wanted.hist = false,
            _ => return Err(format!("{key}={value}: no such parameter, or not a value of it")),
        }
    }
    Ok(wanted)
}

fn answer(report: Result<Arc<Report>, DeskError>, write: impl Fn(&Report) -> String) -> Response {
    match report {
        Ok(report) => ([(header::CONTENT_TYPE, "application/json")], write(&report)).into_response(),
        Err(problem) => unavailable(&problem),
    }
}

fn unavailable(problem: &DeskError) -> Response {
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        &problem.to_string(),
        "see the agent's log; the watchdog restarts an agent whose collector hangs",
    )
}

fn error(status: StatusCode, message: &str, hint: &str) -> Response {
    let body = ErrorDocument::new(status.as_u16(), message, hint).to_json();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &[(&str, &str)], expected: Result<(Option<u64>, bool), &str>) {
        let parameters: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let got = wanted(&parameters).map(|wanted| (wanted.span.map(|span| span.0), wanted.hist));
        assert_eq!(got, expected.map_err(str::to_owned));
    }

    #[test]
    fn parameters() {
        check(&[], Ok((Some(10_000_000_000), false)));
        check(&[("window", "2s"), ("hist", "1")], Ok((Some(2_000_000_000), true)));
        check(&[("window", "all")], Ok((None, false)));
        check(&[("windw", "2s")], Err("windw=2s: no such parameter, or not a value of it"));
        check(
            &[("window", "2")],
            Err("window: \"2\": a duration needs a unit, as in 300ns, 2.5us, 10ms, 5s"),
        );
    }
}
