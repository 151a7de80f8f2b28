//! Special forms of faults that a sweep counts beside their kinds: a kind may be common while one of
//! its forms never occurs.

use serde::{Serialize, Serializer};

macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident = $id:literal),* $(,)?) => {
        /// A form of a fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Form { $($(#[$doc])* $name),* }

        impl Form {
            /// All of them.
            pub const ALL: &'static [Form] = &[$(Form::$name),*];

            /// Its name in reports.
            #[must_use]
            pub fn id(self) -> &'static str { match self { $(Form::$name => $id),* } }
        }
    };
}

forms! {
    /// A partition of some nodes from all others.
    PartitionSymmetric = "partition-symmetric",
    /// A partition of one direction.
    PartitionOneWay = "partition-one-way",
    /// A partition of nodes from everybody.
    PartitionOneFromAll = "partition-one-from-all",
    /// A partition of which one node reaches both halves.
    PartitionBridge = "partition-bridge",
    /// A partition in which every node has a majority of its own.
    PartitionMajorityRing = "partition-majority-ring",
    /// A partition of some nodes from each other and from nobody else.
    PartitionBetween = "partition-between",
    /// A partition of some nodes from all other servers and from no client.
    PartitionFromServers = "partition-from-servers",
    /// A partition that reset connections.
    PartitionResets = "partition-with-resets",
    /// A partition that healed node by node.
    PartitionInParts = "partition-healed-in-parts",
    /// A partition that cut a client off.
    PartitionOfClient = "partition-of-a-client",
    /// A link that carried fewer bytes a second.
    NarrowLink = "narrow-link",
    /// A link that delayed some packets, so that connections overtook each other.
    ReorderingLink = "reordering-link",
    /// A frame was cut short by a reset.
    ResetInMidFrame = "reset-in-mid-frame",
    /// Several nodes lost power in one instant.
    CorrelatedPowerLoss = "correlated-power-loss",
    /// A write that was not synced was gone after a power loss.
    LostWrite = "lost-write",
    /// Of a write that was not synced a part was left after a power loss.
    TornWrite = "torn-write",
    /// A creation, rename or removal was taken back by a power loss.
    LostName = "lost-name",
    /// Calls of a disk failed as long as the fault lasted.
    StickyIoError = "sticky-io-error",
    /// Record batches, or the coordinator's log, were damaged.
    DamagedLog = "damaged-log",
    /// An index was damaged.
    DamagedIndex = "damaged-index",
    /// A checkpoint was damaged.
    DamagedCheckpoint = "damaged-checkpoint",
    /// A snapshot was damaged.
    DamagedSnapshot = "damaged-snapshot",
}

impl Form {
    /// Whether only a broker can feel it.
    #[must_use]
    pub fn is_of_brokers(self) -> bool {
        matches!(self, Form::DamagedIndex | Form::DamagedCheckpoint)
    }
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
