//! A producer's way to one broker: requests in order, and their answers, which come in the same order.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::accumulator::{PartitionResult, ProduceCall};
use super::cluster::Cluster;
use super::config::{Acks, ClientConfig, ProducerConfig};
use super::connection::{Connection, Reply, RequestFailed};
use super::producer::{Bound, Told};
use super::refusals::Pending;
use crate::base::event::Asked;
use crate::base::ids::{BrokerId, TopicPartition};
use crate::message;
use crate::runtime::{Runtime, Task};
use crate::wire::kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::wire::kafka::messages::{ProduceRequest, ProduceResponse, StrBytes};
use crate::wire::kafka::{ApiKey, ErrorCode, Request, Response};

/// The highest version of Produce that names topics by name.
const PRODUCE_BY_NAME_MAX: i16 = 12;

/// Sends the calls to `broker` in order. Answers are waited for beside it; those waits end with
/// the connection, or with the request's time-out.
pub(super) async fn run<R: Runtime>(
    cluster: Cluster<R>,
    config: ProducerConfig,
    broker: BrokerId,
    mut calls: mpsc::UnboundedReceiver<(Bound, ProduceCall)>,
    tell: mpsc::UnboundedSender<Told>,
) {
    let answers = Answers { acks: config.acks, tell: tell.clone(), line: VecDeque::new() };
    let mut answers = Answering { runtime: cluster.runtime().clone(), answers };
    let mut opened = (None, Err(RequestFailed::NotSent("nothing was sent yet".to_owned())));
    while let Some((bound, call)) = answers.beside(calls.recv()).await {
        let pending = Pending::new(&cluster, broker);
        if opened.0 != Some(bound.connection) {
            opened = (Some(bound.connection), answers.beside(cluster.connection(broker)).await);
        }
        let sent = match &opened.1 {
            Ok(connection) => answers.beside(send_call(connection, cluster.config(), &config, &call)).await,
            Err(failed) => Err(failed.clone()),
        };
        match sent {
            Err(failed) => {
                opened.1 = Err(failed.clone());
                let _ = tell.send(Told::Answered(bound, Err(failed)));
            }
            Ok(_) if config.acks == Acks::None => {
                let written = |(partition, _)| (partition, PartitionResult::Written { base_offset: None });
                let _ = tell.send(Told::Answered(bound, Ok(call.batches.into_iter().map(written).collect())));
            }
            Ok(reply) => {
                let size = |(partition, batch): (TopicPartition, bytes::Bytes)| (partition, batch.len());
                let sizes = call.batches.into_iter().map(size).collect();
                answers.answers.line.push_back(Awaited { bound, reply, pending, sizes });
            }
        }
    }
}

/// A request that was sent.
struct Awaited<R: Runtime> {
    bound: Bound,
    reply: Reply,
    pending: Pending<R>,
    /// The bytes of each batch.
    sizes: Vec<(TopicPartition, usize)>,
}

/// The requests that were sent, oldest first. No answer comes before that of an older one, and none waits
/// longer.
struct Answers<R: Runtime> {
    acks: Acks,
    tell: mpsc::UnboundedSender<Told>,
    line: VecDeque<Awaited<R>>,
}

impl<R: Runtime> Answers<R> {
    /// Tells what has come.
    fn tell_answered(&mut self, context: &mut Context<'_>) {
        while let Some(first) = self.line.front_mut()
            && let Poll::Ready(answer) = Pin::new(&mut first.reply).poll(context)
            && let Some(first) = self.line.pop_front()
        {
            let results = answer.and_then(results_of);
            tell_refusals(&first.pending, self.acks, &first.sizes, &results);
            let _ = self.tell.send(Told::Answered(first.bound, results));
        }
    }
}

/// Waits for answers beside other things. When it is dropped a task of its own waits for the rest, so that
/// what brokers refuse is told however a lane ends.
struct Answering<R: Runtime> {
    runtime: R,
    answers: Answers<R>,
}

impl<R: Runtime> Answering<R> {
    /// Tells the answers that come while `future` is waited for.
    async fn beside<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.answers.tell_answered(context);
            future.as_mut().poll(context)
        })
        .await
    }
}

impl<R: Runtime> Drop for Answering<R> {
    fn drop(&mut self) {
        if self.answers.line.is_empty() {
            return;
        }
        let Answers { acks, tell, line } = &mut self.answers;
        let mut rest = Answers { acks: *acks, tell: tell.clone(), line: std::mem::take(line) };
        let told = poll_fn(move |context| {
            rest.tell_answered(context);
            if rest.line.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        self.runtime.spawn("producer-reply", told).detach();
    }
}

async fn send_call<R: Runtime>(
    connection: &Connection<R>,
    client: &ClientConfig,
    config: &ProducerConfig,
    call: &ProduceCall,
) -> Result<Reply, RequestFailed> {
    let version = connection.version(ApiKey::Produce).map(|version| version.min(PRODUCE_BY_NAME_MAX));
    let version = version.ok_or_else(|| RequestFailed::NotSent("the broker does not speak our Produce".to_owned()))?;
    let timeout_ms = i32::try_from(client.request_timeout.as_millis()).unwrap_or(i32::MAX);
    connection.send_version(version, &produce_request(call, config.acks, timeout_ms)).await
}

fn produce_request(call: &ProduceCall, acks: Acks, timeout_ms: i32) -> Request {
    let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
    for (partition, batch) in &call.batches {
        let data = message!(PartitionProduceData { index: partition.partition, records: Some(batch.clone()) });
        topics.entry(&partition.topic).or_default().push(data);
    }
    let topic = |(name, partition_data)| {
        message!(TopicProduceData { name: StrBytes::from(name), partition_data: partition_data })
    };
    Request::Produce(message!(ProduceRequest {
        acks: acks.to_wire(),
        timeout_ms: timeout_ms,
        topic_data: topics.into_iter().map(topic).collect(),
    }))
}

fn tell_refusals<R: Runtime>(
    pending: &Pending<R>,
    acks: Acks,
    sizes: &[(TopicPartition, usize)],
    results: &Result<BTreeMap<TopicPartition, PartitionResult>, RequestFailed>,
) {
    let Ok(results) = results else { return };
    for (partition, bytes) in sizes {
        if let Some(PartitionResult::Error(error)) = results.get(partition) {
            pending.refused(partition, Asked::Produce { acks: acks.to_wire(), bytes: *bytes }, *error);
        }
    }
}

fn results_of(response: Response) -> Result<BTreeMap<TopicPartition, PartitionResult>, RequestFailed> {
    let Response::Produce(body) = response else {
        return Err(RequestFailed::Lost(format!("{:?} instead of Produce", response.api())));
    };
    Ok(partition_results(&body))
}

fn partition_results(body: &ProduceResponse) -> BTreeMap<TopicPartition, PartitionResult> {
    let mut results = BTreeMap::new();
    for topic in &body.responses {
        let name: Arc<str> = topic.name.as_str().into();
        for one in &topic.partition_responses {
            let result = match ErrorCode::check(one.error_code) {
                Ok(()) => PartitionResult::Written { base_offset: Some(one.base_offset) },
                Err(error) => PartitionResult::Error(error),
            };
            results.insert(TopicPartition::new(name.clone(), one.index), result);
        }
    }
    results
}
