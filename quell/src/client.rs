//! Asking the agent: one request over its Unix socket.
//!
//! Blocking and without an HTTP library: the answer is one JSON document with a length, read within the bounds of
//! `units::limits`, its head parsed by httparse.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use host::threads::monotonic_now;
use units::Nanos;
use units::limits::{ANSWER_BYTES_MAX, RESPONSE_DEADLINE};

use crate::failure::Failure;

/// Time for the whole answer: what the agent gives itself, and a second for a busy machine.
const DEADLINE: Nanos = Nanos(RESPONSE_DEADLINE.0 + 1_000_000_000);

/// The body of `GET path` on `socket`.
///
/// # Errors
/// [`Failure`] with exit 6 when nobody answers, 4 when we may not connect, 1 when the answer is none.
pub fn get(socket: &Path, path: &str) -> Result<String, Failure> {
    let mut stream = UnixStream::connect(socket).map_err(|cause| Failure::unreachable(socket, &cause))?;
    let lost = |cause: io::Error| Failure::unreachable(socket, &cause);
    stream.set_write_timeout(Some(DEADLINE.into())).map_err(lost)?;
    // An agent that turns us away closes before it reads: its answer is there all the same.
    let _ = write!(stream, "GET {path} HTTP/1.1\r\nhost: quell\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let ended = read_to_end(&mut stream, &mut answer);
    if answer.is_empty() {
        ended.map_err(lost)?;
    }
    body(socket, path, &answer)
}

/// Reads until the other side closes, within [`DEADLINE`] altogether: a timeout for each read alone would let a peer
/// that sends a byte now and then keep us for ever.
fn read_to_end(stream: &mut UnixStream, answer: &mut Vec<u8>) -> io::Result<()> {
    let end = monotonic_now() + DEADLINE;
    let mut chunk = [0; 64 << 10];
    while answer.len() < ANSWER_BYTES_MAX {
        let left = end - monotonic_now();
        if left == Nanos::ZERO {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        stream.set_read_timeout(Some(left.into()))?;
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(())
}

fn body(socket: &Path, path: &str, answer: &[u8]) -> Result<String, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(answer) else {
        return Err(Failure::no_answer(
            socket,
            "it is not an HTTP answer, or was cut off; is this the agent's socket?",
        ));
    };
    let status = head.code.unwrap_or(0);
    let declared = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let declared =
        declared.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok());
    let body = &answer[length..];
    if declared.is_some_and(|declared| body.len() < declared) {
        return Err(Failure::no_answer(socket, "the answer was cut off; the agent may have been stopped"));
    }
    let text = String::from_utf8_lossy(body).into_owned();
    match status {
        200 => Ok(text),
        _ => Err(Failure::refused(socket, path, status, &text)),
    }
}
