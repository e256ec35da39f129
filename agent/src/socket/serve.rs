//! Answering on the report socket.
//!
//! hyper and axum do the protocol. Before hyper sees a byte, the head of the request is read within its bounds and
//! checked with hyper's own parser, because hyper answers a malformed head with an empty 400 and a slow one with
//! silence; a person at a terminal deserves the reason.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use report::ErrorDocument;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use units::limits::{CLIENTS_MAX, REQUEST_DEADLINE, REQUEST_HEAD_BYTES_MAX, RESPONSE_DEADLINE};

/// Headers a request may have; curl sends three.
const HEADERS_MAX: usize = 64;

/// What became of the connections so far.
#[derive(Debug, Default)]
pub struct Answers {
    /// Requests that reached a route.
    pub served: AtomicU64,
    /// Connections refused for a malformed, oversized or late head.
    pub refused: AtomicU64,
    /// Connections turned away because [`CLIENTS_MAX`] were open.
    pub turned_away: AtomicU64,
    /// Connections cut because the client did not take its answer in time.
    pub cut: AtomicU64,
}

impl Answers {
    /// What clients did not get, in words for the report; nothing while everybody was served.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed); // a statistic; orders nothing
        let lost = [
            (count(&self.turned_away), "turned away because too many were connected"),
            (count(&self.refused), "refused for a malformed, oversized or late request"),
            (count(&self.cut), "cut off because they did not take their answer"),
        ];
        let lost: Vec<String> = lost
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        let served = count(&self.served);
        (!lost.is_empty())
            .then(|| format!("report socket: {served} clients served, and of the others {}", lost.join(", ")))
    }
}

/// Accepts connections on `listener` for ever, answering each from `routes`.
///
/// # Errors
/// Only when the listener cannot join the event loop; a failing connection ends alone.
pub async fn serve(listener: StdListener, routes: Router, answers: Arc<Answers>) -> io::Result<Infallible> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(cause) => {
                // Out of descriptors, most likely: a pause lets connections end, where a retry at once would spin.
                tracing::warn!(%cause, "report socket: cannot accept");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                let (routes, answers) = (routes.clone(), answers.clone());
                tokio::spawn(async move {
                    converse(stream, routes, &answers).await;
                    drop(place);
                });
            }
            Err(_) => turn_away(&stream, &answers),
        }
    }
}

/// Says 503 without waiting: whatever the socket buffer does not take is lost, the connection is closed either way.
fn turn_away(stream: &UnixStream, answers: &Answers) {
    answers.turned_away.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
    let refusal =
        Refusal::new(503, format!("{CLIENTS_MAX} clients are connected already"), "try again in a moment");
    // Closing on unread bytes would reset the connection before the client sees the answer.
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(refusal.bytes().as_slice());
}

/// One connection: head within bounds, one request, one answer within its time.
async fn converse(mut stream: UnixStream, routes: Router, answers: &Answers) {
    let head = match timeout(REQUEST_DEADLINE.into(), read_head(&mut stream)).await {
        Ok(Ok(head)) => head,
        Ok(Err(refusal)) => return refuse(stream, refusal, answers).await,
        Err(_) => {
            let late = Refusal::new(
                408,
                format!("no complete request within {REQUEST_DEADLINE}"),
                "send the whole request at once",
            );
            return refuse(stream, Some(late), answers).await;
        }
    };
    answers.served.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
    let (reader, writer) = stream.into_split();
    let io = TokioIo::new(tokio::io::join(io::Cursor::new(head).chain(reader), writer));
    let service = TowerToHyperService::new(routes);
    // Half-closing after the request is what `nc -N` does; it still wants its answer.
    let conversation = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(io, service);
    match timeout(RESPONSE_DEADLINE.into(), conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::debug!(%cause, "report socket: client went away"),
        Err(_) => {
            answers.cut.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
        }
    }
}

async fn refuse(mut stream: UnixStream, refusal: Option<Refusal>, answers: &Answers) {
    answers.refused.fetch_add(1, Ordering::Relaxed); // a statistic; orders nothing
    let Some(refusal) = refusal else { return };
    tracing::debug!(status = refusal.status, reason = refusal.message, "report socket: request refused");
    let _ = timeout(RESPONSE_DEADLINE.into(), stream.write_all(&refusal.bytes())).await;
}

/// Reads up to the empty line and checks what it read; the bytes are handed on untouched.
///
/// `Err(None)` is a client that left without a complete request: there is nobody to answer.
async fn read_head(stream: &mut UnixStream) -> Result<Vec<u8>, Option<Refusal>> {
    let mut head = Vec::with_capacity(512);
    loop {
        if head.len() >= REQUEST_HEAD_BYTES_MAX {
            let message = format!("the request's head is longer than {REQUEST_HEAD_BYTES_MAX} bytes");
            return Err(Some(Refusal::new(431, message, "send fewer or shorter headers")));
        }
        let space = REQUEST_HEAD_BYTES_MAX - head.len();
        let read = stream.take(space as u64).read_buf(&mut head).await.map_err(|_| None)?;
        if read == 0 {
            return Err(None);
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        match httparse::Request::new(&mut headers).parse(&head) {
            Ok(httparse::Status::Complete(_)) => return Ok(head),
            Ok(httparse::Status::Partial) => {}
            Err(cause) => {
                let hint =
                    "speak HTTP/1.1, as in: curl --unix-socket /run/quell/report.sock http://quell/v1/report";
                return Err(Some(Refusal::new(400, format!("not an HTTP request: {cause}"), hint)));
            }
        }
    }
}

/// An answer given without a route.
#[derive(Debug)]
struct Refusal {
    status: u16,
    message: String,
    hint: &'static str,
}

impl Refusal {
    fn new(status: u16, message: String, hint: &'static str) -> Self {
        Self { status, message, hint }
    }

    fn bytes(&self) -> Vec<u8> {
        let reason =
            axum::http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let body = ErrorDocument::new(self.status, &self.message, self.hint).to_json();
        format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.status,
            reason.unwrap_or("Refused"),
            body.len()
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_did_not_get_is_told() {
        let answers = Answers::default();
        answers.served.store(3, Ordering::Relaxed);
        assert_eq!(answers.told(), None);
        answers.turned_away.store(2, Ordering::Relaxed);
        answers.cut.store(1, Ordering::Relaxed);
        assert_eq!(
            answers.told().unwrap(),
            "report socket: 3 clients served, and of the others 2 turned away because too many were connected, 1 cut off \
             because they did not take their answer"
        );
    }
}
