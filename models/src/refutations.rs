//! Which plant is refuted by which model, within which bounds. The same bounds hold without the plant:
//! that is what makes the refutation one.

use wyrdlog::base::plants::Plant;

/// A plant, and where a counterexample is found.
pub struct Refutation {
    /// The plant.
    pub plant: Plant,
    /// The model.
    pub model: &'static str,
    /// The named bounds.
    pub profile: &'static str,
}

/// One row for each plant whose branch lies in a core that is modelled.
pub const REFUTATIONS: &[Refutation] = &[
    Refutation { plant: Plant::Kip101, model: "replication", profile: "two-in-flight" },
    Refutation { plant: Plant::Kip279, model: "replication", profile: "divergence" },
    Refutation { plant: Plant::Kip320, model: "replication", profile: "elections" },
    Refutation { plant: Plant::AsyncIsr, model: "replication", profile: "lag" },
    Refutation { plant: Plant::Kip903, model: "replication", profile: "power-loss" },
    Refutation { plant: Plant::Kip966, model: "replication", profile: "unclean" },
    Refutation { plant: Plant::Kafka6082, model: "replication", profile: "failover" },
    Refutation { plant: Plant::Kafka13091, model: "replication", profile: "lag" },
    Refutation { plant: Plant::Zk3911, model: "consensus", profile: "append" },
];
