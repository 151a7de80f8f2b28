//! What a checker can say: the properties with their statements, and violations with evidence.
//!
//! A checker that never evaluated anything has not passed: [`Findings`] carries the number of
//! non-trivial evaluations beside the violations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::file_error::nearest;
use crate::narrate::Names;

/// The most violations that one checker keeps; the rest are only counted.
pub const VIOLATIONS_PER_CHECKER_MAX: usize = 16;

macro_rules! properties {
    ($($name:ident = $id:literal, $durability:literal, $statement:literal, $source:literal;)*) => {
        /// A property that is checked; named as in `docs/FAULTS.md` and the checkers' table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // Each variant's statement is its documentation.
        pub enum Property { $(#[doc = $statement] $name),* }

        impl Property {
            /// Every property.
            pub const ALL: &'static [Property] = &[$(Property::$name),*];

            /// Its name.
            #[must_use]
            pub fn id(self) -> &'static str { match self { $(Property::$name => $id),* } }

            /// What must hold.
            #[must_use]
            pub fn statement(self) -> &'static str { match self { $(Property::$name => $statement),* } }

            /// Where the statement comes from.
            #[must_use]
            pub fn source(self) -> &'static str { match self { $(Property::$name => $source),* } }

            /// Whether it promises durability, and so promises nothing past the fault budget.
            #[must_use]
            pub fn is_durability(self) -> bool { match self { $(Property::$name => $durability),* } }
        }
    };
}

properties! {
    OneLeaderPerEpoch = "one_leader_per_epoch", false,
        "no two incarnations act as leader of a partition in one leader epoch, as controller in one controller epoch, or as leader of the coordinator in one term",
        "Raft §5.2, KIP-101";
    LogMatching = "log_matching", false,
        "on the overlap of two replicas the same (offset, leader epoch) means the same bytes as written, there and before",
        "Raft §5.3, Kip320 TLA+";
    LeaderCompleteness = "leader_completeness", true,
        "a new clean leader holds every record in [log start, highest high watermark ever exposed)",
        "Raft §5.4, KIP-966 TLA+";
    CommittedSurvives = "committed_survives", true,
        "a record acknowledged with acks=all and above the log start is in every later clean leader's log",
        "Kafka design, KIP-966";
    HighWatermarkSafety = "high_watermark_safety", false,
        "the high watermark never passes the counted log end of a running member of the maximal in-sync set, never moves while that set is smaller than min.insync.replicas, and no consumer reads past it",
        "Kip320 StrongIsr, KIP-966";
    HighWatermarkProgress = "high_watermark_progress", false,
        "what a leader knows to be on every replica that it waits for is committed in the step in which it learns so",
        "KAFKA-13091";
    IsrCompleteness = "isr_completeness", true,
        "membership of the in-sync set, in the named incarnation, implies the log up to the high watermark",
        "StrongIsr, KIP-497, KIP-903";
    EligibleCompleteness = "eligible_completeness", true,
        "a member of the eligible-leader set holds everything ever exposed while it runs in the named incarnation, and whenever it is elected",
        "KIP-966 TLA+";
    RetentionJustified = "retention_justified", false,
        "a log's start moves only by configured retention or to its leader's start, never past the high watermark, and what is left is what retention promises: no less, and no more than a segment",
        "Kafka design, KAFKA-5634";
    FencedStaysFenced = "fenced_stays_fenced", false,
        "nothing of an older leader epoch, broker epoch, controller epoch or producer epoch takes effect",
        "KIP-320, KIP-631, KIP-890";
    IdempotentOrder = "idempotent_order", false,
        "for each (producer id, epoch) sequences are contiguous modulo 2^31 in each partition's log",
        "KIP-98";
    StateMachineSafety = "state_machine_safety", true,
        "applied entries of the coordinator are identical at each zxid on all servers, and state digests agree",
        "Raft §5.4.3, Zab integrity";
    SessionSafety = "session_safety", false,
        "ephemerals of an ended session are gone on every server that applied the end; none vanish while the session lives unless deleted by request",
        "ZooKeeper programmer's guide";
    WatchOrder = "watch_order", false,
        "a watch event is delivered before any reply that shows the change",
        "ZooKeeper programmer's guide";
    NothingGarbage = "nothing_garbage", false,
        "no byte that fails its checksum, and no record that nobody sent, is returned to a client or counted as a replica",
        "protocol-aware recovery, FAST'18";
    RecoveredPrefix = "recovered_prefix", false,
        "a log recovers all that was written after a process crash, and all that was synced after a power loss",
        "fault table: process crash, power loss";
    InconsistentOffsets = "inconsistent-offsets", true,
        "one (partition, offset) maps to one value, among polled values and acks=all acknowledgements",
        "Jepsen, Redpanda 21.10.1";
    Duplicate = "duplicate", true,
        "a value of an idempotent producer is at one offset only",
        "Jepsen, KIP-98";
    LostWrite = "lost-write", true,
        "a value provably committed and below the highest offset read is polled",
        "Jepsen, Redpanda 21.10.1";
    Unseen = "unseen", true,
        "a value acknowledged with acks=all and above the log start is polled by the end",
        "Jepsen, Redpanda 21.10.1";
    AbortedRead = "aborted-read", false,
        "no poll returns a write known to have failed",
        "Adya G1a";
    LandsWhereSent = "lands_where_sent", false,
        "a unique value is found only in the partition that it was sent to",
        "KAFKA-19012";
    UnexpectedReset = "unexpected-reset", false,
        "a consumer is told OFFSET_OUT_OF_RANGE, or of a truncation, only where retention or a loss past the budget explains it",
        "KIP-320, Kafka's consumer";
    OffsetForTime = "offset-for-time", false,
        "a lookup by time answers the first offset whose record is as young as asked, among those in the log at some instant of the lookup",
        "Kafka's ListOffsets";
    PollSkip = "poll-skip", false,
        "a client's reads skip no value without a rebalance or a seek",
        "Jepsen, Redpanda 21.10.1";
    NonmonotonicPoll = "nonmonotonic-poll", false,
        "a client's reads never go back without a rebalance or a seek",
        "Jepsen, Redpanda 21.10.1";
    NonmonotonicSend = "nonmonotonic-send", true,
        "an idempotent client's sends take effect in its order",
        "Jepsen, KIP-98";
    WriteCycle = "write-cycle", true,
        "the order of offsets contains no cycle with the order of real time",
        "Adya G0, Elle";
    Linearizability = "linearizability", true,
        "the coordinator's writes and sync+reads are linearizable",
        "Herlihy & Wing 1990; Porcupine";
    QuorumHeard = "quorum_heard", false,
        "a server answers a sync or a write of a client of the coordinator only once it has heard of a quorum since it was asked",
        "Raft dissertation, section 6.4";
    SnapshotRead = "snapshot-read", true,
        "each plain read of the coordinator equals the state at its reply's zxid",
        "ZooKeeper programmer's guide";
    SessionOrder = "session-order", true,
        "within a session zxids never fall and cover the session's own writes",
        "ZooKeeper programmer's guide";
    SessionLength = "session_length", false,
        "a session expires only when its leader heard nothing of it for the negotiated time-out on its monotonic clock, and it does expire, at most a tick and a bound later",
        "ZooKeeper programmer's guide, ZK-1366";
    ReplayEqualsLive = "replay_equals_live", false,
        "state rebuilt from the newest snapshot and the log on a disk equals the live replicated state at that entry",
        "KIP-848 runtime, Redpanda CORE-17000";
    RightRefusal = "right_refusal", false,
        "a refusal carries a code that is legal at some state between invocation and completion",
        "KAFKA-19690, KAFKA-19233, ZooKeeper programmer's guide";
    AnswersByProtocol = "answers_by_protocol", false,
        "every answer is the one that the protocol prescribes for that request in that state, in order, or the connection ends where it prescribes that",
        "Kafka protocol guide, ZooKeeper guide";
    StaysUp = "stays-up", false,
        "no node panics or stands still; none stops by itself, and none calls a log damaged, unless a fault struck that very thing",
        "nothing that a client, a peer or a network does may end a node";
    BoundedEffort = "bounded_effort", false,
        "no server connects, sends or syncs more in a second than clients and other servers give it occasion to: whoever fails pauses before it tries again",
        "Kafka's reconnect.backoff.ms; metastable failures, HotOS'21";
    Availability = "availability", false,
        "within 30 simulated seconds after healing every client progresses, every in-sync set is full, and replicas and digests agree",
        "liveness phase";
}

impl Property {
    /// Whether it is judged after every event, so that a run may end in the very step that violates it.
    #[must_use]
    pub fn is_judged_at_once(self) -> bool {
        matches!(
            self,
            Property::OneLeaderPerEpoch
                | Property::LogMatching
                | Property::LeaderCompleteness
                | Property::CommittedSurvives
                | Property::HighWatermarkSafety
                | Property::HighWatermarkProgress
                | Property::IsrCompleteness
                | Property::FencedStaysFenced
                | Property::IdempotentOrder
                | Property::StateMachineSafety
                | Property::SessionSafety
                | Property::WatchOrder
                | Property::RecoveredPrefix
        )
    }

    /// Whether a cluster without brokers evaluates it, too.
    #[must_use]
    pub fn is_of_coordinators(self) -> bool {
        matches!(
            self,
            Property::OneLeaderPerEpoch
                | Property::StateMachineSafety
                | Property::SessionSafety
                | Property::WatchOrder
                | Property::Linearizability
                | Property::QuorumHeard
                | Property::SnapshotRead
                | Property::SessionOrder
                | Property::SessionLength
                | Property::RightRefusal
                | Property::AnswersByProtocol
                | Property::ReplayEqualsLive
                | Property::StaysUp
                | Property::BoundedEffort
                | Property::Availability
        )
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A name that is no property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is not a property; {}", remedy(.name))]
pub struct UnknownProperty {
    /// The name.
    pub name: String,
}

fn remedy(given: &str) -> String {
    let known: Vec<&str> = Property::ALL.iter().map(|property| property.id()).collect();
    match nearest(given, &known) {
        Some(name) => format!("did you mean '{name}'?"),
        None => format!("one of {}", known.join(", ")),
    }
}

impl FromStr for Property {
    type Err = UnknownProperty;

    fn from_str(text: &str) -> Result<Self, UnknownProperty> {
        let found = Property::ALL.iter().find(|property| property.id() == text);
        found.copied().ok_or_else(|| UnknownProperty { name: text.to_owned() })
    }
}

impl Serialize for Property {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A property that does not hold, and how one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which property.
    pub property: Property,
    /// What contradicts it, in Kafka's words: partition, offsets, values, nodes, times.
    pub evidence: String,
    /// When it showed, in virtual nanoseconds.
    pub time_ns: u64,
    /// The events or operations involved, oldest first: ordinals in the run's event log for an
    /// invariant, operation numbers of the history for a checker.
    pub involved: Vec<u64>,
}

impl Violation {
    /// The violation with nodes named as people know them.
    #[must_use]
    pub fn named(self, names: &Names) -> Violation {
        Violation { evidence: names.render(&self.evidence), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = crate::observed::seconds(self.time_ns);
        writeln!(f, "{} is violated at {at}: {}", self.property, self.property.statement())?;
        write!(f, "  {}", self.evidence)
    }
}

/// What one checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// What it checks.
    pub property: Property,
    /// How often it compared something that could have been wrong.
    pub evaluations: u64,
    /// How many violations there were in all.
    pub violated: u64,
    /// The first [`VIOLATIONS_PER_CHECKER_MAX`] of them.
    pub violations: Vec<Violation>,
}

impl Findings {
    /// Nothing evaluated yet.
    #[must_use]
    pub fn new(property: Property) -> Self {
        Findings { property, evaluations: 0, violated: 0, violations: Vec::new() }
    }

    /// Counts an evaluation; where `holds` is false, keeps a violation. The evidence is only put
    /// together then.
    pub fn check(
        &mut self,
        holds: bool,
        time_ns: u64,
        involved: impl AsRef<[u64]>,
        evidence: impl FnOnce() -> String,
    ) -> bool {
        self.evaluations += 1;
        if !holds {
            self.violated += 1;
            if self.violations.len() < VIOLATIONS_PER_CHECKER_MAX {
                let involved = involved.as_ref().to_vec();
                self.violations.push(Violation { property: self.property, evidence: evidence(), time_ns, involved });
            }
        }
        holds
    }

    /// Whether something was evaluated and nothing violated.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.evaluations > 0 && self.violated == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_found_by_its_name() {
        for property in Property::ALL {
            assert_eq!(property.id().parse(), Ok(*property));
        }
        let error = "lost-writ".parse::<Property>().expect_err("a typing error");
        assert_eq!(error.to_string(), "'lost-writ' is not a property; did you mean 'lost-write'?");
    }

    #[test]
    fn a_checker_that_never_evaluated_has_not_passed() {
        let mut findings = Findings::new(Property::Unseen);
        assert!(!findings.passed());
        assert!(findings.check(true, 1, [], String::new) && findings.passed());
        assert!(!findings.check(false, 2, [7], || "t-0@5".to_owned()) && !findings.passed());
        assert_eq!((findings.evaluations, findings.violated), (2, 1));
        assert!(findings.violations[0].to_string().contains("0.000000002 s"));
    }
}
