//! `/latest_producer_id_block`: the block of producer ids that was taken last. A broker takes the
//! next one by a set on the version that it has read.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, check_version, from_json, to_json};
use crate::base::ids::BrokerId;

/// The znode.
pub const PATH: &str = "/latest_producer_id_block";
/// How many ids a broker takes at once.
pub const BLOCK_IDS: i64 = 1000;

const VERSION: i32 = 1;

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    broker: i32,
    /// Numbers as text, as Kafka writes them.
    block_start: String,
    block_end: String,
}

/// The data after `broker` took `block`, whose last id Kafka writes, not the one behind it.
#[must_use]
pub fn encode(broker: BrokerId, block: &Range<i64>) -> Bytes {
    to_json(&Json {
        version: VERSION,
        broker: broker.0,
        block_start: block.start.to_string(),
        block_end: (block.end - 1).to_string(),
    })
}

/// The block after the one that `data` tells of; the first one if there is no data.
pub fn next_block(data: &[u8]) -> Result<Range<i64>, BadZnode> {
    let start = if data.is_empty() { 0 } else { end_of(data)? };
    let end = start.checked_add(BLOCK_IDS).ok_or_else(|| BadZnode::new(PATH, "there are no more ids"))?;
    Ok(start..end)
}

fn end_of(data: &[u8]) -> Result<i64, BadZnode> {
    let json: Json = from_json(PATH, data)?;
    check_version(PATH, json.version, VERSION..=VERSION)?;
    let last: i64 = json.block_end.parse().map_err(|error| BadZnode::new(PATH, error))?;
    let end = last.checked_add(1).filter(|end| *end > 0);
    end.ok_or_else(|| BadZnode::new(PATH, format!("block_end {last} is out of range")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_without_gap_or_overlap() {
        let first = next_block(b"").expect("the first");
        assert_eq!(first, 0..1000);
        let data = encode(BrokerId(2), &first);
        assert_eq!(&data[..], br#"{"version":1,"broker":2,"block_start":"0","block_end":"999"}"#);
        assert_eq!(next_block(&data), Ok(1000..2000));
    }

    #[test]
    fn a_block_that_cannot_be_is_refused() {
        for end in ["x", "-2", "9223372036854775807", "9223372036854775000"] {
            let data = format!(r#"{{"version":1,"broker":2,"block_start":"0","block_end":"{end}"}}"#);
            assert_eq!(&*next_block(data.as_bytes()).expect_err(end).path, PATH);
        }
    }
}
