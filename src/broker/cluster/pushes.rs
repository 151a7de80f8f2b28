//! The line of updates to one incarnation of one broker: in order, or not at all.
//!
//! One update is on its way at a time. After one that was not applied, the line is emptied and takes
//! nothing but a snapshot, for which the controller is asked after a pause. A snapshot supersedes all
//! that waits before it, so a slow broker costs a bounded line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::controller::Command;
use super::plane::Plane;
use super::updates;
use crate::base::address::Address;
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::broker::shared::lock;
use crate::controller::metadata::{MetadataContent, MetadataUpdate};
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::private::{PrivateRequest, PrivateResponse};

/// Deltas that wait for one broker; one that has missed more gets a snapshot.
pub const UPDATES_PER_LINE_MAX: usize = 1024;
/// The pause after the first failure; doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// What waits in a line.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<MetadataUpdate>,
    /// Something was lost: deltas are of no use before the next snapshot.
    wants_snapshot: bool,
}

impl Queue {
    fn push(&mut self, update: MetadataUpdate) {
        let is_snapshot = matches!(update.content, MetadataContent::Snapshot(_));
        if is_snapshot {
            self.waiting.clear();
            self.wants_snapshot = false;
        }
        if self.waiting.len() >= UPDATES_PER_LINE_MAX {
            self.lose();
        } else if !self.wants_snapshot {
            self.waiting.push_back(update);
        }
    }

    fn lose(&mut self) {
        self.waiting.clear();
        self.wants_snapshot = true;
    }
}

/// What is to be done next.
enum Next {
    Send(MetadataUpdate),
    AskForSnapshot,
    Wait,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Shared {
    fn next(&self, asked: bool) -> Next {
        let mut queue = lock(&self.queue);
        match queue.waiting.pop_front() {
            Some(update) => Next::Send(update),
            None if queue.wants_snapshot && !asked => Next::AskForSnapshot,
            None => Next::Wait,
        }
    }
}

/// A line and the task that empties it. Dropping it ends both.
pub struct Line<R: Runtime> {
    broker_epoch: BrokerEpoch,
    address: Address,
    shared: Arc<Shared>,
    _task: R::Task,
}

impl<R: Runtime> Line<R> {
    /// An empty line to an incarnation of `broker`.
    pub fn start(plane: Arc<Plane<R>>, broker: BrokerId, broker_epoch: BrokerEpoch, address: Address) -> Self {
        let shared = Arc::<Shared>::default();
        let sender = Sender { broker, broker_epoch, address: address.clone(), shared: shared.clone() };
        let task = plane.shared.runtime.clone().spawn("metadata-push", sender.run(plane));
        Line { broker_epoch, address, shared, _task: task }
    }

    /// Whom it is for.
    pub fn broker_epoch(&self) -> BrokerEpoch {
        self.broker_epoch
    }

    /// Where that is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Puts an update at the end.
    pub fn push(&self, update: MetadataUpdate) {
        lock(&self.shared.queue).push(update);
        self.shared.changed.notify_one();
    }
}

struct Sender {
    broker: BrokerId,
    broker_epoch: BrokerEpoch,
    address: Address,
    shared: Arc<Shared>,
}

impl Sender {
    async fn run<R: Runtime>(self, plane: Arc<Plane<R>>) {
        let (mut failures, mut asked) = (0_u32, false);
        loop {
            match self.shared.next(asked) {
                Next::Wait => self.shared.changed.notified().await,
                Next::AskForSnapshot => {
                    let longest = RETRY_FIRST.saturating_mul(1 << failures.min(10)).min(RETRY_LONGEST);
                    let pause = plane.shared.runtime.random_duration("metadata-push-backoff", longest / 2, longest);
                    plane.shared.runtime.sleep(pause).await;
                    let (broker, broker_epoch) = (self.broker, self.broker_epoch);
                    // The controller's task is there as long as this one.
                    let _ = plane.controller.send(Command::SnapshotRequested { broker, broker_epoch }).await;
                    asked = true;
                }
                Next::Send(update) => {
                    asked = false;
                    if self.deliver(&plane, update).await {
                        failures = 0;
                    } else {
                        failures += 1;
                        lock(&self.shared.queue).lose();
                    }
                }
            }
        }
    }

    /// Whether the broker has applied it.
    async fn deliver<R: Runtime>(&self, plane: &Plane<R>, update: MetadataUpdate) -> bool {
        let result = if self.broker == plane.own() {
            plane.update(update).await
        } else {
            let message = PrivateRequest::UpdateMetadata(updates::encode(&update));
            match plane.tell(&self.address, message).await {
                Ok(PrivateResponse::UpdateMetadata(result)) => Some(result),
                Ok(_) => None,
                Err(error) => {
                    tracing::debug!(broker = %self.broker, %error, "a metadata update was not delivered");
                    None
                }
            }
        };
        result.is_some_and(|result| result.error == ErrorCode::None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, OWN, OWN_EPOCH, World};
    use super::super::updates::Update;
    use super::*;
    use crate::base::ids::ControllerEpoch;
    use crate::wire::private::UpdateMetadataResult;

    fn update(sequence: u64, snapshot: bool) -> MetadataUpdate {
        let content =
            if snapshot { MetadataContent::Snapshot(Arc::default()) } else { MetadataContent::Delta(Arc::default()) };
        let (controller, controller_epoch) = (BrokerId(1), ControllerEpoch(1));
        MetadataUpdate { controller, controller_epoch, broker_epoch: BrokerEpoch(1), sequence, content }
    }

    fn sequences(queue: &Queue) -> Vec<u64> {
        queue.waiting.iter().map(|update| update.sequence).collect()
    }

    #[test]
    fn a_snapshot_supersedes_what_waits() {
        let mut queue = Queue::default();
        (0..3).for_each(|sequence| queue.push(update(sequence, false)));
        queue.push(update(3, true));
        queue.push(update(4, false));
        assert_eq!(sequences(&queue), [3, 4]);
    }

    #[test]
    fn after_a_loss_only_a_snapshot_helps() {
        let mut queue = Queue::default();
        queue.push(update(0, true));
        queue.lose();
        queue.push(update(1, false));
        assert!(queue.waiting.is_empty() && queue.wants_snapshot);
        queue.push(update(2, true));
        assert_eq!(sequences(&queue), [2]);
    }

    #[test]
    fn a_line_is_bounded() {
        let mut queue = Queue::default();
        for sequence in 0..=UPDATES_PER_LINE_MAX as u64 {
            queue.push(update(sequence, false));
        }
        assert!(queue.waiting.is_empty() && queue.wants_snapshot);
    }

    #[test]
    fn a_snapshot_is_asked_for_once_and_only_after_a_loss() {
        let shared = Shared::default();
        assert!(matches!(shared.next(false), Next::Wait), "nothing was lost");
        lock(&shared.queue).lose();
        assert!(matches!(shared.next(false), Next::AskForSnapshot));
        assert!(matches!(shared.next(true), Next::Wait), "it was asked for already");
    }

    fn line(node: &Node) -> Line<World> {
        Line::start(node.plane.clone(), OWN, OWN_EPOCH, node.plane.advertised.clone())
    }

    /// Whose snapshot is asked for next.
    async fn asked_for(node: &mut Node) -> (BrokerId, BrokerEpoch) {
        match node.commands.recv().await.expect("asked") {
            Command::SnapshotRequested { broker, broker_epoch } => (broker, broker_epoch),
            _ => panic!("nothing else is said to the controller"),
        }
    }

    #[test]
    fn each_update_that_is_not_applied_makes_the_line_ask_for_a_snapshot() {
        let mut node = Node::new();
        let (world, line) = (node.world.clone(), line(&node));
        world.run(async {
            for sequence in 0..3 {
                line.push(update(sequence, true));
                let Update { update, reply } = node.updates.recv().await.expect("delivered");
                assert_eq!(update.sequence, sequence);
                let (error, controller_epoch) = (ErrorCode::InvalidUpdateVersion, ControllerEpoch(1));
                reply.send(UpdateMetadataResult { error, controller_epoch, next_sequence: 0 }).expect("waits");
                assert_eq!(asked_for(&mut node).await, (OWN, OWN_EPOCH));
            }
        });
    }

    #[test]
    fn a_line_that_overflows_before_it_has_sent_anything_asks_for_a_snapshot() {
        let mut node = Node::new();
        let (world, line) = (node.world.clone(), line(&node));
        (0..=UPDATES_PER_LINE_MAX as u64).for_each(|sequence| line.push(update(sequence, false)));
        assert_eq!(world.run(asked_for(&mut node)), (OWN, OWN_EPOCH));
    }
}
