//! The primitives of jute's binary archive.
//!
//! | type | bytes |
//! |------|-------|
//! | boolean | 1; anything but 0 is true |
//! | int, long | 4, 8, big-endian |
//! | buffer, ustring | int length, then as many bytes; length -1 stands for null |
//! | vector | int count, then the items; count -1 stands for null |
//! | record | its fields, one after the other |

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field reaches past the end of the frame.
    #[error("the record is cut short")]
    Short,
    /// A length below -1.
    #[error("a length of {0} bytes is impossible")]
    Length(i32),
    /// A text that must be there is null.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An operation that cannot be part of a multi.
    #[error("operation {0} cannot be part of a multi")]
    NotInMulti(i32),
    /// An operation that this codec does not know.
    #[error("operation {0} is not supported")]
    UnknownOperation(i32),
    /// A number that stands for nothing.
    #[error("{what} cannot be {value}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        value: i32,
    },
}

/// Reads fields from the front of a frame. Byte strings are slices of it, not copies.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    frame: Bytes,
}

impl Reader {
    pub(super) fn new(frame: Bytes) -> Self {
        Reader { frame }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if self.frame.len() < length { Err(DecodeError::Short) } else { Ok(self.frame.split_to(length)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = *self.frame.first_chunk().ok_or(DecodeError::Short)?;
        self.frame.advance(N);
        Ok(array)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, DecodeError> {
        self.array::<1>().map(|[byte]| byte != 0)
    }

    pub(super) fn int(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn buffer(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match self.int()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| DecodeError::Length(length))?).map(Some),
        }
    }

    /// A text. What is not UTF-8 is replaced as Java replaces it; the replacement character is
    /// not valid in a path, so such a path is refused where paths are judged.
    pub(super) fn text(&mut self, what: &'static str) -> Result<Arc<str>, DecodeError> {
        let length = match self.int()? {
            -1 => return Err(DecodeError::Missing(what)),
            length => usize::try_from(length).map_err(|_| DecodeError::Length(length))?,
        };
        let text = String::from_utf8_lossy(self.frame.get(..length).ok_or(DecodeError::Short)?).into();
        self.frame.advance(length);
        Ok(text)
    }

    /// A vector. Each item takes at least four bytes, so a count beyond that fails at once.
    pub(super) fn vector<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::try_from(self.int()?).unwrap_or(0);
        if count > self.frame.len() / 4 {
            return Err(DecodeError::Short);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// Appends fields of jute.
pub(super) trait PutJute: BufMut {
    fn put_boolean(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    fn put_buffer(&mut self, buffer: Option<&[u8]>) {
        match buffer {
            Some(bytes) => {
                self.put_i32(length(bytes.len()));
                self.put_slice(bytes);
            }
            None => self.put_i32(-1),
        }
    }

    fn put_text(&mut self, text: &str) {
        self.put_buffer(Some(text.as_bytes()));
    }

    fn put_texts(&mut self, texts: &[Arc<str>]) {
        self.put_i32(length(texts.len()));
        texts.iter().for_each(|text| self.put_text(text));
    }
}

impl PutJute for Vec<u8> {}

pub(super) fn length(length: usize) -> i32 {
    i32::try_from(length).expect("frames are bounded far below 2 GiB")
}
