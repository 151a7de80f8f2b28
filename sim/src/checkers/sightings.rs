//! Which value is known to be at which offset, and since when: what all checkers of the log share.
//!
//! A sighting is proof that a value was committed at an offset: a poll returned it, or acks=all
//! acknowledged it there. An offset that acks=0 or acks=1 returned proves nothing, because it may
//! be reused after a failover.

use crate::history::OpId;
use crate::history::kafka::{Call, KafkaHistory, PartitionIndex, Reply};
use crate::observed::seconds;

/// The first proof that `value` is at `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: i64,
    /// The value.
    pub value: u64,
    /// When it was known.
    pub time_ns: u64,
    /// The operation that proves it.
    pub op: OpId,
    /// Whether a poll returned it, now or later.
    pub polled: bool,
}

/// How a value was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The value.
    pub value: u64,
    /// The send.
    pub op: OpId,
}

/// All sightings of a history.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// By (partition, offset, value), each once, at its earliest time.
    pub by_offset: Vec<Sighting>,
    /// The sends, by value.
    pub sends: Vec<Sent>,
}

impl Sightings {
    /// Collects them.
    #[must_use]
    pub fn of(history: &KafkaHistory) -> Self {
        let mut by_offset = Vec::with_capacity(history.records.len());
        let mut sends = Vec::new();
        for (op, operation) in (0..).zip(&history.operations) {
            let time_ns = operation.ended_ns();
            let partition = operation.call.partition();
            if let Call::Send { value, acks, .. } = operation.call {
                sends.push(Sent { value, op });
                if let (-1, Some(Reply::Sent { offset: Some(offset) })) = (acks, operation.reply()) {
                    by_offset.push(Sighting { partition, offset: *offset, value, time_ns, op, polled: false });
                }
            }
            let polled = history.polled(operation).iter();
            by_offset.extend(polled.map(|&(offset, value)| Sighting {
                partition,
                offset,
                value,
                time_ns,
                op,
                polled: true,
            }));
        }
        by_offset.sort_unstable();
        by_offset.dedup_by(|later, kept| {
            let same = (later.partition, later.offset, later.value) == (kept.partition, kept.offset, kept.value);
            kept.polled |= same && later.polled;
            same
        });
        sends.sort_unstable();
        Sightings { by_offset, sends }
    }

    /// Those of partitions of which something is promised.
    #[must_use]
    pub fn promised(&self, history: &KafkaHistory) -> Self {
        let kept = |one: &&Sighting| !history.is_beyond(one.partition);
        Sightings { by_offset: self.by_offset.iter().filter(kept).copied().collect(), sends: self.sends.clone() }
    }

    /// The sightings of `partition`, by offset.
    #[must_use]
    pub fn of_partition(&self, partition: PartitionIndex) -> &[Sighting] {
        let start = self.by_offset.partition_point(|seen| seen.partition < partition);
        let end = self.by_offset.partition_point(|seen| seen.partition <= partition);
        &self.by_offset[start..end]
    }

    /// The first sighting strictly between two offsets, if any.
    #[must_use]
    pub fn between(&self, partition: PartitionIndex, after: i64, before: i64) -> Option<&Sighting> {
        let first = self.by_offset.partition_point(|seen| (seen.partition, seen.offset) <= (partition, after));
        self.by_offset.get(first).filter(|seen| seen.partition == partition && seen.offset < before)
    }

    /// The sends of `value`: one, unless the workload reused a value.
    pub fn sends_of(&self, value: u64) -> impl Iterator<Item = OpId> + '_ {
        let start = self.sends.partition_point(|sent| sent.value < value);
        self.sends[start..].iter().take_while(move |sent| sent.value == value).map(|sent| sent.op)
    }
}

/// `op`, as evidence names it.
#[must_use]
pub fn describe(history: &KafkaHistory, op: OpId) -> String {
    let Some(operation) = history.operations.get(op as usize) else { return format!("op {op}") };
    let name = history.name(operation.call.partition());
    let what = match operation.call {
        Call::Send { value, acks, .. } => {
            let acks = if acks == -1 { "all".to_owned() } else { acks.to_string() };
            let at = match operation.reply() {
                Some(Reply::Sent { offset: Some(offset) }) => format!(", acknowledged at offset {offset}"),
                Some(_) => ", acknowledged".to_owned(),
                None => String::new(),
            };
            format!("send of {value} to {name} with acks={acks}{at}")
        }
        Call::Poll { from, .. } => format!("poll of {name} from offset {from}"),
        Call::OffsetForTime { timestamp_ms, .. } => format!("lookup of the time {timestamp_ms} in {name}"),
        Call::Reposition { .. } => format!("seek in {name}"),
        Call::Reset { position, reason, .. } => format!("reset of {name} at {position} ({reason:?})"),
    };
    let until = operation.completed_ns.map_or("open".to_owned(), seconds);
    format!("op {op} (client {}, {} to {until}): {what}", operation.client, seconds(operation.invoked_ns))
}

#[cfg(test)]
pub(crate) mod examples {
    //! Short ways to write a history by hand.

    use super::*;
    use crate::history::{Client, Outcome};
    use wyrdlog::base::ids::TopicPartition;

    /// A history of one partition, `t-0`, whose operations take one nanosecond each.
    pub struct Script {
        /// What was written so far.
        pub history: KafkaHistory,
        /// The next instant.
        pub now_ns: u64,
    }

    impl Script {
        pub fn new() -> Self {
            Script { history: KafkaHistory::new(vec![TopicPartition::new("t", 0)]), now_ns: 0 }
        }

        pub fn tick(&mut self) -> u64 {
            self.now_ns += 1;
            self.now_ns
        }

        pub fn invoke(&mut self, client: Client, call: Call) -> OpId {
            let now = self.tick();
            self.history.invoke(client, now, call)
        }

        pub fn sent(&mut self, acks: i16, value: u64, idempotent: Option<u32>, outcome: Outcome<i64>) -> OpId {
            let op = self.invoke(0, Call::Send { partition: 0, value, acks, idempotent });
            let now = self.tick();
            match outcome {
                Outcome::Ok(at) => self.history.complete(op, now, Outcome::Ok(Reply::Sent { offset: Some(at) })),
                Outcome::Failed => self.history.complete(op, now, Outcome::Failed),
                Outcome::Unknown => {}
            }
            op
        }

        /// acks=all, acknowledged at `offset`, idempotent.
        pub fn acked(&mut self, value: u64, offset: i64) -> OpId {
            self.sent(-1, value, Some(1), Outcome::Ok(offset))
        }

        pub fn poll(&mut self, client: Client, from: i64, last_phase: bool, records: &[(i64, u64)]) -> OpId {
            let op = self.invoke(client, Call::Poll { partition: 0, from, last_phase });
            let now = self.tick();
            self.history.complete_poll(op, now, records.iter().copied());
            op
        }

        pub fn seek(&mut self, client: Client) {
            let op = self.invoke(client, Call::Reposition { partition: 0 });
            let now = self.tick();
            self.history.complete(op, now, Outcome::Ok(Reply::Repositioned));
        }

        pub fn judge(
            &self,
            checker: impl Fn(&KafkaHistory, &Sightings) -> crate::verdict::Findings,
        ) -> crate::verdict::Findings {
            checker(&self.history, &Sightings::of(&self.history))
        }
    }
}
