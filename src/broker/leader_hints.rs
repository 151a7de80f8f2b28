//! Who leads instead: told with an error, so that a client need not ask for metadata (KIP-951).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::partitions::TopicRef;
use super::shared::Shared;
use crate::base::ids::BrokerId;
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::fetch::{LeaderAndEpoch, NodeEndpoint};
use crate::wire::kafka::messages::StrBytes;

/// What the metadata says of leaders.
pub(super) struct LeaderHints<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> LeaderHints<R> {
    pub(super) fn new(shared: Arc<Shared<R>>) -> Self {
        LeaderHints { shared }
    }

    /// The leader, where the error says that the client asked the wrong broker or is behind.
    pub(super) fn leader(&self, topic: TopicRef<'_>, partition: i32, error: ErrorCode) -> Option<LeaderAndEpoch> {
        if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return None;
        }
        let cache = self.shared.metadata();
        let topics = &cache.metadata().topics;
        let metadata = match topic {
            TopicRef::Name(name) => topics.get(name),
            TopicRef::Id(id) => topics.values().find(|metadata| metadata.id == id),
        };
        let state = metadata?.partitions.get(usize::try_from(partition).ok()?)?;
        Some(LeaderAndEpoch { leader: state.leader?, epoch: state.leader_epoch })
    }

    /// Where those leaders are; -1 is none.
    pub(super) fn endpoints(&self, leaders: impl Iterator<Item = i32>) -> Vec<NodeEndpoint> {
        let leaders: BTreeSet<i32> = leaders.filter(|leader| *leader >= 0).collect();
        if leaders.is_empty() {
            return Vec::new();
        }
        let cache = self.shared.metadata();
        let brokers = &cache.metadata().brokers;
        let endpoint = |leader: i32| {
            let broker = brokers.get(&BrokerId(leader))?;
            let endpoint = broker.endpoints.first()?;
            Some(NodeEndpoint {
                broker: BrokerId(leader),
                host: StrBytes::from(&*endpoint.host),
                port: i32::from(endpoint.port),
                rack: broker.rack.as_deref().map(StrBytes::from),
            })
        };
        leaders.into_iter().filter_map(endpoint).collect()
    }
}
