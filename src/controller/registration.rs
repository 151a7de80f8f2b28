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

/// A broker's registration, as its ephemeral znode tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Registration {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation: the creation zxid of the znode.
    pub broker_epoch: BrokerEpoch,
    /// The incarnation whose logs it continues, as its disk tells (KIP-966).
    pub previous: Option<BrokerEpoch>,
    /// What is left of them.
    pub shutdown: LastShutdown,
    /// Where to reach it.
    pub endpoints: Vec<Endpoint>,
    /// Its rack, if it told.
    pub rack: Option<Arc<str>>,
}

impl Registration {
    /// Whether it holds all that the incarnation `earlier` held. That an incarnation in between may
    /// have lost something is why the two must be neighbours.
    #[must_use]
    pub fn continues(&self, earlier: BrokerEpoch, durability: Durability) -> bool {
        self.broker_epoch == earlier || (self.previous == Some(earlier) && self.shutdown.retains(durability))
    }

    /// What the other brokers learn.
    #[must_use]
    pub fn metadata(&self) -> BrokerMetadata {
        BrokerMetadata { broker_epoch: self.broker_epoch, endpoints: self.endpoints.clone(), rack: self.rack.clone() }
    }
}
