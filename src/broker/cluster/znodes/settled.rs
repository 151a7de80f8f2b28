//! `/brokers/settled/N`, ours alone: the last incarnation of a broker whose losses the controller
//! has taken out of all partition states. Made without an incarnation before a broker first
//! registers, so that the controller can set it unconditionally.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, check_version, from_json, to_json};
use crate::base::ids::{BrokerEpoch, BrokerId};

/// The parent of all brokers' marks.
pub const PARENT: &str = "/brokers/settled";

const VERSION: i32 = 1;

/// The path of broker `broker`.
#[must_use]
pub fn path(broker: BrokerId) -> String {
    format!("{PARENT}/{broker}")
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    broker_epoch: Option<BrokerEpoch>,
}

/// The data for an incarnation, or for none yet.
#[must_use]
pub fn encode(broker_epoch: Option<BrokerEpoch>) -> Bytes {
    to_json(&Json { version: VERSION, broker_epoch })
}

/// The incarnation, if there is one.
pub fn decode(broker: BrokerId, data: &[u8]) -> Result<Option<BrokerEpoch>, BadZnode> {
    let path = path(broker);
    let json: Json = from_json(&path, data)?;
    check_version(&path, json.version, VERSION..=VERSION)?;
    Ok(json.broker_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_with_and_without_an_incarnation() {
        assert_eq!(&encode(Some(BrokerEpoch(7)))[..], br#"{"version":1,"broker_epoch":7}"#);
        for epoch in [None, Some(BrokerEpoch(1 << 40))] {
            assert_eq!(decode(BrokerId(1), &encode(epoch)), Ok(epoch));
        }
        assert_eq!(&*decode(BrokerId(1), b"7").expect_err("bad").path, "/brokers/settled/1");
    }
}
