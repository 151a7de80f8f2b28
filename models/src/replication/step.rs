//! Steps of a replica, what its effects do to the log and to the network, and what an observer
//! remembers of them.

use std::sync::Arc;

use wyrdlog::base::ids::BrokerEpoch;
use wyrdlog::base::partition_state::{InSyncReplica, PartitionState};
use wyrdlog::replication::{
    Acknowledge, Effect, FetchAnswer, FetchedBatches, FollowerFetch, Input, LeaderRequest, Refusal, Replica,
};

use super::state::{Answered, Broken, Broker, MIN_IN_SYNC, Record, State, epochs_of, id, index, length, offset};

impl State {
    pub fn broker(&mut self, broker: usize) -> &mut Broker {
        Arc::make_mut(&mut self.brokers[broker])
    }

    /// The controller's next state reaches the broker.
    pub fn learn(&mut self, broker: usize) {
        if let Some(state) = self.broker(broker).states.pop_front() {
            self.step(broker, Input::State(PartitionState::clone(&state)), &[]);
        }
    }

    /// Steps a replica and carries out its effects; says what a leader answers, if it does.
    pub fn step(&mut self, broker: usize, input: Input, fetched: &[Record]) -> Option<Effect> {
        let mut effects = Vec::new();
        self.broker(broker).replica.step(input, &mut effects);
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Append { generation, base_offset, leader_epoch, acknowledge } => {
                    let record = (leader_epoch, self.spent.produced);
                    self.spent.produced += 1;
                    self.append(broker, generation, length(base_offset), &[record]);
                    if acknowledge == Acknowledge::AtAppend {
                        self.promise(broker, length(base_offset) + 1);
                    }
                }
                Effect::AppendFetched { generation, base_offset, .. } => {
                    self.append(broker, generation, length(base_offset), fetched);
                }
                Effect::Truncate { generation, to } => self.truncate(broker, generation, length(to)),
                Effect::HighWatermark { high_watermark } if self.brokers[broker].replica.leads() => {
                    self.check_high_watermark(broker, high_watermark);
                    self.promise(broker, length(high_watermark));
                }
                Effect::ServeFollower { .. } | Effect::EpochEnd(_) | Effect::Refused(_) => answer = Some(effect),
                _ => {}
            }
        }
        answer
    }

    fn append(&mut self, broker: usize, generation: u32, base: usize, records: &[Record]) {
        let broker = self.broker(broker);
        assert_eq!(broker.log.len(), base, "the core appends at the log's end");
        broker.log.extend_from_slice(records);
        let end = offset(broker.log.len());
        broker.persisting.push_back(Input::Appended { generation, end });
    }

    fn truncate(&mut self, broker: usize, generation: u32, to: usize) {
        let broker = self.broker(broker);
        broker.log.truncate(to);
        broker.synced = broker.synced.min(to);
        broker.persisting.push_back(Input::Truncated { generation });
    }

    /// What the log was told first is done, and reported.
    pub fn persist(&mut self, broker: usize) {
        let owner = self.broker(broker);
        let Some(input) = owner.persisting.pop_front() else { return };
        if let Input::Synced { generation, end } = &input
            && *generation == owner.replica.log_generation()
        {
            owner.synced = owner.synced.max(length(*end));
        }
        self.step(broker, input, &[]);
    }

    /// A sync begins, of all that is written by now.
    pub fn begin_sync(&mut self, broker: usize) {
        let owner = self.broker(broker);
        let generation = owner.replica.log_generation();
        owner.persisting.push_back(Input::Synced { generation, end: offset(owner.log.len()) });
    }

    /// Notes that everything below `end` in the broker's log was promised to a client.
    fn promise(&mut self, broker: usize, end: usize) {
        let prefix = &self.brokers[broker].log[..end];
        let shared = prefix.len().min(self.promised.len());
        if prefix[..shared] != self.promised[..shared] {
            self.broken = self.broken.or(Some(Broken::Promise));
        } else if prefix.len() > shared {
            self.promised = prefix.to_vec();
        }
    }

    fn check_high_watermark(&mut self, broker: usize, high_watermark: i64) {
        let replica = &self.brokers[broker].replica;
        let maximal = replica.maximal_in_sync();
        let runs = |member: &&InSyncReplica| {
            let broker = &self.brokers[index(member.broker)];
            broker.up && broker.replica.broker_epoch() == member.broker_epoch
        };
        let passed =
            maximal.iter().filter(runs).any(|m| self.brokers[index(m.broker)].log.len() < length(high_watermark));
        let broken = if passed {
            Some(Broken::PassedMember)
        } else if replica.committed_in_sync().len() < MIN_IN_SYNC {
            Some(Broken::TooFew)
        } else {
            None
        };
        self.broken = self.broken.or(broken);
    }

    /// The leader takes a request and answers it, or refuses, which the follower takes for silence.
    pub fn process(&mut self, follower: usize) {
        let Some((request, broker_epoch)) = self.broker(follower).request.take() else { return };
        let (LeaderRequest::Fetch { leader, .. } | LeaderRequest::EpochEnd { leader, .. }) = request;
        let leader = index(leader);
        if self.brokers[leader].up {
            let answer = self.answer_to(follower, broker_epoch, leader, request);
            let served = answer.is_some() && self.is_of_earlier_epoch(leader, &request);
            self.broken = self.broken.or(served.then_some(Broken::StaleFollower));
            self.broker(follower).answer = answer;
        }
    }

    fn is_of_earlier_epoch(&self, leader: usize, request: &LeaderRequest) -> bool {
        let (LeaderRequest::Fetch { leader_epoch, .. } | LeaderRequest::EpochEnd { leader_epoch, .. }) = request;
        let leader = &self.brokers[leader].replica;
        leader.leads() && *leader_epoch < leader.leader_epoch()
    }

    /// Whether a follower's request is on its way to a leader that has led anew since.
    pub fn has_stale_request(&self) -> bool {
        let requests = self.brokers.iter().filter_map(|broker| broker.request.as_ref());
        requests.into_iter().any(|(request, _)| {
            let (LeaderRequest::Fetch { leader, .. } | LeaderRequest::EpochEnd { leader, .. }) = request;
            self.is_of_earlier_epoch(index(*leader), request)
        })
    }

    fn answer_to(
        &mut self,
        follower: usize,
        broker_epoch: BrokerEpoch,
        leader: usize,
        request: LeaderRequest,
    ) -> Option<Answered> {
        match request {
            LeaderRequest::Fetch { leader_epoch, offset, .. } => {
                let fetch = FollowerFetch { replica: id(follower), broker_epoch, leader_epoch, offset };
                let mut records = Vec::new();
                let answer = match self.step(leader, Input::FollowerFetch(fetch), &[])? {
                    Effect::ServeFollower { end, high_watermark, log_start, .. } => {
                        records = self.brokers[leader].log[length(offset)..length(end)].to_vec();
                        let epochs = epochs_of(&records, length(offset));
                        let batches =
                            (!records.is_empty()).then_some(FetchedBatches { base_offset: offset, end, epochs });
                        FetchAnswer::Accepted { high_watermark, log_start, batches }
                    }
                    Effect::Refused(Refusal::OffsetOutOfRange { log_start, .. }) => {
                        FetchAnswer::OutOfRange { log_start }
                    }
                    _ => return None,
                };
                Some(Answered { input: Input::FetchAnswer { leader_epoch, offset, answer }, records })
            }
            LeaderRequest::EpochEnd { leader_epoch, requested, .. } => {
                let query = Input::EpochEndQuery { leader_epoch: Some(leader_epoch), requested };
                let Effect::EpochEnd(answer) = self.step(leader, query, &[])? else { return None };
                let input = Input::EpochEndAnswer { leader_epoch, requested, answer };
                Some(Answered { input, records: Vec::new() })
            }
        }
    }

    /// The answer reaches the broker.
    pub fn take_answer(&mut self, broker: usize) {
        if let Some(Answered { input, records }) = self.broker(broker).answer.take() {
            self.step(broker, input, &records);
        }
    }

    /// The broker sends the one request that it has.
    pub fn send(&mut self, broker: usize) {
        let Some(request) = self.brokers[broker].replica.next_request() else { return };
        let broker_epoch = self.brokers[broker].replica.broker_epoch();
        self.broker(broker).request = Some((request, broker_epoch));
    }

    /// Whether the broker's request would tell it or its leader anything or, if `repeats`, have the leader
    /// propose what it could not propose at the last one. Any other fetch can be sent later just as well,
    /// so leaving it out hides no behaviour of the cores.
    pub fn would_learn(&self, broker: usize, repeats: bool) -> bool {
        let replica = &self.brokers[broker].replica;
        let admits = |leader| could_be_admitted(&self.brokers[index(leader)].replica, broker, replica.broker_epoch());
        match replica.next_request() {
            Some(LeaderRequest::Fetch { leader, .. }) => self.has_news(broker) || (repeats && admits(leader)),
            request => request.is_some(),
        }
    }

    /// Whether the broker's request would tell it or its leader anything.
    pub fn has_news(&self, broker: usize) -> bool {
        let replica = &self.brokers[broker].replica;
        match replica.next_request() {
            None => false,
            Some(LeaderRequest::EpochEnd { .. }) => true,
            Some(LeaderRequest::Fetch { leader, leader_epoch, offset }) => {
                let leader = &self.brokers[index(leader)].replica;
                leader.leader_epoch() != leader_epoch
                    || leader.log_end() > offset
                    || leader.high_watermark() > replica.high_watermark()
                    || leader.acknowledged(id(broker)) != Some((replica.broker_epoch(), offset))
            }
        }
    }

    /// Requests, answers and proposals that are under way.
    pub fn in_flight(&self) -> usize {
        let of = |broker: &Arc<Broker>| {
            usize::from(broker.request.is_some())
                + usize::from(broker.answer.is_some())
                + usize::from(broker.proposal.is_some())
        };
        self.brokers.iter().map(of).sum()
    }
}

/// Whether the leader might propose to admit the broker at its next fetch, news or not.
fn could_be_admitted(leader: &Replica, broker: usize, broker_epoch: BrokerEpoch) -> bool {
    let member = InSyncReplica { broker: id(broker), broker_epoch };
    leader.leads() && leader.proposal().is_none() && !leader.committed_in_sync().contains(&member)
}
