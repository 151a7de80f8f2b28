//! How a broker registers, and what its last shutdown did to its logs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::metadata::{BrokerMetadata, Endpoint};
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::base::partition_state::Durability;

/// What is left of what an earlier incarnation wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastShutdown {
    /// Everything: the marker of a clean shutdown was found, or the operating system has not
    /// restarted since, or the process lives and merely registered anew.
    Clean,
    /// What was synced: the power may have failed.
    Unclean,
    /// Nothing: the disk is new, was replaced or had to be given up.
    Blank,
}

impl LastShutdown {
    /// Whether every record that counted as replicated is still there.
    #[must_use]
    pub fn retains(self, durability: Durability) -> bool {
        match self {
            LastShutdown::Clean => true,
            LastShutdown::Unclean => durability == Durability::Synced,
            LastShutdown::Blank => false,
        }
    }
}

/// Incarnations of one broker, each of which went on with the logs of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lineage {
    /// The last of them.
    pub last: BrokerEpoch,
    /// The first from which on nothing that was written has been lost.
    pub written_since: BrokerEpoch,
    /// The first from which on nothing that was synced has been lost.
    pub synced_since: BrokerEpoch,
}

impl Lineage {
    /// Of one incarnation alone.
    #[must_use]
    pub fn of(broker_epoch: BrokerEpoch) -> Self {
        Lineage { last: broker_epoch, written_since: broker_epoch, synced_since: broker_epoch }
    }

    /// The lineage of `broker_epoch`, which found of `before` what `shutdown` says.
    #[must_use]
    pub fn continued(before: Option<Lineage>, shutdown: LastShutdown, broker_epoch: BrokerEpoch) -> Self {
        let since = |durability| before.filter(|_| shutdown.retains(durability)).map(|line| line.since(durability));
        Lineage {
            last: broker_epoch,
            written_since: since(Durability::PageCache).unwrap_or(broker_epoch),
            synced_since: since(Durability::Synced).unwrap_or(broker_epoch),
        }
    }

    fn since(&self, durability: Durability) -> BrokerEpoch {
        match durability {
            Durability::PageCache => self.written_since,
            Durability::Synced => self.synced_since,
        }
    }

    /// Whether all that the incarnation `earlier` held was still there in the last one.
    fn holds(&self, earlier: BrokerEpoch, durability: Durability) -> bool {
        (self.since(durability)..=self.last).contains(&earlier)
    }
}

/// A broker's registration, as its ephemeral znode tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Registration {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation: the creation zxid of the znode.
    pub broker_epoch: BrokerEpoch,
    /// The incarnations whose logs it continues, as its disk tells (KIP-966).
    pub previous: Option<Lineage>,
    /// What is left of them.
    pub shutdown: LastShutdown,
    /// Where to reach it.
    pub endpoints: Vec<Endpoint>,
    /// Its rack, if it told.
    pub rack: Option<Arc<str>>,
}

impl Registration {
    /// Whether it holds all that the incarnation `earlier` held. There may have been others in
    /// between, while nobody was controller: what they lost is lost here too, and what they kept is
    /// not held against it.
    #[must_use]
    pub fn continues(&self, earlier: BrokerEpoch, durability: Durability) -> bool {
        let holds = |line: Lineage| self.shutdown.retains(durability) && line.holds(earlier, durability);
        self.broker_epoch == earlier || self.previous.is_some_and(holds)
    }

    /// What the other brokers learn.
    #[must_use]
    pub fn metadata(&self) -> BrokerMetadata {
        BrokerMetadata { broker_epoch: self.broker_epoch, endpoints: self.endpoints.clone(), rack: self.rack.clone() }
    }
}
