//! Netlink messages: how a request is put together, and how an answer is taken apart without trusting a byte of it.
//!
//! An answer that is cut off, or whose lengths point beyond it, ends where it stops making sense: what was whole before
//! that is kept, and nothing is read outside the buffer. Numbers are of this machine's byte order.
//! Source: Documentation/userspace-api/netlink/intro.rst; include/uapi/linux/netlink.h.

/// Bytes of a message's head: length, kind, flags, sequence number, sender.
const HEAD: usize = 16;
/// Bytes of an attribute's head: length, kind.
const ATTRIBUTE_HEAD: usize = 4;
/// The two topmost bits of an attribute's kind say how it is encoded.
const KIND: u16 = 0x3fff;
const NESTED: u16 = 0x8000;
/// The error text among the attributes behind an acknowledgement.
const EXPLANATION: u16 = 1;
/// An acknowledgement repeats the request's head only.
const CAPPED: u16 = 0x100;
/// Attributes stand behind an acknowledgement.
const EXPLAINED: u16 = 0x200;

/// Kinds of messages that are not of a family.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// What is asked of the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A command of generic netlink.
    pub fn command(family: u16, flags: u16, sequence: u32, command: u8) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(0u32.to_ne_bytes()); // its length, when it is finished
        bytes.extend(family.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes()); // from whom: the kernel knows
        bytes.extend([command, 1, 0, 0]);
        Self(bytes)
    }

    /// Adds one attribute.
    pub fn attribute(&mut self, kind: u16, content: &[u8]) {
        let start = self.open(kind);
        self.0.extend(content);
        self.close(start);
    }

    /// Adds a name, ended by a zero as the kernel wants it.
    pub fn text(&mut self, kind: u16, text: &str) {
        let start = self.open(kind);
        self.0.extend(text.as_bytes());
        self.0.push(0);
        self.close(start);
    }

    /// Adds what `fill` adds as one attribute.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start);
    }

    /// The bytes to send.
    pub fn finished(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("a request of ours is some kilobytes at most");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.0.len() - start).expect("an attribute of ours is below 64 KiB");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(aligned(self.0.len()), 0);
    }
}

/// What the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// A family's message: what stands behind the command's four bytes.
    Message(&'a [u8]),
    /// It is done, or refused with this error number and what the kernel says of it.
    Ack(i32, Option<String>),
    /// The last of many messages.
    Done,
}

/// The answers to request `sequence` in what was received.
pub(crate) fn answers(mut received: &[u8], sequence: u32) -> Vec<Answer<'_>> {
    let mut answers = Vec::new();
    while let Some((message, rest)) = split(received, u32_at(received, 0).map(|length| length as usize), HEAD)
    {
        received = rest;
        if u32_at(message, 8) != Some(sequence) {
            continue; // an answer to an earlier request, which was given up
        }
        let body = &message[HEAD..];
        match u16_at(message, 4) {
            Some(ERROR) => answers.extend(acknowledgement(body, u16_at(message, 6).unwrap_or_default())),
            Some(DONE) => answers.push(Answer::Done),
            Some(_) => answers.extend(body.get(4..).map(Answer::Message)),
            None => {}
        }
    }
    answers
}

fn acknowledgement(body: &[u8], flags: u16) -> Option<Answer<'_>> {
    let number = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    let head = body.get(4..).unwrap_or_default();
    let repeated = match u32_at(head, 0) {
        Some(length) if flags & CAPPED == 0 => aligned(length as usize),
        _ => HEAD,
    };
    let behind = head.get(repeated..).filter(|_| flags & EXPLAINED != 0).unwrap_or_default();
    let text = attributes(behind).find(|(kind, _)| *kind == EXPLANATION).map(|(_, text)| as_text(text));
    Some(Answer::Ack(number.saturating_neg(), text))
}

/// The attributes in `bytes`, as far as they are whole.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (attribute, rest) = split(bytes, u16_at(bytes, 0).map(usize::from), ATTRIBUTE_HEAD)?;
        bytes = rest;
        Some((u16_at(attribute, 2)? & KIND, &attribute[ATTRIBUTE_HEAD..]))
    })
}

/// A number of four bytes or of one.
pub(crate) fn as_number(content: &[u8]) -> Option<u32> {
    match content {
        [one] => Some(u32::from(*one)),
        _ if content.len() == 4 => u32_at(content, 0),
        _ => None,
    }
}

/// A text up to its zero; what cannot be printed is escaped, what is too long cut off.
pub(crate) fn as_text(content: &[u8]) -> String {
    let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len()).min(TEXT_BYTES_MAX);
    String::from_utf8_lossy(&content[..end]).escape_debug().to_string()
}

/// Bytes of a text of the kernel that are kept: its longest explanations are some eighty.
const TEXT_BYTES_MAX: usize = 200;

/// The first `length` bytes and what follows them, aligned; `None` when they are not all there or less than a head.
fn split(bytes: &[u8], length: Option<usize>, head: usize) -> Option<(&[u8], &[u8])> {
    let length = length.filter(|length| *length >= head)?;
    let first = bytes.get(..length)?;
    Some((first, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ack(number: i32, text: Option<&str>) -> Vec<u8> {
        let mut request =
            Request::command(ERROR, if text.is_some() { CAPPED | EXPLAINED } else { CAPPED }, 7, 0);
        request.0.truncate(HEAD);
        request.0.extend(number.to_ne_bytes());
        request.0.extend([0; HEAD]);
        if let Some(text) = text {
            request.text(EXPLANATION, text);
        }
        request.finished()
    }

    #[track_caller]
    fn check(received: &[u8], expected: &[Answer<'_>]) {
        assert_eq!(answers(received, 7), expected);
    }

    #[test]
    fn what_the_kernel_says() {
        check(&ack(0, None), &[Answer::Ack(0, None)]);
        check(&ack(-22, Some("too many")), &[Answer::Ack(22, Some("too many".to_owned()))]);
        check(&ack(-22, Some("\u{1b}[2J\n")), &[Answer::Ack(22, Some("\\u{1b}[2J\\n".to_owned()))]);
        check(&ack(i32::MIN, None), &[Answer::Ack(i32::MAX, None)]);
        check(&Request::command(20, 0, 7, 3).finished(), &[Answer::Message(&[])]);
        check(&Request::command(20, 0, 6, 3).finished(), &[]); // an answer to somebody else's question
        let both = [Request::command(20, 0, 6, 3).finished(), ack(-1, None)].concat();
        check(&both, &[Answer::Ack(1, None)]);
        check(&ack(-22, Some("too many"))[..30], &[]); // cut off
        check(&[0; 64], &[]); // a length of nothing does not hold the reader up
        check(&[], &[]);
    }

    #[test]
    fn what_is_put_together_is_taken_apart() {
        let mut request = Request::command(20, 1, 7, 3);
        request.text(2, "eth0");
        request.nest(3, |inner| {
            inner.attribute(1, &[1]);
            inner.attribute(2, &70_000u32.to_ne_bytes());
        });
        let bytes = request.finished();
        let found = answers(&bytes, 7);
        let [Answer::Message(body)] = found.as_slice() else { panic!("{found:?}") };
        let all: Vec<(u16, &[u8])> = attributes(body).collect();
        assert_eq!(all[0], (2, b"eth0\0".as_slice()));
        let inner: Vec<Option<u32>> = attributes(all[1].1).map(|(_, content)| as_number(content)).collect();
        assert_eq!(inner, [Some(1), Some(70_000)]);
    }

    proptest! {
        /// Whatever is received is taken apart without a panic and without an end that is never reached.
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..400), sequence in 0u32..3) {
            for answer in answers(&bytes, sequence) {
                if let Answer::Message(body) = answer {
                    for (_, content) in attributes(body) {
                        let _ = (as_number(content), as_text(content), attributes(content).count());
                    }
                }
            }
        }

        /// The same with a sound head and lengths that lie.
        #[test]
        fn lengths_that_lie_end(
            kind in 0u16..5, flags: u16, length in 0u32..200, body in prop::collection::vec(any::<u8>(), 0..150),
        ) {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(7u32.to_ne_bytes());
            bytes.extend(0u32.to_ne_bytes());
            bytes.extend(&body);
            for answer in answers(&bytes, 7) {
                if let Answer::Message(body) = answer {
                    prop_assert!(attributes(body).count() <= body.len() / ATTRIBUTE_HEAD);
                }
            }
        }
    }
}
