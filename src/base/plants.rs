//! Planted bugs: real bugs of replicated logs and coordinators, re-introducible by name, so that
//! the simulator can be shown to find them and the checkers can be shown to bite.
//!
//! A plant is one small branch at the place where the fix lives:
//! `if plants.is(Plant::Kip101) { … }`. Cores take [`Plants`] as an argument. Shells get theirs
//! through [`Plants::for_runtime`], which a real runtime turns into the empty set at compile
//! time, so that no plant can be switched on in a cluster that serves real clients.

use std::fmt;
use std::str::FromStr;

macro_rules! plants {
    ($($(#[$doc:meta])* $name:ident = $id:literal),* $(,)?) => {
        /// One planted bug, named as in the catalogue. Each variant's doc says what goes wrong and
        /// which property breaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Plant { $($(#[$doc])* $name),* }

        impl Plant {
            /// Every plant, in the order of the catalogue.
            pub const ALL: &'static [Plant] = &[$(Plant::$name),*];

            /// The id under which it is catalogued and switched on.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Plant::$name => $id),* }
            }
        }
    };
}

plants! {
    /// A new follower truncates to its own high watermark instead of asking for the epoch's end
    /// offset (KIP-101, KAFKA-1211). Breaks durability.
    Kip101 = "KIP-101/KAFKA-1211",
    /// The leader answers an epoch that it does not know with its log end instead of the largest
    /// epoch below it, and the follower does not iterate (KIP-279). Breaks log matching.
    Kip279 = "KAFKA-6361/KIP-279",
    /// Fetches are not fenced by the current leader epoch (KIP-320). Breaks durability, log matching.
    Kip320 = "KAFKA-6880/KIP-320",
    /// The high watermark follows the proposed in-sync set instead of the maximal one (KIP-497).
    /// Breaks durability.
    AsyncIsr = "AsyncIsr/KIP-497",
    /// An in-sync change admits a replica without checking its broker epoch (KIP-903). Breaks durability.
    Kip903 = "KAFKA-14617/KIP-903",
    /// The last in-sync member is re-elected after an unclean shutdown (KIP-966). Breaks durability.
    Kip966 = "KIP-966",
    /// A deposed controller's writes are not conditional on the controller epoch. Breaks the
    /// in-sync set.
    Kafka6082 = "KAFKA-6082/1096",
    /// A producer snapshot is used after a crash although it was never synced. Breaks idempotence.
    Kafka9892 = "KAFKA-9892",
    /// The high watermark is not re-evaluated after the in-sync set shrank. Breaks liveness.
    Kafka13091 = "KAFKA-13091",
    /// A coordinator server acknowledges entries before they are durable (mapped from Zab's
    /// NEWLEADER acknowledgement). Breaks the coordinator's durability.
    Zk3911 = "ZK-3911/4646",
    /// A follower joins the in-sync set at the high watermark, before it has reached the start of the
    /// leader's epoch (KAFKA-7128). Breaks the in-sync set.
    Kafka7128 = "KAFKA-7128",
    /// The high watermark on a leader bounds no consumer: a slice of the log passes it (KAFKA-9835).
    /// Breaks the high watermark.
    Kafka9835 = "KAFKA-9835",
    /// A follower that begins anew keeps its high watermark below the start of its log (KAFKA-9491).
    /// Breaks liveness.
    Kafka9491 = "KAFKA-9491",
    /// A refusal of a proposed in-sync set is taken for its end, although a copy may still be committed
    /// (KAFKA-12686). Breaks the in-sync set, and durability by it.
    Kafka12686 = "KAFKA-12686",
    /// Where nobody in sync or eligible lives, any live replica leads (KAFKA-4623, KIP-106). Breaks
    /// durability.
    Kip106 = "KAFKA-4623/KIP-106",
    /// Where nobody in sync or eligible lives, the last known leader leads again, whatever it lost
    /// (KAFKA-19522). Breaks durability.
    Kafka19522 = "KAFKA-19522",
    /// Retention removes what is not committed yet (KAFKA-5634). Breaks retention and the high watermark.
    Kafka5634 = "KAFKA-5634",
    /// What is known of a producer goes with its last record that retention removes (KAFKA-5793,
    /// KIP-360). Breaks idempotence.
    Kip360 = "KAFKA-5793/7190/KIP-360",
    /// The name of a new log's directory is never synced (KAFKA-3968). Breaks durability.
    Kafka3968 = "KAFKA-3968",
    /// The marker of a clean shutdown outlives the start that found it (KAFKA-10471). Breaks durability.
    Kafka10471 = "KAFKA-10471/15375",
    /// Recovery goes on behind a torn batch where a whole one follows (commonware #4546). Breaks
    /// durability and log matching.
    Commonware4546 = "commonware-4546",
    /// A batch out of order in one partition gives every partition of the producer a new epoch, and what
    /// may have been written elsewhere is sent again as new (librdkafka #4953). Breaks idempotence.
    Librdkafka4953 = "librdkafka-4953",
    /// A coordinator server keeps entries that its leader's contradict (ZOOKEEPER-2845, 1154: no TRUNC).
    /// Breaks the coordinator's order.
    Zk2845 = "ZK-2845/1154",
    /// A vote does not survive a restart, so that there are two in one term (ClickHouse Keeper #113654).
    /// Breaks the coordinator's order.
    Keeper113654 = "keeper-113654",
    /// The wall clock decides when a session has expired (ZOOKEEPER-1366). Breaks sessions.
    Zk1366 = "ZK-1366",
    /// Our own canary: a leader acknowledges acks=all before anything is replicated. Breaks durability.
    Canary = "canary",
    /// Our own: the log does not check batch checksums when it reads. Breaks nothing_garbage.
    UncheckedChecksums = "unchecked-checksums",
    /// Our own: a watch event is delivered after the reply that shows the change. Breaks watch order.
    LateWatch = "late-watch",
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A name that is no plant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is not a plant; one of: {known}")]
pub struct UnknownPlant {
    name: String,
    known: String,
}

impl FromStr for Plant {
    type Err = UnknownPlant;

    /// Accepts the whole id or any of its parts between slashes, whatever the case.
    fn from_str(name: &str) -> Result<Self, UnknownPlant> {
        let matches = |plant: &&Plant| {
            plant.id().eq_ignore_ascii_case(name) || plant.id().split('/').any(|part| part.eq_ignore_ascii_case(name))
        };
        Plant::ALL.iter().find(matches).copied().ok_or_else(|| UnknownPlant {
            name: name.to_owned(),
            known: Plant::ALL.iter().map(|plant| plant.id()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The set of plants that are switched on. Empty by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plants(u64);

impl Plants {
    /// No plant: the code as it ships.
    pub const NONE: Plants = Plants(0);

    /// Just `plant`.
    #[must_use]
    pub const fn only(plant: Plant) -> Self {
        Plants(1 << plant as u8)
    }

    /// Whether `plant` is switched on.
    #[must_use]
    pub const fn is(self, plant: Plant) -> bool {
        self.0 & (1 << plant as u8) != 0
    }

    /// This set where `allowed`, else the empty set. Called with a runtime's `PLANTS`, a constant:
    /// on a real runtime every branch on the result is compiled out.
    #[must_use]
    pub const fn for_runtime(self, allowed: bool) -> Self {
        if allowed { self } else { Plants::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plant_is_found_by_each_part_of_its_id() {
        for plant in Plant::ALL {
            assert_eq!(plant.id().parse(), Ok(*plant));
            for part in plant.id().split('/').filter(|part| part.contains(|c: char| c.is_ascii_alphabetic())) {
                assert_eq!(part.to_lowercase().parse(), Ok(*plant));
            }
        }
        let error = "KIP-1".parse::<Plant>().expect_err("no such plant").to_string();
        assert!(error.contains("'KIP-1'") && error.contains("KIP-101"), "{error}");
    }

    #[test]
    fn a_real_runtime_has_no_plants() {
        assert!(Plants::only(Plant::Canary).is(Plant::Canary));
        assert!(!Plants::only(Plant::Canary).is(Plant::Kip101));
        assert_eq!(Plants::only(Plant::Canary).for_runtime(false), Plants::NONE);
    }
}
