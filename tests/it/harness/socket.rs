//! Asking on a Unix socket byte by byte, as no well-behaved client does; and answering there as no agent would.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may stay away before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of the first line; `None` when what came is not HTTP, or nothing came.
    pub status: Option<u16>,
    /// The lines before the empty one.
    pub head: String,
    /// What stands behind the head.
    pub body: String,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The body as JSON of `schema`.
    #[track_caller]
    pub fn json(&self, schema: &str) -> Value {
        let value: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON: {error}\n{self:?}"));
        assert_eq!(value["schema"], schema, "{self:?}");
        value
    }

    /// A refusal in the documented form, with `part` in its message and something to do about it.
    #[track_caller]
    pub fn refuses(&self, status: u16, part: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        let error = self.json("quell.error/1");
        assert_eq!(error["code"], status, "{self:?}");
        assert!(error["message"].as_str().unwrap().contains(part), "wanted {part:?}\n{self:?}");
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
    }
}

/// The bytes of a plain request for `path`.
pub fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: quell\r\n\r\n")
}

/// A connection on which nothing was said yet.
#[track_caller]
pub fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the other side closes. One that closes without reading everything resets the connection behind its
/// answer, which counts as the end.
pub fn answer(stream: &mut UnixStream) -> Answer {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    assert!(ended.is_ok() || !bytes.is_empty(), "no answer: {ended:?}");
    Answer::of(&bytes)
}

/// Sends `bytes` and reads the answer.
#[track_caller]
pub fn exchange(socket: &Path, bytes: &[u8]) -> Answer {
    let mut stream = connect(socket);
    let _ = stream.write_all(bytes); // whoever turns us away may close before that, its answer is there
    answer(&mut stream)
}

/// Listens on `socket` and talks to one client as `talk` does.
pub fn impostor(socket: &Path, talk: impl FnOnce(UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        talk(stream);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = Answer::of(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!((answer.status, answer.body.as_str()), (Some(404), "{}"));
        assert_eq!(Answer::of(b"hello").status, None);
        assert_eq!(Answer::of(b"").status, None);
    }

    #[test]
    fn an_impostor_answers_once() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        impostor(&socket, |mut stream| stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhi").unwrap());
        assert_eq!(exchange(&socket, b"").body, "hi");
    }
}
