//! Answers about partitions: batches that are refused, fetches, lookups, ends of epochs.

use wyrdlog::base::batch_header;
use wyrdlog::base::ids::{BrokerId, TopicId};
use wyrdlog::base::partition_state::PartitionState;
use wyrdlog::wire::kafka::ErrorCode as Code;
use wyrdlog::wire::kafka::fetch::{FetchResponse, FetchedPartition, NodeEndpoint};
use wyrdlog::wire::kafka::messages::fetch_request::FetchPartition;
use wyrdlog::wire::kafka::messages::produce_response::PartitionProduceResponse;
use wyrdlog::wire::kafka::messages::{
    FetchRequest, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    ProduceRequest, ProduceResponse, topic_id,
};

use super::{Around, Judged, Leads, Oracle, holds, one_of, same};
use crate::history::protocol::Wrong;

/// What a broker may say of a partition whose leadership is on the move, or that it has not learned of.
const ON_THE_MOVE: [Code; 9] = [
    Code::NotLeaderOrFollower,
    Code::UnknownTopicOrPartition,
    Code::UnknownTopicId,
    Code::LeaderNotAvailable,
    Code::KafkaStorageError,
    Code::FencedLeaderEpoch,
    Code::UnknownLeaderEpoch,
    Code::OffsetNotAvailable,
    Code::OffsetOutOfRange,
];
/// From this version on, topics of Produce and Fetch go by their ids.
const IDS_FROM: i16 = 13;
/// From these versions on, who does not lead says who does.
const PRODUCE_HINTS_FROM: i16 = 10;
const FETCH_HINTS_FROM: i16 = 12;
const FETCH_ENDPOINTS_FROM: i16 = 16;

/// The code of what is wrong with a batch.
fn code_of(wrong: Option<Wrong>) -> Code {
    match wrong {
        None => Code::None,
        Some(Wrong::Acks) => Code::InvalidRequiredAcks,
        Some(Wrong::CutShort | Wrong::Checksum) => Code::CorruptMessage,
        Some(Wrong::Magic) => Code::UnsupportedForMessageFormat,
        Some(Wrong::Transactional) => Code::InvalidTxnState,
        Some(Wrong::Compression | Wrong::ZstdTooEarly) => Code::UnsupportedCompressionType,
        Some(Wrong::Empty | Wrong::Two | Wrong::BaseOffset | Wrong::Count | Wrong::Control | Wrong::NoEpoch) => {
            Code::InvalidRecord
        }
    }
}

/// What may be said of a partition.
struct Legal<'h> {
    codes: Vec<Code>,
    /// Its state, if another broker leads for sure.
    elsewhere: Option<&'h PartitionState>,
}

/// Who leads, as an answer says it: id, epoch.
type Hint = (i32, i32);

impl<'h> Oracle<'h> {
    /// Of a partition that is named so, with `definite` where its leader is asked.
    fn legal(
        &self,
        around: &Around<'_>,
        (name, id): (&str, Option<TopicId>),
        index: i32,
        definite: &[Code],
    ) -> Legal<'h> {
        let (name, unknown) = match id {
            Some(id) => (self.name_of(id).unwrap_or_default(), Code::UnknownTopicId),
            None => (name, Code::UnknownTopicOrPartition),
        };
        let Some(count) = self.partitions_of(name) else { return Legal { codes: vec![unknown], elsewhere: None } };
        if !(0..count).contains(&index) {
            let besides = if around.is_calm { Code::UnknownTopicOrPartition } else { unknown };
            return Legal { codes: vec![Code::UnknownTopicOrPartition, besides], elsewhere: None };
        }
        match self.leads(around, name, index) {
            Leads::Surely(_) => Legal { codes: definite.to_vec(), elsewhere: None },
            Leads::Another(state) => Legal { codes: vec![Code::NotLeaderOrFollower], elsewhere: Some(state) },
            Leads::Perhaps => Legal { codes: [definite, &ON_THE_MOVE].concat(), elsewhere: None },
        }
    }

    /// The leader epoch that a reader claims, against the leader's: what comes of it, if anything.
    fn of_claim(&self, around: &Around<'_>, name: &str, index: i32, claimed: i32) -> Option<Code> {
        let Leads::Surely(state) = self.leads(around, name, index) else { return None };
        match claimed {
            ..=-1 => None,
            _ if claimed < state.leader_epoch.0 => Some(Code::FencedLeaderEpoch),
            _ if claimed > state.leader_epoch.0 => Some(Code::UnknownLeaderEpoch),
            _ => None,
        }
    }

    /// A hint names the leader of a state that may count.
    fn hint(
        &self,
        around: &Around<'_>,
        name: &str,
        index: i32,
        hint: Hint,
        elsewhere: Option<&PartitionState>,
    ) -> Judged {
        let of = |state: &PartitionState| Some((state.leader?.0, state.leader_epoch.0));
        if let Some(state) = elsewhere {
            return same("the leader that is hinted at", &Some(hint), &of(state));
        }
        let states = self.states(around, name, index);
        let was = hint == (-1, -1) || states.iter().any(|state| of(state) == Some(hint));
        holds(&format!("the leader that is hinted at, {hint:?}, never led"), was)
    }

    /// Exactly the leaders that are named, and where they are.
    fn endpoints(&self, around: &Around<'_>, hints: &[Hint], told: &[(i32, String, i32)]) -> Judged {
        let mut named: Vec<i32> = hints.iter().map(|(leader, _)| *leader).filter(|leader| *leader >= 0).collect();
        named.sort_unstable();
        named.dedup();
        let known = |id: i32| self.history.brokers.iter().find(|(broker, _)| broker.0 == id);
        for (id, host, port) in told {
            let at = known(*id).map(|(_, at)| (at.host.to_string(), i32::from(at.port)));
            same("the address of a leader", &Some((host.clone(), *port)), &at)?;
        }
        let told: Vec<i32> = told.iter().map(|(id, ..)| *id).collect();
        let is_named = told.iter().all(|id| named.contains(id)) && (told.len() == named.len() || !around.is_calm);
        holds(&format!("the addresses of {told:?} are told, where {named:?} are named"), is_named)
    }

    pub(super) fn produce(
        &self,
        around: &Around<'_>,
        version: i16,
        asked: &ProduceRequest,
        wrong: Option<Wrong>,
        told: &ProduceResponse,
    ) -> Judged {
        same("the number of topics", &told.responses.len(), &asked.topic_data.len())?;
        let mut hints = Vec::new();
        for (topic, answer) in asked.topic_data.iter().zip(&told.responses) {
            let id = (version >= IDS_FROM).then(|| topic_id(topic.topic_id));
            same("the topic", &(&answer.name, answer.topic_id), &(&topic.name, topic.topic_id))?;
            same("the number of partitions", &answer.partition_responses.len(), &topic.partition_data.len())?;
            for (data, one) in topic.partition_data.iter().zip(&answer.partition_responses) {
                same("the partition", &one.index, &data.index)?;
                let definite = code_of(wrong);
                let Legal { mut codes, elsewhere } = self.legal(around, (&topic.name, id), data.index, &[definite]);
                // What is wrong with a request may be said before it is known whose partition it is about.
                codes.push(definite);
                one_of(one.error_code, &codes)?;
                let offsets = (one.base_offset, one.log_append_time_ms, one.log_start_offset);
                same("what is told of a batch that was refused", &offsets, &(-1, -1, -1))?;
                hints.push(self.hint_of_produce(around, version, (&topic.name, id), one, elsewhere)?);
            }
        }
        let told: Vec<_> =
            told.node_endpoints.iter().map(|one| (one.node_id, one.host.to_string(), one.port)).collect();
        self.endpoints(around, &hints, &told)
    }

    fn hint_of_produce(
        &self,
        around: &Around<'_>,
        version: i16,
        (name, id): (&str, Option<TopicId>),
        told: &PartitionProduceResponse,
        elsewhere: Option<&PartitionState>,
    ) -> Result<Hint, String> {
        let hint = (told.current_leader.leader_id, told.current_leader.leader_epoch);
        if version < PRODUCE_HINTS_FROM || told.error_code != Code::NotLeaderOrFollower.to_wire() {
            return same("the leader that is hinted at", &hint, &(-1, -1)).map(|()| hint);
        }
        let name = id.map_or(name, |id| self.name_of(id).unwrap_or_default());
        self.hint(around, name, told.index, hint, elsewhere).map(|()| hint)
    }

    pub(super) fn fetch(
        &self,
        around: &Around<'_>,
        version: i16,
        asked: &FetchRequest,
        told: &FetchResponse,
    ) -> Judged {
        if asked.session_epoch > 0 {
            same("the fetch's error", &told.error, &Some(Code::FetchSessionIdNotFound))?;
            return same("the number of topics", &told.topics.len(), &0);
        }
        same("the fetch's error", &told.error.filter(|error| *error != Code::None), &None)?;
        same("the fetch session", &told.session_id, &0)?;
        same("the number of topics", &told.topics.len(), &asked.topics.len())?;
        let (mut hints, mut bytes, mut is_refused) = (Vec::new(), 0, false);
        for (topic, answer) in asked.topics.iter().zip(&told.topics) {
            let id = (version >= IDS_FROM).then(|| topic_id(topic.topic_id));
            same("the topic", &(&answer.name, answer.topic_id), &(&topic.topic, topic.topic_id))?;
            same("the number of partitions", &answer.partitions.len(), &topic.partitions.len())?;
            for (partition, one) in topic.partitions.iter().zip(&answer.partitions) {
                same("the partition", &one.index, &partition.partition)?;
                let name = (topic.topic.as_str(), id);
                hints.push(self.fetched(around, version, (asked, partition), name, one)?);
                bytes += one.records_bytes();
                is_refused |= one.error.is_some_and(|error| error != Code::None);
            }
        }
        let endpoint = |one: &NodeEndpoint| (one.broker.0, one.host.to_string(), one.port);
        let told: Vec<_> = told.node_endpoints.iter().map(endpoint).collect();
        if version >= FETCH_ENDPOINTS_FROM {
            self.endpoints(around, &hints, &told)?;
        }
        self.waited(around, asked, bytes, is_refused)
    }

    /// A fetch that brings nothing and is alone waits as long as it was to; clocks may be a tenth off.
    fn waited(&self, around: &Around<'_>, asked: &FetchRequest, bytes: usize, is_refused: bool) -> Judged {
        let exchange = around.exchange;
        let wants_none = asked.min_bytes == 0 || exchange.behind > 0 || is_refused || bytes > 0;
        let waited_ns = exchange.ended_ns.unwrap_or(u64::MAX) - exchange.sent_ns;
        let wanted_ns = u64::try_from(asked.max_wait_ms).unwrap_or(0) * 900_000;
        holds("a fetch came back with nothing, too early", wants_none || waited_ns >= wanted_ns)
    }

    fn fetched(
        &self,
        around: &Around<'_>,
        version: i16,
        (asked, partition): (&FetchRequest, &FetchPartition),
        (name, id): (&str, Option<TopicId>),
        told: &FetchedPartition,
    ) -> Result<Hint, String> {
        let (known, index) = (id.map_or(name, |id| self.name_of(id).unwrap_or_default()), partition.partition);
        let claimed = self.of_claim(around, known, index, partition.current_leader_epoch);
        let replica = if version >= 15 { asked.replica_state.replica_id } else { -1 };
        let states = self.states(around, known, index);
        let is_of = |state: &&PartitionState| state.replicas.contains(&BrokerId(replica));
        let has_replica = replica != around.exchange.broker.0 && states.iter().all(is_of);
        let definite = match (claimed, replica) {
            (Some(code), ..=-1) => vec![code],
            // A follower without a claim is of none.
            (Some(code), 0..) if has_replica => vec![code, Code::StaleBrokerEpoch],
            (None, 0..) if has_replica => vec![Code::StaleBrokerEpoch, Code::FencedLeaderEpoch],
            (_, 0..) => vec![
                Code::UnknownTopicOrPartition,
                Code::NotLeaderOrFollower,
                Code::UnknownLeaderEpoch,
                Code::FencedLeaderEpoch,
                Code::StaleBrokerEpoch,
            ],
            // Retention may have removed the first records, and there may be none.
            (None, _) if partition.fetch_offset == 0 || partition.fetch_offset == 1 => {
                vec![Code::None, Code::OffsetOutOfRange]
            }
            (None, _) => vec![Code::OffsetOutOfRange],
        };
        let Legal { mut codes, elsewhere } = self.legal(around, (name, id), index, &definite);
        if elsewhere.is_some() && partition.current_leader_epoch >= 0 {
            codes.extend([Code::FencedLeaderEpoch, Code::UnknownLeaderEpoch]);
        }
        let code = told.error.unwrap_or(Code::None);
        one_of(code.to_wire(), &codes)?;
        let hint = told.current_leader.map_or((-1, -1), |one| (one.leader.0, one.epoch.0));
        if code == Code::None {
            holds("a broker that serves hints at another", hint == (-1, -1))?;
            served(asked, partition, told)?;
            return Ok(hint);
        }
        holds("records come with an error", told.records_bytes() == 0)?;
        same("the high watermark beside an error", &told.high_watermark, &-1)?;
        let is_elsewhere = matches!(code, Code::NotLeaderOrFollower | Code::FencedLeaderEpoch);
        if version < FETCH_HINTS_FROM || !is_elsewhere {
            return same("the leader that is hinted at", &hint, &(-1, -1)).map(|()| hint);
        }
        let elsewhere = elsewhere.filter(|_| code == Code::NotLeaderOrFollower);
        self.hint(around, known, index, hint, elsewhere).map(|()| hint)
    }

    pub(super) fn list_offsets(
        &self,
        around: &Around<'_>,
        version: i16,
        asked: &ListOffsetsRequest,
        told: &ListOffsetsResponse,
    ) -> Judged {
        same("the number of topics", &told.topics.len(), &asked.topics.len())?;
        for (topic, answer) in asked.topics.iter().zip(&told.topics) {
            same("the topic", &answer.name, &topic.name)?;
            same("the number of partitions", &answer.partitions.len(), &topic.partitions.len())?;
            for (partition, one) in topic.partitions.iter().zip(&answer.partitions) {
                let index = partition.partition_index;
                same("the partition", &one.partition_index, &index)?;
                let claimed = self.of_claim(around, &topic.name, index, partition.current_leader_epoch);
                let definite = match (claimed, partition.timestamp) {
                    (Some(code), _) => vec![code],
                    (None, ..=-6) => vec![Code::UnsupportedVersion],
                    (None, _) => vec![Code::None],
                };
                let Legal { mut codes, elsewhere } = self.legal(around, (&topic.name, None), index, &definite);
                if elsewhere.is_some() {
                    codes.extend([Code::FencedLeaderEpoch, Code::UnknownLeaderEpoch]);
                }
                one_of(one.error_code, &codes)?;
                let found = (one.timestamp, one.offset, if version >= 4 { one.leader_epoch } else { -1 });
                if one.error_code != 0 {
                    return same("what is found beside an error", &found, &(-1, -1, -1));
                }
                self.found(around, (&topic.name, index), partition.timestamp, found)?;
            }
        }
        Ok(())
    }

    fn found(
        &self,
        around: &Around<'_>,
        (name, index): (&str, i32),
        asked: i64,
        (timestamp, offset, epoch): (i64, i64, i32),
    ) -> Judged {
        let last = self.states(around, name, index).iter().map(|state| state.leader_epoch.0).max().unwrap_or(i32::MAX);
        holds(&format!("leader epoch {epoch} never was"), (-1..=last).contains(&epoch))?;
        match asked {
            -1 | -2 | -4 => {
                same("the time of a bound", &timestamp, &-1)?;
                holds(&format!("offset {offset} is below 0"), offset >= 0)
            }
            // Nothing is that young, and no storage is tiered.
            -5 | i64::MAX => same("what is found", &(timestamp, offset, epoch), &(-1, -1, -1)),
            _ if offset == -1 => same("what is not found", &(timestamp, epoch), &(-1, -1)),
            _ => holds(&format!("time {timestamp} of offset {offset} is none"), timestamp >= 0 && offset >= 0),
        }
    }

    pub(super) fn epoch_end(
        &self,
        around: &Around<'_>,
        asked: &OffsetForLeaderEpochRequest,
        told: &OffsetForLeaderEpochResponse,
    ) -> Judged {
        same("the number of topics", &told.topics.len(), &asked.topics.len())?;
        for (topic, answer) in asked.topics.iter().zip(&told.topics) {
            same("the topic", &answer.topic, &topic.topic)?;
            same("the number of partitions", &answer.partitions.len(), &topic.partitions.len())?;
            for (partition, one) in topic.partitions.iter().zip(&answer.partitions) {
                let index = partition.partition;
                same("the partition", &one.partition, &index)?;
                let claimed = self.of_claim(around, &topic.topic, index, partition.current_leader_epoch);
                let definite = claimed.unwrap_or(Code::None);
                let Legal { mut codes, elsewhere } = self.legal(around, (&topic.topic, None), index, &[definite]);
                if elsewhere.is_some() {
                    codes.extend([Code::FencedLeaderEpoch, Code::UnknownLeaderEpoch]);
                }
                one_of(one.error_code, &codes)?;
                let end = (one.leader_epoch, one.end_offset);
                let is_right = match (one.error_code, partition.leader_epoch) {
                    (0, 1_000_000) => end == (-1, -1),
                    (0, wanted) => end.0 <= wanted && (end.0 >= 0) == (end.1 >= 0),
                    _ => end == (-1, -1),
                };
                holds(&format!("the end of epoch {} is {end:?}", partition.leader_epoch), is_right)?;
            }
        }
        Ok(())
    }
}

/// Whole batches, from the offset on that was asked for, one after the other, below the high watermark.
fn served(asked: &FetchRequest, partition: &FetchPartition, told: &FetchedPartition) -> Judged {
    let FetchedPartition { high_watermark, last_stable_offset, log_start_offset, .. } = *told;
    same("the last stable offset", &last_stable_offset, &high_watermark)?;
    let is_within = |log_start: i64| (0..=high_watermark).contains(&log_start) || log_start == -1;
    holds(&format!("the log start {log_start_offset} is beyond {high_watermark}"), is_within(log_start_offset))?;
    let aborted = told.aborted_transactions.as_ref().map(Vec::len);
    holds("transactions were aborted", aborted.unwrap_or(0) == 0)?;
    holds("a reader of all is told of transactions", asked.isolation_level == 1 || aborted.is_none())?;
    let records: Vec<u8> = told.records.iter().flat_map(|part| part.iter().copied()).collect();
    let (mut rest, mut next, mut first) = (&records[..], partition.fetch_offset, None);
    while !rest.is_empty() {
        let Ok(header) = batch_header::verify(rest) else {
            return holds("a batch is damaged, or cut short before the end", first.is_some());
        };
        let (base, last) = (header.base_offset, header.base_offset + i64::from(header.last_offset_delta));
        let follows = if first.is_none() { (base..=last).contains(&next) } else { base == next };
        holds(&format!("a batch from {base} to {last} where {next} is next"), follows)?;
        holds(&format!("offset {last} lies at or above the high watermark {high_watermark}"), last < high_watermark)?;
        first.get_or_insert(header.size);
        (next, rest) = (last + 1, &rest[header.size..]);
    }
    let most = usize::try_from(partition.partition_max_bytes.min(asked.max_bytes)).unwrap_or(0);
    let is_small = records.len() <= most.max(first.unwrap_or(0));
    holds(&format!("{} bytes come where {most} were asked for", records.len()), is_small)?;
    holds("nothing comes, where there is something", !records.is_empty() || partition.fetch_offset >= high_watermark)
}
