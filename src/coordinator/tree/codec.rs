//! The primitives of the tree's own formats: big-endian numbers, and byte strings behind a 32-bit
//! length. Decoding never reserves memory for more than what was received.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEncoding {
    /// A field reaches past the end.
    #[error("cut short")]
    Short,
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    TooLong(usize),
    /// A format of another version.
    #[error("version {0} is not supported")]
    Version(u8),
    /// A number that stands for nothing.
    #[error("{what} cannot be {value}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        value: i64,
    },
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
}

/// The length that stands for an absent byte string.
const ABSENT: u32 = u32::MAX;

/// Appends `bytes` behind their length. Longer ones than 4 GiB do not come in: frames are bounded.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("frames are bounded far below 4 GiB");
    out.put_u32(length);
    out.put_slice(bytes);
}

/// Appends `bytes`, or that there are none.
pub fn put_optional_bytes(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    match bytes {
        Some(bytes) => put_bytes(out, bytes),
        None => out.put_u32(ABSENT),
    }
}

/// Reads fields from the front of the bytes that were received.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
}

macro_rules! number {
    ($($name:ident: $type:ty),*) => {
        $(
            /// The next number.
            pub fn $name(&mut self) -> Result<$type, BadEncoding> {
                self.array().map(<$type>::from_be_bytes)
            }
        )*
    };
}

impl Reader {
    /// Reads `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Reader { bytes }
    }

    number!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64);

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    /// The next `length` bytes, shared and not copied.
    pub fn take(&mut self, length: usize) -> Result<Bytes, BadEncoding> {
        if self.bytes.len() < length { Err(BadEncoding::Short) } else { Ok(self.bytes.split_to(length)) }
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BadEncoding> {
        let array = *self.bytes.first_chunk().ok_or(BadEncoding::Short)?;
        self.bytes.advance(N);
        Ok(array)
    }

    /// The next byte string.
    pub fn bytes(&mut self) -> Result<Bytes, BadEncoding> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// The next byte string, or that there is none.
    pub fn optional_bytes(&mut self) -> Result<Option<Bytes>, BadEncoding> {
        match self.u32()? {
            ABSENT => Ok(None),
            length => self.take(length as usize).map(Some),
        }
    }

    /// The next text.
    pub fn text(&mut self) -> Result<Arc<str>, BadEncoding> {
        let length = self.u32()? as usize;
        let bytes = self.bytes.get(..length).ok_or(BadEncoding::Short)?;
        let text = std::str::from_utf8(bytes).map(Arc::from).map_err(|_| BadEncoding::Text)?;
        self.bytes.advance(length);
        Ok(text)
    }

    /// The next list: its count, then as many items. An item takes at least a byte, so a count
    /// beyond what was received fails before memory does.
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, BadEncoding>,
    ) -> Result<Vec<T>, BadEncoding> {
        let count = self.u32()? as usize;
        if count > self.remaining() {
            return Err(BadEncoding::Short);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), BadEncoding> {
        if self.bytes.is_empty() { Ok(()) } else { Err(BadEncoding::TooLong(self.bytes.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_beyond_what_was_received_fails_before_any_item_is_read() {
        let list = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes)).list(Reader::u8);
        assert_eq!(list(&[0, 0, 0, 2, 8, 9]), Ok(vec![8, 9]));
        let mut reader = Reader::new(Bytes::from_static(&[0, 0, 0, 3, 8, 9]));
        let refused: Result<Vec<()>, _> = reader.list(|_| panic!("an item is read"));
        assert_eq!(refused, Err(BadEncoding::Short));
    }
}
