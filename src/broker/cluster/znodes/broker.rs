//! `/brokers/ids/N`: a live broker. Ephemeral.
//!
//! Version 5 of Kafka's JSON, with fields of ours: `broker_epoch` is the broker's incarnation, which it
//! took before (see [`super::broker_epoch`]); `last_shutdown` and `previous_broker_epochs` say which
//! incarnations' logs it continues and what is left of them (KIP-966); `written_since_broker_epoch`,
//! which of them lost nothing that was merely written.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, check_version, from_json, to_json};
use crate::base::address::Address;
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::controller::metadata::Endpoint;
use crate::controller::{LastShutdown, Lineage, Registration};

/// The parent of all registrations.
pub const PARENT: &str = "/brokers/ids";

const VERSION: i32 = 5;
const VERSION_MIN: i32 = 2;
/// The one security protocol that is spoken.
const PLAINTEXT: &str = "PLAINTEXT";

/// The path of broker `broker`.
#[must_use]
pub fn path(broker: BrokerId) -> String {
    format!("{PARENT}/{broker}")
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    #[serde(default)]
    host: Option<Arc<str>>,
    #[serde(default = "none")]
    port: i32,
    #[serde(default = "none")]
    jmx_port: i32,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    listener_security_protocol_map: BTreeMap<String, String>,
    #[serde(default)]
    features: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rack: Option<Arc<str>>,
    #[serde(default = "unclean")]
    last_shutdown: LastShutdown,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broker_epoch: Option<BrokerEpoch>,
    #[serde(default)]
    previous_broker_epochs: Vec<BrokerEpoch>,
    #[serde(default)]
    written_since_broker_epoch: Option<BrokerEpoch>,
}

impl Json {
    /// A broker that does not say since when it kept what was written vouches for its last incarnation.
    fn previous(&self) -> Option<Lineage> {
        let last = *self.previous_broker_epochs.last()?;
        Lineage::from_parts(self.previous_broker_epochs.clone(), self.written_since_broker_epoch.unwrap_or(last))
    }
}

fn none() -> i32 {
    -1
}

/// A broker that does not say is not trusted with what it may have lost.
fn unclean() -> LastShutdown {
    LastShutdown::Unclean
}

/// The data for `registration`.
#[must_use]
pub fn encode(registration: &Registration, timestamp_ms: i64) -> Bytes {
    let (first, previous) = (registration.endpoints.first(), registration.previous.as_ref());
    let address = |endpoint: &Endpoint| Address::new(endpoint.host.clone(), endpoint.port);
    let url = |endpoint: &Endpoint| format!("{}://{}", endpoint.listener, address(endpoint));
    let protocol = |endpoint: &Endpoint| (endpoint.listener.to_string(), PLAINTEXT.to_owned());
    to_json(&Json {
        version: VERSION,
        host: first.map(|endpoint| endpoint.host.clone()),
        port: first.map_or(none(), |endpoint| i32::from(endpoint.port)),
        jmx_port: none(),
        timestamp: timestamp_ms.to_string(),
        endpoints: registration.endpoints.iter().map(url).collect(),
        listener_security_protocol_map: registration.endpoints.iter().map(protocol).collect(),
        features: serde_json::Map::new(),
        rack: registration.rack.clone(),
        last_shutdown: registration.shutdown,
        broker_epoch: Some(registration.broker_epoch),
        previous_broker_epochs: previous.map_or_else(Vec::new, |line| line.incarnations().to_vec()),
        written_since_broker_epoch: previous.map(Lineage::written_since),
    })
}

/// The registration of `broker` that was created at `created`, which stands for the incarnation of one that
/// names none (KIP-380).
pub fn decode(broker: BrokerId, created: BrokerEpoch, data: &[u8]) -> Result<Registration, BadZnode> {
    let path = path(broker);
    let json: Json = from_json(&path, data)?;
    check_version(&path, json.version, VERSION_MIN..=VERSION)?;
    if json.endpoints.is_empty() {
        return Err(BadZnode::new(&path, "endpoints are missing"));
    }
    let endpoints = json.endpoints.iter().map(|url| endpoint(url).ok_or_else(|| bad_endpoint(&path, url)));
    Ok(Registration {
        broker,
        broker_epoch: json.broker_epoch.unwrap_or(created),
        previous: json.previous(),
        shutdown: json.last_shutdown,
        endpoints: endpoints.collect::<Result<_, _>>()?,
        rack: json.rack,
    })
}

fn bad_endpoint(path: &str, url: &str) -> BadZnode {
    BadZnode::new(path, format!("'{url}' is not LISTENER://HOST:PORT"))
}

fn endpoint(url: &str) -> Option<Endpoint> {
    let (listener, address) = url.split_once("://")?;
    let Address { host, port } = address.parse().ok()?;
    Some(Endpoint { listener: listener.into(), host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        Registration {
            broker: BrokerId(1),
            broker_epoch: BrokerEpoch(77),
            previous: Lineage::from_parts([9, 40, 42].map(BrokerEpoch).to_vec(), BrokerEpoch(40)),
            shutdown: LastShutdown::Clean,
            endpoints: vec![Endpoint { listener: "PLAINTEXT".into(), host: "b1".into(), port: 9092 }],
            rack: None,
        }
    }

    #[test]
    fn a_registration_looks_as_kafkas_does_and_reads_back() {
        let data = encode(&registration(), 1_700_000_000_000);
        let text = r#"{"version":5,"host":"b1","port":9092,"jmx_port":-1,"timestamp":"1700000000000","endpoints":["PLAINTEXT://b1:9092"],"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"features":{},"last_shutdown":"clean","broker_epoch":77,"previous_broker_epochs":[9,40,42],"written_since_broker_epoch":40}"#;
        assert_eq!(std::str::from_utf8(&data).expect("text"), text);
        assert_eq!(decode(BrokerId(1), BrokerEpoch(80), &data), Ok(registration()));
    }

    #[test]
    fn a_broker_that_does_not_tell_of_its_shutdown_counts_as_unclean() {
        let kafkas = br#"{"features":{},"listener_security_protocol_map":{"A":"PLAINTEXT"},"endpoints":["A://h:1"],"jmx_port":9,"port":1,"host":"h","version":5,"timestamp":"1","rack":"r"}"#;
        let read = decode(BrokerId(3), BrokerEpoch(8), kafkas).expect("reads");
        assert_eq!(read.broker_epoch, BrokerEpoch(8));
        assert_eq!((read.shutdown, read.previous, read.rack.as_deref()), (LastShutdown::Unclean, None, Some("r")));
    }

    #[test]
    fn bad_data_is_named_with_its_path() {
        for data in [
            &b""[..],
            b"{}",
            b"[1]",
            br#"{"version":99}"#,
            br#"{"version":5}"#,
            br#"{"version":5,"endpoints":["nonsense"]}"#,
        ] {
            let error = decode(BrokerId(3), BrokerEpoch(8), data).expect_err("bad");
            assert_eq!(&*error.path, "/brokers/ids/3");
        }
    }
}
