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

/// How many incarnations a lineage names. Of one that is older nothing is known, as if it had been lost.
pub const INCARNATIONS_MAX: usize = 64;

/// Incarnations of one broker, each of which went on with the logs of the one before it. They are
/// named one by one: between two of them there may have been others, on a disk that was swapped for
/// this one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage {
    /// Those since which nothing that was synced has been lost, oldest first; at least one.
    incarnations: Vec<BrokerEpoch>,
    /// The first of them since which nothing that was written has been lost.
    written_since: BrokerEpoch,
}

impl Lineage {
    /// Of one incarnation alone.
    #[must_use]
    pub fn of(broker_epoch: BrokerEpoch) -> Self {
        Lineage { incarnations: vec![broker_epoch], written_since: broker_epoch }
    }

    /// Of `incarnations`, oldest first. None if there are none.
    #[must_use]
    pub fn from_parts(incarnations: Vec<BrokerEpoch>, written_since: BrokerEpoch) -> Option<Self> {
        let in_order = incarnations.is_sorted_by(|earlier, later| earlier < later);
        let named = in_order && !incarnations.is_empty() && incarnations.len() <= INCARNATIONS_MAX;
        named.then_some(Lineage { incarnations, written_since })
    }

    /// The lineage of `broker_epoch`, which found of `before` what `shutdown` says.
    #[must_use]
    pub fn continued(before: Option<&Lineage>, shutdown: LastShutdown, broker_epoch: BrokerEpoch) -> Self {
        let kept = |durability| before.filter(|_| shutdown.retains(durability));
        let written_since = kept(Durability::PageCache).map_or(broker_epoch, |line| line.written_since);
        let mut incarnations = kept(Durability::Synced).map_or_else(Vec::new, |line| line.incarnations.clone());
        incarnations.push(broker_epoch);
        let forgotten = incarnations.len().saturating_sub(INCARNATIONS_MAX);
        incarnations.drain(..forgotten);
        Lineage { incarnations, written_since }
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn incarnations(&self) -> &[BrokerEpoch] {
        &self.incarnations
    }

    /// The last of them.
    #[must_use]
    pub fn last(&self) -> BrokerEpoch {
        *self.incarnations.last().expect("a lineage names at least one incarnation")
    }

    /// The first since which nothing that was written has been lost.
    #[must_use]
    pub fn written_since(&self) -> BrokerEpoch {
        self.written_since
    }

    /// Whether all that the incarnation `earlier` held was still there in the last one.
    fn holds(&self, earlier: BrokerEpoch, durability: Durability) -> bool {
        let kept = match durability {
            Durability::PageCache => earlier >= self.written_since,
            Durability::Synced => true,
        };
        kept && self.incarnations.contains(&earlier)
    }
}

/// A broker's registration, as its ephemeral znode tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation: the zxid of the write by which it took it.
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
        let holds = |line: &Lineage| self.shutdown.retains(durability) && line.holds(earlier, durability);
        self.broker_epoch == earlier || self.previous.as_ref().is_some_and(holds)
    }

    /// What the other brokers learn.
    #[must_use]
    pub fn metadata(&self) -> BrokerMetadata {
        BrokerMetadata { broker_epoch: self.broker_epoch, endpoints: self.endpoints.clone(), rack: self.rack.clone() }
    }
}
