//! Kafka's `partition.metadata`, which ties a directory to its topic's id (KIP-516):
//!
//! ```text
//! version: 0
//! topic_id: AQIDBAUGBwgJCgsMDQ4PEA
//! ```
//!
//! The id is in base64 for URLs, without padding.

use crate::base::ids::TopicId;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ID_DIGITS: usize = 22;

/// The file's text.
#[must_use]
pub fn encode(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}\n", encode_id(topic_id))
}

/// Reads the file; none where it is not one.
#[must_use]
pub fn decode(text: &[u8]) -> Option<TopicId> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    let version = lines.next()?.strip_prefix("version:")?.trim();
    let id = lines.next()?.strip_prefix("topic_id:")?.trim();
    if version == "0" { decode_id(id) } else { None }
}

/// The id as Kafka prints it.
#[must_use]
pub fn encode_id(topic_id: TopicId) -> String {
    let bits = u128::from_be_bytes(topic_id.0);
    let digit = |at: usize| {
        let shift = 122 - 6 * at as i32;
        let value = if shift >= 0 { bits >> shift } else { bits << -shift };
        char::from(DIGITS[(value & 63) as usize])
    };
    (0..ID_DIGITS).map(digit).collect()
}

/// Reads an id as Kafka prints it.
#[must_use]
pub fn decode_id(text: &str) -> Option<TopicId> {
    if text.len() != ID_DIGITS {
        return None;
    }
    let mut bits: u128 = 0;
    for (at, byte) in text.bytes().enumerate() {
        let value = DIGITS.iter().position(|digit| *digit == byte)? as u128;
        bits = if at + 1 < ID_DIGITS { bits << 6 | value } else { bits << 2 | value >> 4 };
    }
    Some(TopicId(bits.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_kafkas_text() {
        let id = TopicId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(encode(id), "version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA\n");
        assert_eq!(decode(encode(id).as_bytes()), Some(id));
        assert_eq!(decode(b"version: 0\ntopic_id: AAAAAAAAAAAAA7SrBWaJ7g"), decode_id("AAAAAAAAAAAAA7SrBWaJ7g"));
        assert_eq!(decode_id("_-__-__-__-__-__-__-_w").map(encode_id).as_deref(), Some("_-__-__-__-__-__-__-_w"));
        for bad in ["", "version: 1\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA", "version: 0", "version: 0\ntopic_id: AQ"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
