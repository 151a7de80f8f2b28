//! Hands out producer ids from blocks that are taken by a conditional set (Settled 14). Two brokers
//! never hold the same block; what a broker does not hand out before it ends is lost, and nobody
//! misses it.

use std::ops::Range;

use super::plane::{MESSAGE_TIMEOUT, Plane};
use super::znodes::{BadZnode, producer_ids as znode};
use crate::base::ids::ProducerId;
use crate::client::coordinator::CoordinatorError;
use crate::message;
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::messages::{InitProducerIdRequest, InitProducerIdResponse};

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    #[error(transparent)]
    Znode(#[from] BadZnode),
}

/// Answers InitProducerId. An idempotent producer gets a new id at epoch 0, also where it asks for
/// its epoch to be raised (KIP-360): only a transactional id makes an epoch more than a new id.
pub async fn init<R: Runtime>(plane: &Plane<R>, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| {
        message!(InitProducerIdResponse { error_code: error.to_wire(), producer_id: -1, producer_epoch: -1 })
    };
    if request.transactional_id.is_some() {
        // No transaction coordinator is there to be found, nor will one be in this version.
        return refused(ErrorCode::InvalidRequest);
    }
    if (request.producer_id < 0) != (request.producer_epoch < 0) {
        return refused(ErrorCode::InvalidRequest);
    }
    match plane.within(MESSAGE_TIMEOUT, next(plane)).await {
        Some(ProducerId(producer_id)) => message!(InitProducerIdResponse { producer_id, producer_epoch: 0 }),
        // Retriable, and true: the coordinators that keep the blocks cannot be reached.
        None => refused(ErrorCode::CoordinatorNotAvailable),
    }
}

/// The next id. One caller at a time takes a block; the others wait for theirs.
async fn next<R: Runtime>(plane: &Plane<R>) -> ProducerId {
    let mut block = plane.producer_ids.lock().await;
    loop {
        if let Some(id) = block.next() {
            return ProducerId(id);
        }
        match take_block(plane).await {
            Ok(taken) => *block = taken,
            Err(error) => {
                tracing::info!(%error, "no block of producer ids was taken");
                plane.pause().await;
            }
        }
    }
}

/// A set whose outcome is unknown may have taken a block, which is then nobody's.
async fn take_block<R: Runtime>(plane: &Plane<R>) -> Result<Range<i64>, Failed> {
    let client = plane.session.borrow().clone().ok_or(CoordinatorError::NotSent)?;
    let (data, stat) = client.get_data(znode::PATH, false).await?;
    let block = znode::next_block(&data)?;
    client.set_data(znode::PATH, znode::encode(plane.own(), &block), Some(stat.version)).await?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Node;
    use super::*;
    use crate::base::znode::ErrorCode as Refused;

    fn init_of(node: &Node, producer_id: i64, producer_epoch: i16) -> (i64, ErrorCode) {
        let request = message!(InitProducerIdRequest { transactional_id: None, producer_id, producer_epoch });
        let response = node.world.run(init(&node.plane, &request));
        (response.producer_id, ErrorCode::from_wire(response.error_code))
    }

    #[test]
    fn a_producer_names_both_its_id_and_its_epoch_or_neither() {
        let node = Node::new();
        *node.plane.producer_ids.try_lock().expect("nobody holds it") = 40..50;
        for (id, epoch) in [(0, 0), (7, 3), (-1, -1)] {
            assert_eq!(init_of(&node, id, epoch).1, ErrorCode::None, "{id} {epoch}");
        }
        for (id, epoch) in [(0, -1), (-1, 0)] {
            assert_eq!(init_of(&node, id, epoch), (-1, ErrorCode::InvalidRequest), "{id} {epoch}");
        }
    }

    #[test]
    fn whoever_was_too_slow_for_a_block_pauses_and_takes_the_next_one() {
        let node = Node::new();
        let ensemble = node.ensemble();
        ensemble.put(znode::PATH, "", 0);
        ensemble.refuse_once("set", Refused::BadVersion);
        node.begin_session();
        assert_eq!(init_of(&node, -1, -1), (0, ErrorCode::None));
        assert_eq!(node.pauses(), 1);
    }
}
