//! Writing and reading the fields of a message of fixed size, in order.
//!
//! The sizes are constants of the format, so running past the end is a mistake of this crate, not of a sender: it panics,
//! and the tests put every message through both.

use crate::Malformed;

/// The fields still to be written; what is not written stays zero.
pub(crate) struct Out<'b> {
    rest: &'b mut [u8],
}

impl<'b> Out<'b> {
    /// Over a buffer of zeros.
    pub fn over(buffer: &'b mut [u8]) -> Self {
        Self { rest: buffer }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let (here, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.rest = rest;
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// A flag and the number; zero where there is none.
    pub fn maybe_u64(&mut self, value: Option<u64>) {
        self.flag(value.is_some());
        self.u64(value.unwrap_or_default());
    }
}

/// The fields still to be read.
pub(crate) struct In<'b> {
    rest: &'b [u8],
}

impl<'b> In<'b> {
    pub fn over(message: &'b [u8]) -> Self {
        Self { rest: message }
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (here, rest) = self.rest.split_first_chunk().expect("a message is as long as its fields");
        self.rest = rest;
        *here
    }

    pub fn u8(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    pub fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.u8() {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Field(field)),
        }
    }

    pub fn maybe_u64(&mut self, field: &'static str) -> Result<Option<u64>, Malformed> {
        match (self.flag(field)?, self.u64()) {
            (true, value) => Ok(Some(value)),
            (false, 0) => Ok(None),
            (false, _) => Err(Malformed::Field(field)),
        }
    }

    /// What follows the last field must be zero.
    pub fn end(self) -> Result<(), Malformed> {
        match self.rest.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(Malformed::NotZero),
        }
    }
}
