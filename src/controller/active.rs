//! What a controller knows while it is in office, and the one write that it may have outstanding.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::election::{Liveness, Rules};
use super::message::{Answer, Change, Refusal, Request, RequestId, Tree, WriteId};
use super::metadata::{ClusterMetadata, MetadataChange, TopicMetadata};
use super::plan::{Plan, partition_at, plan, state_change};
use crate::base::ids::{BrokerId, ControllerEpoch, TopicPartition};
use crate::base::partition_state::PartitionState;
use crate::base::plants::{Plant, Plants};

/// The most changes that a write gathers; a single request may take more by itself.
pub const WRITE_CHANGES_MAX: usize = 1_000;
/// The most requests that wait for the write before theirs.
pub const REQUESTS_WAITING_MAX: usize = 20_000;

/// The state of a controller in office.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Active {
    pub(super) controller_epoch: ControllerEpoch,
    pub(super) live: Liveness,
    /// What is known to be committed.
    pub(super) metadata: ClusterMetadata,
    /// Names that znodes stood in the way of when the tree was last read, and that nobody has asked for since.
    pub(super) occupied: BTreeSet<Arc<str>>,
    /// The number of the last update that was pushed to each live broker.
    pub(super) pushed: BTreeMap<BrokerId, u64>,
    /// Requests that are not planned yet.
    pub(super) waiting: VecDeque<(RequestId, Request)>,
    pub(super) outstanding: Outstanding,
    /// Whether someone came or went since all states were last gone through.
    pub(super) unsettled: bool,
}

/// What must end before anything else is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Outstanding {
    #[default]
    Nothing,
    Write(Write),
    /// The tree is read, for it is not as it was thought to be.
    Read,
}

/// A write under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Write {
    pub(super) id: WriteId,
    pub(super) changes: Vec<Change>,
    pub(super) replies: Vec<(RequestId, Answer)>,
}

/// A write that is being gathered, and the refusals found on the way.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) changes: Vec<Change>,
    pub(super) replies: Vec<(RequestId, Result<Answer, Refusal>)>,
    pub(super) taken: Vec<Plant>,
    /// The partitions that it changes; a second change must build on the first one's outcome.
    touched: BTreeSet<TopicPartition>,
}

impl Active {
    pub(super) fn new(controller_epoch: ControllerEpoch, tree: Tree) -> Self {
        let mut active = Active { controller_epoch, ..Active::default() };
        let _nothing_was_known = active.adopt(tree);
        active
    }

    /// Takes what was read for the truth. Gives back what was known before.
    pub(super) fn adopt(&mut self, tree: Tree) -> ClusterMetadata {
        let brokers: BTreeMap<_, _> = tree.brokers.into_iter().map(|live| (live.broker, live)).collect();
        let same = |broker: &BrokerId| {
            let now = brokers.get(broker).map(|live| live.broker_epoch);
            now == self.live.brokers.get(broker).map(|live| live.broker_epoch)
        };
        let shutting_down = self.live.shutting_down.iter().copied().filter(same).collect();
        self.pushed.retain(|broker, _| same(broker));
        let before = self.metadata.clone();
        self.metadata.brokers = brokers.iter().map(|(broker, live)| (*broker, live.metadata())).collect();
        self.metadata.topics = tree.topics;
        self.metadata.unreadable = tree.unreadable.clone();
        self.occupied = tree.unreadable;
        self.live = Liveness { brokers, shutting_down };
        self.outstanding = Outstanding::Nothing;
        self.unsettled = true;
        before
    }

    /// All partitions with their states.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionState)> {
        self.metadata.topics.iter().flat_map(|(topic, metadata)| {
            let states = metadata.partitions.iter().enumerate();
            states.map(move |(index, state)| (partition_at(topic, index), state))
        })
    }

    /// Gathers the next write: first what follows from who lives, and only when that is all
    /// committed, what was asked for.
    pub(super) fn draft(&mut self, plants: Plants) -> Draft {
        let mut draft = Draft::default();
        if self.unsettled {
            self.draft_reactions(plants, &mut draft);
        }
        if draft.changes.is_empty() {
            self.unsettled = false;
            self.draft_requests(plants, &mut draft);
        }
        draft
    }

    fn draft_reactions(&self, plants: Plants, draft: &mut Draft) {
        for (topic, metadata) in &self.metadata.topics {
            let rules = Rules { live: &self.live, settings: &metadata.settings, plants };
            for (index, old) in metadata.partitions.iter().enumerate() {
                let Some(chosen) = rules.react(old) else { continue };
                draft.taken.extend(chosen.taken);
                draft.changes.push(state_change(partition_at(topic, index), old, chosen.state));
                if draft.changes.len() == WRITE_CHANGES_MAX {
                    return;
                }
            }
        }
    }

    fn draft_requests(&mut self, plants: Plants, draft: &mut Draft) {
        while let Some((id, request)) = self.waiting.front() {
            match plan(self, plants, request) {
                Ok(plan) if !draft.takes(&plan) => return,
                Ok(plan) => draft.add(*id, plan),
                Err(refusal) => draft.replies.push((*id, Err(refusal))),
            }
            if let Some((_, Request::CreateTopic { topic, .. })) = self.waiting.pop_front() {
                // Somebody may have removed it since: the next one is refused by the tree itself.
                self.occupied.remove(&topic);
            }
        }
    }

    /// Takes over what was committed; says what brokers must learn of it.
    pub(super) fn commit(&mut self, changes: Vec<Change>) -> Vec<MetadataChange> {
        changes.into_iter().filter_map(|change| self.commit_one(change)).collect()
    }

    fn commit_one(&mut self, change: Change) -> Option<MetadataChange> {
        let news = match change {
            Change::State { partition, state, .. } => MetadataChange::Partition { partition, now: state },
            Change::CreateTopic { topic, metadata } => MetadataChange::Topic { topic, now: metadata },
            Change::DeleteTopic { topic, id, .. } => MetadataChange::TopicDeleted { topic, id },
            Change::CreatePartitions { topic, states, .. } => {
                self.changed_topic(topic, |metadata| metadata.partitions.extend(states))?
            }
            Change::SetTopic { topic, settings } => {
                self.changed_topic(topic, |metadata| metadata.settings = settings)?
            }
        };
        self.metadata.apply(&news);
        Some(news)
    }

    fn changed_topic(&self, topic: Arc<str>, change: impl FnOnce(&mut TopicMetadata)) -> Option<MetadataChange> {
        let mut now = self.metadata.topics.get(&topic)?.clone();
        change(&mut now);
        Some(MetadataChange::Topic { topic, now })
    }
}

impl Draft {
    /// Whether a plan fits in: changes of single states may be gathered, everything else stands alone.
    fn takes(&self, plan: &Plan) -> bool {
        if self.changes.is_empty() || plan.changes.is_empty() {
            return true;
        }
        let free = |change: &Change| match change {
            Change::State { partition, .. } => !self.touched.contains(partition),
            _ => false,
        };
        let all_states = self.changes.len() == self.touched.len();
        all_states && self.changes.len() + plan.changes.len() <= WRITE_CHANGES_MAX && plan.changes.iter().all(free)
    }

    fn add(&mut self, id: RequestId, plan: Plan) {
        for change in &plan.changes {
            if let Change::State { partition, .. } = change {
                self.touched.insert(partition.clone());
            }
        }
        self.changes.extend(plan.changes);
        self.taken.extend(plan.taken);
        self.replies.push((id, Ok(plan.answer)));
    }
}
