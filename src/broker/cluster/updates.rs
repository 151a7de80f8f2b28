//! Takes the controller's metadata updates: decodes them, applies them to the cache and then to the
//! partitions, one after the other in the order of arrival.
//!
//! A payload is one byte of version, 0, and JSON: a list of changes, or the whole metadata.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::MetadataSink;
use crate::base::ids::{BrokerEpoch, ControllerEpoch};
use crate::broker::shared::Shared;
use crate::controller::metadata::{Applied, MetadataContent, MetadataUpdate};
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::private::{MetadataPayload, UpdateMetadata, UpdateMetadataResult};

const PAYLOAD_VERSION: u8 = 0;

/// An update and who waits for what became of it.
pub struct Update {
    pub update: MetadataUpdate,
    pub reply: oneshot::Sender<UpdateMetadataResult>,
}

/// A payload that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum BadPayload {
    /// An empty payload, or one of another version.
    #[error("the payload has version {0:?} instead of {PAYLOAD_VERSION}")]
    Version(Option<u8>),
    /// Its JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A sequence below 0.
    #[error("sequence {0} is below 0")]
    Sequence(i64),
}

/// As it is sent.
#[must_use]
pub fn encode(update: &MetadataUpdate) -> UpdateMetadata {
    UpdateMetadata {
        controller: update.controller,
        controller_epoch: update.controller_epoch,
        broker_epoch: update.broker_epoch,
        sequence: i64::try_from(update.sequence).expect("nobody sends 2^63 updates"),
        payload: match &update.content {
            MetadataContent::Delta(changes) => MetadataPayload::Delta(put(changes)),
            MetadataContent::Snapshot(metadata) => MetadataPayload::Snapshot(put(metadata)),
        },
    }
}

fn put(value: &impl Serialize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(PAYLOAD_VERSION);
    serde_json::to_writer((&mut bytes).writer(), value).expect("metadata has keys that are text or numbers");
    bytes.freeze()
}

/// As it was meant.
pub fn decode(message: &UpdateMetadata) -> Result<MetadataUpdate, BadPayload> {
    Ok(MetadataUpdate {
        controller: message.controller,
        controller_epoch: message.controller_epoch,
        broker_epoch: message.broker_epoch,
        sequence: u64::try_from(message.sequence).map_err(|_| BadPayload::Sequence(message.sequence))?,
        content: match &message.payload {
            MetadataPayload::Delta(bytes) => MetadataContent::Delta(Arc::new(take(bytes)?)),
            MetadataPayload::Snapshot(bytes) => MetadataContent::Snapshot(Arc::new(take(bytes)?)),
        },
    })
}

fn take<T: DeserializeOwned>(payload: &[u8]) -> Result<T, BadPayload> {
    match payload.split_first() {
        Some((&PAYLOAD_VERSION, json)) => Ok(serde_json::from_slice(json)?),
        other => Err(BadPayload::Version(other.map(|(version, _)| *version))),
    }
}

/// Applies updates as long as anyone can send them.
pub async fn apply_all<R: Runtime, P: MetadataSink<R>>(
    shared: Arc<Shared<R>>,
    partitions: P,
    mut updates: mpsc::Receiver<Update>,
) {
    let mut next_sequence = 0;
    while let Some(Update { update, reply }) = updates.recv().await {
        let own = *shared.broker_epoch.borrow();
        let applied = match own {
            Some(own) => shared.metadata().apply(own, &update),
            // The registration stands, but its answer has not come yet.
            None => Applied::Stale,
        };
        if matches!(applied, Applied::Replaced(_) | Applied::Changed(_)) {
            partitions.apply(&shared, &applied).await;
            shared.metadata_changed.send_modify(|changes| *changes += 1);
            next_sequence = i64::try_from(update.sequence).unwrap_or(i64::MAX).saturating_add(1);
        }
        let known = shared.metadata().controller().map_or(ControllerEpoch(0), |(_, epoch)| epoch);
        // The sender may have gone.
        let _ = reply.send(result(own, known, next_sequence, &update, &applied));
    }
}

/// What the controller is told.
fn result(
    own: Option<BrokerEpoch>,
    known: ControllerEpoch,
    next_sequence: i64,
    update: &MetadataUpdate,
    applied: &Applied,
) -> UpdateMetadataResult {
    let error = match applied {
        Applied::Gap => ErrorCode::InvalidUpdateVersion,
        Applied::Stale if own != Some(update.broker_epoch) => ErrorCode::StaleBrokerEpoch,
        Applied::Stale if update.controller_epoch < known => ErrorCode::StaleControllerEpoch,
        // One that was applied before is not applied again, but it is applied.
        Applied::Stale | Applied::Replaced(_) | Applied::Changed(_) => ErrorCode::None,
    };
    UpdateMetadataResult { error, controller_epoch: known, next_sequence }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, Sink};
    use super::*;
    use crate::base::ids::{BrokerId, TopicId};
    use crate::controller::metadata::MetadataChange;
    use crate::runtime::Tasks;

    fn update(content: MetadataContent) -> MetadataUpdate {
        let (controller, controller_epoch) = (BrokerId(1), ControllerEpoch(2));
        MetadataUpdate { controller, controller_epoch, broker_epoch: BrokerEpoch(7), sequence: 3, content }
    }

    #[test]
    fn an_update_survives_the_wire() {
        let deleted = MetadataChange::TopicDeleted { topic: "t".into(), id: TopicId([3; 16]) };
        let contents = [MetadataContent::Delta(Arc::new(vec![deleted])), MetadataContent::Snapshot(Arc::default())];
        for sent in contents.map(update) {
            assert_eq!(decode(&encode(&sent)).expect("decodes"), sent);
        }
    }

    #[test]
    fn a_payload_of_another_version_or_a_damaged_one_is_refused() {
        let good = encode(&update(MetadataContent::Delta(Arc::default())));
        for bytes in [&b""[..], b"\x01[]", b"\x00", b"\x00{", b"\x00[7]"] {
            let payload = MetadataPayload::Delta(Bytes::copy_from_slice(bytes));
            assert!(decode(&UpdateMetadata { payload, ..good.clone() }).is_err());
        }
        assert!(decode(&UpdateMetadata { sequence: -1, ..good }).is_err());
    }

    #[test]
    fn the_controller_is_told_why_an_update_was_not_applied() {
        let update = update(MetadataContent::Delta(Arc::default()));
        let told = |own, known, applied| result(own, ControllerEpoch(known), 4, &update, &applied).error;
        let own = Some(BrokerEpoch(7));
        assert_eq!(told(own, 2, Applied::Gap), ErrorCode::InvalidUpdateVersion);
        assert_eq!(told(own, 3, Applied::Stale), ErrorCode::StaleControllerEpoch);
        assert_eq!(told(own, 2, Applied::Stale), ErrorCode::None, "it was applied before");
        for other in [None, Some(BrokerEpoch(8))] {
            assert_eq!(told(other, 2, Applied::Stale), ErrorCode::StaleBrokerEpoch);
        }
    }

    #[test]
    fn an_update_that_is_not_applied_does_not_reach_the_partitions() {
        let (node, sink) = (Node::new(), Sink::default());
        let (updates, waiting) = mpsc::channel(1);
        let _task = node.world.spawn("updates", apply_all(node.plane.shared.clone(), sink.clone(), waiting));
        let (reply, result) = oneshot::channel();
        let update = update(MetadataContent::Snapshot(Arc::default()));
        assert!(updates.try_send(Update { update, reply }).is_ok());
        let result = node.world.run(result).expect("answered");
        assert_eq!((result.error, result.next_sequence), (ErrorCode::StaleBrokerEpoch, 0));
        assert!(sink.told().is_empty() && *node.plane.shared.metadata_changed.borrow() == 0);
    }
}
