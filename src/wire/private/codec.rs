//! Fixed-width, big-endian reading and writing for messages of our own.
//!
//! A [`Reader`] never reserves more than the bytes that it holds can fill: a count is checked
//! against what remains before anything is allocated for it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::VERSIONS;
use crate::wire::kafka::request::Malformed;

/// Appends values.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    /// Appends to `buffer`.
    pub fn new(buffer: &'a mut BytesMut) -> Self {
        Writer { buffer }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.put_u8(value);
        self
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) -> &mut Self {
        self.buffer.put_i16(value);
        self
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.buffer.put_i32(value);
        self
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.buffer.put_i64(value);
        self
    }

    /// Bytes of a length that both sides know.
    pub fn fixed(&mut self, value: &[u8]) -> &mut Self {
        self.buffer.put_slice(value);
        self
    }

    /// A four-byte count, and the elements through `write`. More than `u32::MAX` elements cannot
    /// be: they would not fit into a frame.
    pub fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Writer<'_>, &T)) -> &mut Self {
        self.count(values.len());
        for value in values {
            write(self, value);
        }
        self
    }

    /// A four-byte length and the bytes.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.count(value.len());
        self.fixed(value)
    }

    /// A four-byte length and the text in UTF-8.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    fn count(&mut self, count: usize) {
        assert!(count <= u32::MAX as usize, "{count} elements cannot be in one frame");
        self.buffer.put_u32(count as u32);
    }
}

/// Takes values from the front of a body.
#[derive(Debug)]
pub struct Reader {
    what: &'static str,
    body: Bytes,
}

impl Reader {
    /// Reads `body`, which is called `what` in errors, if its `version` is one of ours.
    pub fn new(what: &'static str, version: i16, body: Bytes) -> Result<Self, Malformed> {
        let reader = Reader { what, body };
        if VERSIONS.contains(version) { Ok(reader) } else { Err(reader.error(format!("unknown version {version}"))) }
    }

    /// An error about this body.
    #[must_use]
    pub fn error(&self, reason: String) -> Malformed {
        Malformed { what: self.what, reason }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.body.len()
    }

    fn need(&self, bytes: usize) -> Result<(), Malformed> {
        if self.body.len() >= bytes {
            return Ok(());
        }
        Err(self.error(format!("{bytes} bytes needed, {} left", self.body.len())))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.body.get_u8())
    }

    /// Two bytes.
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.need(2)?;
        Ok(self.body.get_i16())
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.need(4)?;
        Ok(self.body.get_i32())
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.need(8)?;
        Ok(self.body.get_i64())
    }

    /// Bytes of a length that both sides know.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.need(N)?;
        let mut value = [0; N];
        self.body.copy_to_slice(&mut value);
        Ok(value)
    }

    /// A count, and that many elements through `read`, each of which takes at least
    /// `element_bytes_min` (1 or more).
    pub fn list<T>(
        &mut self,
        element_bytes_min: usize,
        mut read: impl FnMut(&mut Reader) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        assert!(element_bytes_min > 0, "an element that takes no bytes has no bound");
        let count = self.count()?;
        if count > self.body.len() / element_bytes_min {
            return Err(self.error(format!("{count} elements announced in {} bytes", self.body.len())));
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// A length and that many bytes, as a slice of the body.
    pub fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.count()?;
        self.need(length)?;
        Ok(self.body.split_to(length))
    }

    /// A length and a text in UTF-8.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|error| self.error(error.to_string()))
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        self.need(4)?;
        Ok(self.body.get_u32() as usize)
    }

    /// Ends reading; bytes that are left are an error.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.body.is_empty() {
            return Ok(());
        }
        Err(self.error(format!("{} bytes left over", self.body.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut buffer = BytesMut::new();
        let mut writer = Writer::new(&mut buffer);
        writer.u8(1).i16(-2).i32(3).i64(-4).fixed(&[5; 3]).text("wörd").list(&[6, 7], |writer, value| {
            writer.i32(*value);
        });
        let mut reader = Reader::new("test", 0, buffer.freeze()).expect("version");
        assert_eq!((reader.u8(), reader.i16(), reader.i32(), reader.i64()), (Ok(1), Ok(-2), Ok(3), Ok(-4)));
        assert_eq!(reader.fixed::<3>(), Ok([5; 3]));
        assert_eq!(reader.text().as_deref(), Ok("wörd"));
        assert_eq!(reader.list(4, Reader::i32), Ok(vec![6, 7]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn an_announced_count_is_held_against_the_bytes_that_are_there() {
        let body = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        let mut reader = Reader::new("test", 0, body.clone()).expect("version");
        assert!(reader.list(4, Reader::i32).is_err());
        assert!(Reader::new("test", 0, body.clone()).expect("version").bytes().is_err());
        assert!(Reader::new("test", 0, body).expect("version").finish().is_err());
        assert!(Reader::new("test", 1, Bytes::new()).is_err(), "a version of the future");
    }
}
