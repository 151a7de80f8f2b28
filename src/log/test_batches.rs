//! Batches for tests, made as a producer makes them.

use bytes::BytesMut;

use crate::base::batch_header::{HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC};
use crate::base::checksum::crc32c;

/// A batch to be made.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub records: u32,
    pub value_bytes: usize,
    pub base_timestamp: i64,
    pub fill: u8,
    pub producer: Option<(i64, i16, i32)>,
    pub attributes: i16,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe { records: 1, value_bytes: 10, base_timestamp: 1_000, fill: b'x', producer: None, attributes: 0 }
    }
}

fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
}

fn record(delta: i64, key: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, delta);
    put_varint(&mut body, delta);
    put_varint(&mut body, key.map_or(-1, |key| key.len() as i64));
    body.extend_from_slice(key.unwrap_or_default());
    put_varint(&mut body, value.len() as i64);
    body.extend_from_slice(value);
    put_varint(&mut body, 0);
    let mut bytes = Vec::new();
    put_varint(&mut bytes, body.len() as i64);
    bytes.extend(body);
    bytes
}

fn seal(recipe: &Recipe, records: &[u8]) -> BytesMut {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(records);
    let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
    let (id, epoch, sequence) = recipe.producer.unwrap_or((-1, -1, -1));
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = MAGIC;
    bytes[21..23].copy_from_slice(&recipe.attributes.to_be_bytes());
    bytes[23..27].copy_from_slice(&(recipe.records as i32 - 1).to_be_bytes());
    bytes[27..35].copy_from_slice(&recipe.base_timestamp.to_be_bytes());
    let max_timestamp = recipe.base_timestamp + i64::from(recipe.records) - 1;
    bytes[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    bytes[43..51].copy_from_slice(&id.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    bytes[57..61].copy_from_slice(&recipe.records.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    BytesMut::from(&bytes[..])
}

impl Recipe {
    /// The batch; its records' timestamps rise by one.
    pub fn make(&self) -> BytesMut {
        let value = vec![self.fill; self.value_bytes];
        let records: Vec<u8> = (0..self.records).flat_map(|delta| record(i64::from(delta), None, &value)).collect();
        seal(self, &records)
    }
}

/// An end-of-transaction marker.
pub fn marker(producer: (i64, i16), committed: bool, coordinator_epoch: i32) -> BytesMut {
    let recipe = Recipe { producer: Some((producer.0, producer.1, -1)), attributes: 0x30, ..Recipe::default() };
    let key = [0, 0, 0, u8::from(committed)];
    let value = [&[0, 0][..], &coordinator_epoch.to_be_bytes()].concat();
    seal(&recipe, &record(0, Some(&key), &value))
}
