//! *answers_by_protocol*, of brokers: an oracle reads each question and says what may come: which error,
//! which fields, in which order, or that the connection ends.
//!
//! It knows the scenario's topics, what was committed of their partitions, and what disturbed. A question
//! about a partition has one right answer where its leadership is known; where it was changing, or the cluster
//! was disturbed, what a broker may not know yet is added. Where nothing disturbs, every question is answered
//! in time.
//!
//! | question | answer |
//! | --- | --- |
//! | a batch that no producer may send | the code of what is wrong with it, before anything is appended |
//! | a batch or a fetch at a broker that does not lead | NOT_LEADER_OR_FOLLOWER, and from the version on that has it who leads, and where (KIP-951) |
//! | a leader epoch that is not the leader's | FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH (KIP-320) |
//! | a fetch in a session | FETCH_SESSION_ID_NOT_FOUND: no session is ever begun (KIP-227) |
//! | a fetch in the name of a follower of another incarnation | STALE_BROKER_EPOCH (KIP-903) |
//! | a topic that nobody has, by name or by id | UNKNOWN_TOPIC_OR_PARTITION or UNKNOWN_TOPIC_ID |
//! | a topic that nobody has, where brokers create what is asked about | itself, or LEADER_NOT_AVAILABLE |
//! | a creation that makes no sense; one that is only validated | its code; what would be, and nothing comes of it |
//! | an API, a version, a frame that there is not | the connection ends; ApiVersions is answered in version 0 (KIP-511) |
//!
//! False positives avoided: past the fault budget, and once a broker failed, nothing is asked in time.

mod asked_for;
mod cluster;
mod data;
mod gone;
mod own_logs;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::ids::{BrokerId, TopicId, TopicPartition};
use wyrdlog::base::partition_state::PartitionState;
use wyrdlog::wire::kafka::client::{correlation_id, decode_response};
use wyrdlog::wire::kafka::messages::StrBytes;
use wyrdlog::wire::kafka::{ApiKey, ErrorCode, Request, Response};

use crate::history::cluster::ClusterHistory;
use crate::history::protocol::{Came, Exchange, Odd, ProtocolHistory, Sent, Wrong};
use crate::observed::{Node, seconds};
use crate::verdict::{Findings, Property};

/// So long a broker may take to learn what was committed while nothing disturbs it.
const LEARN_NS: u64 = 1_000_000_000;
/// For so long after its topics were made a cluster may still be busy with that.
const YOUNG_NS: u64 = 1_000_000_000;
/// What takes a write to the coordinator may take several times as long as what does not.
const WRITES: u64 = 4;

/// So many questions are in one write at most.
const QUESTIONS_MAX: u64 = 4;

/// What is wrong with an answer.
type Judged = Result<(), String>;

/// Judges every exchange.
#[must_use]
pub fn check(met: &ClusterHistory, history: &ProtocolHistory) -> Findings {
    let mut findings = Findings::new(Property::AnswersByProtocol);
    let mut oracle = Oracle::new(met, history);
    for (ordinal, exchange) in (0_u64..).zip(&history.exchanges) {
        let judged = oracle.judge(exchange);
        let at_ns = exchange.ended_ns.unwrap_or(exchange.sent_ns);
        let evidence = || {
            let Exchange { client, broker, correlation_id, .. } = exchange;
            let (asked, from, until) = (described(&exchange.sent), seconds(exchange.sent_ns), seconds(at_ns));
            let what = judged.as_ref().err().cloned().unwrap_or_default();
            format!(
                "broker {broker}, asked by client {client} for {asked} (request {correlation_id}, {from} to {until}): {what}"
            )
        };
        findings.check(judged.is_ok(), at_ns, [ordinal], evidence);
    }
    oracle.own_logs(&mut findings);
    findings
}

/// Which exchanges have to be answered in time.
#[must_use]
pub fn judged_in_time(met: &ClusterHistory, history: &ProtocolHistory) -> Vec<usize> {
    let oracle = Oracle::new(met, history);
    let is_judged = |at: &usize| {
        let unanswered = Exchange { ended_ns: None, ..history.exchanges[*at].clone() };
        oracle.is_calm(&unanswered)
    };
    (0..history.exchanges.len()).filter(is_judged).collect()
}

fn described(sent: &Sent) -> String {
    match sent {
        Sent::Request { version, request, wrong: Some(wrong) } => {
            format!("{} {version} with {wrong:?}", request.api().name())
        }
        Sent::Request { version, request, .. } => format!("{} {version}", request.api().name()),
        Sent::Odd(odd) => format!("{odd:?}"),
    }
}

/// What is known at the time of one exchange.
struct Around<'h> {
    exchange: &'h Exchange,
    /// Whether nothing disturbed, for long enough.
    is_calm: bool,
}

/// Whether the broker that was asked leads a partition, at every instant that may count.
enum Leads<'h> {
    /// In this state.
    Surely(&'h PartitionState),
    /// Another does, in this state.
    Another(&'h PartitionState),
    Perhaps,
}

/// See the module's doc.
struct Oracle<'h> {
    met: &'h ClusterHistory,
    history: &'h ProtocolHistory,
    calm: Vec<(u64, u64)>,
    /// The topics' ids, as first told.
    ids: BTreeMap<String, TopicId>,
    producer_ids: BTreeSet<i64>,
    cluster_id: Option<StrBytes>,
    asked_for: asked_for::AskedFor,
}

impl<'h> Oracle<'h> {
    fn new(met: &'h ClusterHistory, history: &'h ProtocolHistory) -> Self {
        let partitions = history
            .topics
            .iter()
            .flat_map(|(name, count, _)| (0..*count).map(|index| TopicPartition::new(name.clone(), index)));
        let created_ns =
            partitions.map(|name| met.states.get(&name).and_then(|states| states.first()).map(|(at_ns, _)| *at_ns));
        let created_ns: Option<Vec<u64>> = created_ns.collect();
        let begins_ns =
            created_ns.and_then(|all| all.into_iter().max()).map(|last_ns| last_ns + met.made_ns + YOUNG_NS);
        let calm = begins_ns.map_or(Vec::new(), |begins_ns| met.calm(begins_ns));
        let (ids, producer_ids) = (BTreeMap::new(), BTreeSet::new());
        let asked_for = asked_for::AskedFor::of(history);
        Oracle { met, history, calm, ids, producer_ids, cluster_id: None, asked_for }
    }

    fn judge(&mut self, exchange: &'h Exchange) -> Judged {
        let is_calm = self.is_calm(exchange);
        let around = Around { exchange, is_calm };
        if is_calm && exchange.ended_ns.is_none_or(|at_ns| at_ns > self.due_ns(exchange)) {
            return Err("nothing disturbed the cluster, and no answer came in time".to_owned());
        }
        match (&exchange.came, &exchange.sent) {
            (Came::Nothing, _) => Ok(()),
            (came, Sent::Odd(odd)) => judge_odd(*odd, exchange, came, is_calm),
            (came, Sent::Request { request, version, wrong }) if !expects_answer(request) => match came {
                Came::Closed => Ok(()),
                _ => Err(format!("a Produce of version {version} with acks=0 and {wrong:?} ends the connection")),
            },
            (Came::Closed, _) if is_calm && exchange_is_first_unanswered(self.history, exchange) => {
                Err("the connection was closed".to_owned())
            }
            (Came::Closed, _) => Ok(()),
            (Came::Frame(frame), Sent::Request { version, request, wrong }) => {
                let id = correlation_id(frame).map_err(|error| error.to_string())?;
                if id != exchange.correlation_id {
                    return Err(format!("the answer has the correlation id {id}"));
                }
                let decoded = decode_response(request.api(), *version, frame.clone());
                let (_, response) = decoded.map_err(|error| format!("the answer is malformed: {error}"))?;
                self.judge_answer(&around, *version, request, *wrong, &response)
            }
        }
    }

    /// Whether nothing disturbed, from well before the question until it had to be answered.
    fn is_calm(&self, exchange: &Exchange) -> bool {
        let until_ns = exchange.ended_ns.unwrap_or(u64::MAX).min(self.due_ns(exchange));
        let from_ns = exchange.sent_ns.saturating_sub(LEARN_NS).min(exchange.connected_ns);
        let next = self.calm.partition_point(|(_, to_ns)| *to_ns < until_ns);
        self.calm.get(next).is_some_and(|(begin_ns, _)| *begin_ns <= from_ns)
    }

    /// By when it has to be answered while nothing disturbs; what stands before it in its write takes its time.
    fn due_ns(&self, exchange: &Exchange) -> u64 {
        exchange.sent_ns + QUESTIONS_MAX * self.patience_ns(&exchange.sent)
    }

    /// How long an answer may take while nothing disturbs.
    fn patience_ns(&self, sent: &Sent) -> u64 {
        let Sent::Request { request, .. } = sent else { return self.met.answer_ns };
        let answer_ns = self.met.answer_ns;
        match &**request {
            Request::Fetch(fetch) => answer_ns + u64::try_from(fetch.max_wait_ms).unwrap_or(0) * 1_100_000,
            Request::CreateTopics(_) | Request::DeleteTopics(_) | Request::InitProducerId(_) => WRITES * answer_ns,
            // Which may have topics created.
            Request::Metadata(_) if self.history.auto_create_partitions > 0 => WRITES * answer_ns,
            _ => answer_ns,
        }
    }

    fn judge_answer(
        &mut self,
        around: &Around<'_>,
        version: i16,
        request: &Request,
        wrong: Option<Wrong>,
        response: &Response,
    ) -> Judged {
        match (request, response) {
            (Request::Produce(asked), Response::Produce(told)) => self.produce(around, version, asked, wrong, told),
            (Request::Fetch(asked), Response::Fetch(told)) => self.fetch(around, version, asked, told),
            (Request::ListOffsets(asked), Response::ListOffsets(told)) => {
                self.list_offsets(around, version, asked, told)
            }
            (Request::OffsetForLeaderEpoch(asked), Response::OffsetForLeaderEpoch(told)) => {
                self.epoch_end(around, asked, told)
            }
            (Request::Metadata(asked), Response::Metadata(told)) => self.metadata(around, version, asked, told),
            (Request::DescribeCluster(asked), Response::DescribeCluster(told)) => self.describe(around, asked, told),
            (Request::FindCoordinator(asked), Response::FindCoordinator(told)) => {
                cluster::find_coordinator(version, asked, told)
            }
            (Request::ApiVersions(_), Response::ApiVersions(told)) => cluster::api_versions(told, ErrorCode::None),
            (Request::CreateTopics(asked), Response::CreateTopics(told)) => self.create(around, version, asked, told),
            (Request::DeleteTopics(asked), Response::DeleteTopics(told)) => self.delete(around, version, asked, told),
            (Request::InitProducerId(asked), Response::InitProducerId(told)) => self.init(around, asked, told),
            (Request::Private(asked), Response::Private(told)) => self.private(around, asked, told),
            _ => Err("the answer is that of another API".to_owned()),
        }
    }

    /// A topic's partition count, if there is such a topic.
    fn partitions_of(&self, name: &str) -> Option<i32> {
        self.history.topics.iter().find(|(known, ..)| &**known == name).map(|(_, count, _)| *count)
    }

    fn name_of(&self, id: TopicId) -> Option<&str> {
        self.ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str())
    }

    fn node(&self, broker: BrokerId) -> Option<Node> {
        self.met.brokers.get(&broker).copied()
    }

    /// The states of a partition that may show in an answer.
    fn states(&self, around: &Around<'_>, name: &str, index: i32) -> Vec<&'h PartitionState> {
        let partition = TopicPartition::new(name, index);
        let from_ns = if around.is_calm { around.exchange.sent_ns.saturating_sub(LEARN_NS) } else { 0 };
        let until_ns = around.exchange.ended_ns.unwrap_or(u64::MAX);
        self.met.states_during(&partition, from_ns, until_ns).map(|(_, state)| state).collect()
    }

    fn leads(&self, around: &Around<'_>, name: &str, index: i32) -> Leads<'h> {
        let states = self.states(around, name, index);
        let Some(last) = states.last().filter(|_| around.is_calm) else { return Leads::Perhaps };
        if states.iter().any(|state| (state.leader, state.leader_epoch) != (last.leader, last.leader_epoch)) {
            return Leads::Perhaps;
        }
        match last.leader {
            Some(leader) if leader == around.exchange.broker => Leads::Surely(last),
            Some(_) => Leads::Another(last),
            None => Leads::Perhaps,
        }
    }
}

fn expects_answer(request: &Request) -> bool {
    !matches!(request, Request::Produce(produce) if produce.acks == 0)
}

/// Whether it is the first of its write that was not answered: what stands behind it is not to blame.
fn exchange_is_first_unanswered(history: &ProtocolHistory, exchange: &Exchange) -> bool {
    let of_write = history
        .exchanges
        .iter()
        .filter(|one| one.client == exchange.client && one.sent_ns == exchange.sent_ns && one.came == Came::Closed);
    of_write.map(|one| one.correlation_id).min() == Some(exchange.correlation_id)
}

fn judge_odd(odd: Odd, exchange: &Exchange, came: &Came, is_calm: bool) -> Judged {
    match (odd, came) {
        (Odd::UnknownVersion(ApiKey::ApiVersions, _), Came::Frame(frame)) => {
            let (id, response) =
                decode_response(ApiKey::ApiVersions, 0, frame.clone()).map_err(|error| error.to_string())?;
            match response {
                Response::ApiVersions(told) if id == exchange.correlation_id => {
                    cluster::api_versions(&told, ErrorCode::UnsupportedVersion)
                }
                _ => Err("the answer is that of another request".to_owned()),
            }
        }
        (Odd::UnknownVersion(ApiKey::ApiVersions, _), Came::Closed) if is_calm => {
            Err("a client that asks for an unknown version of ApiVersions is told which there are".to_owned())
        }
        (_, Came::Frame(_)) => Err("what is no request was answered".to_owned()),
        (_, Came::Closed | Came::Nothing) => Ok(()),
    }
}

/// The one code, or one of those.
fn one_of(told: i16, legal: &[ErrorCode]) -> Judged {
    let code = ErrorCode::from_wire(told);
    if legal.contains(&code) && code.to_wire() == told {
        return Ok(());
    }
    let legal: Vec<&str> = legal.iter().map(|code| code.name()).collect();
    Err(format!("the error is {} ({told}) instead of {}", code.name(), legal.join(" or ")))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, told: &T, expected: &T) -> Judged {
    if told == expected { Ok(()) } else { Err(format!("{what} is {told:?} instead of {expected:?}")) }
}

fn holds(what: &str, is_so: bool) -> Judged {
    if is_so { Ok(()) } else { Err(what.to_owned()) }
}
