//! `/controller`, the ephemeral of whoever is elected, and `/controller_epoch`, which counts the
//! elections. The *version* of the latter's znode is what fences the writes of older controllers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, check_version, from_json, to_json};
use crate::base::ids::{BrokerId, ControllerEpoch};

/// The ephemeral of the elected broker.
pub const PATH: &str = "/controller";
/// The number of the last election, as decimal text.
pub const EPOCH_PATH: &str = "/controller_epoch";

const VERSIONS: std::ops::RangeInclusive<i32> = 1..=2;

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    brokerid: i32,
    #[serde(default)]
    timestamp: String,
}

/// The data of `/controller`.
#[must_use]
pub fn encode(broker: BrokerId, timestamp_ms: i64) -> Bytes {
    to_json(&Json { version: *VERSIONS.start(), brokerid: broker.0, timestamp: timestamp_ms.to_string() })
}

/// Who `/controller` says is elected.
pub fn decode(data: &[u8]) -> Result<BrokerId, BadZnode> {
    let json: Json = from_json(PATH, data)?;
    check_version(PATH, json.version, VERSIONS)?;
    Ok(BrokerId(json.brokerid))
}

/// The data of `/controller_epoch`.
#[must_use]
pub fn encode_epoch(epoch: ControllerEpoch) -> Bytes {
    epoch.to_string().into()
}

/// The epoch that `/controller_epoch` says.
pub fn decode_epoch(data: &[u8]) -> Result<ControllerEpoch, BadZnode> {
    let text = std::str::from_utf8(data).map_err(|error| BadZnode::new(EPOCH_PATH, error))?;
    match text.parse() {
        // It can be raised by one.
        Ok(epoch) if (0..i32::MAX).contains(&epoch) => Ok(ControllerEpoch(epoch)),
        Ok(epoch) => Err(BadZnode::new(EPOCH_PATH, format!("epoch {epoch} is out of range"))),
        Err(error) => Err(BadZnode::new(EPOCH_PATH, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_election_looks_as_kafkas_does() {
        let data = encode(BrokerId(2), 5);
        assert_eq!(&data[..], br#"{"version":1,"brokerid":2,"timestamp":"5"}"#);
        assert_eq!(decode(&data), Ok(BrokerId(2)));
        let kraft = br#"{"version":2,"brokerid":7,"timestamp":"5","kraftControllerEpoch":-1}"#;
        assert_eq!(decode(kraft), Ok(BrokerId(7)));
        for other in [0, 3] {
            assert!(decode(format!(r#"{{"version":{other},"brokerid":7}}"#).as_bytes()).is_err(), "version {other}");
        }
    }

    #[test]
    fn the_epoch_is_decimal_text_that_can_be_raised() {
        assert_eq!(&encode_epoch(ControllerEpoch(12))[..], b"12");
        assert_eq!(decode_epoch(b"12"), Ok(ControllerEpoch(12)));
        for bad in [&b""[..], b"x", b"-1", b"2147483647", b"99999999999", b"\xff"] {
            assert_eq!(&*decode_epoch(bad).expect_err("bad").path, EPOCH_PATH);
        }
    }
}
