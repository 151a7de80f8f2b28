//! What a fault does. Pure data: the engine's side carries it out.

use serde::{Deserialize, Serialize};

use super::target::Target;

/// How a partition cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The targets from all others, in both directions.
    Symmetric,
    /// Nothing that the targets send arrives; what is sent to them does.
    OneWay,
    /// Each target from everybody, the other targets included.
    OneFromAll,
    /// Two halves that only the first target reaches.
    Bridge,
    /// Every node reaches a majority, and no two the same one. Targets are ignored.
    MajorityRing,
    /// The targets from each other, while everybody else reaches all of them and is reached by them: a
    /// partial partition.
    Between,
    /// The targets from all other servers, while clients reach everybody: whoever leads goes on being
    /// asked.
    FromServers,
}

/// Which bytes rot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// Record batches.
    Log,
    /// An offset, time or transaction index.
    Index,
    /// A checkpoint.
    Checkpoint,
    /// A snapshot of the coordinator or of producer state.
    Snapshot,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Cuts the network.
    Partition {
        /// How.
        shape: Shape,
        /// Around whom.
        targets: Vec<Target>,
        /// Whether established connections are reset; else they hang until it heals.
        resets: bool,
        /// Whether it heals node by node, in a drawn order with drawn times between, as an operator
        /// plugs cables in again ("swizzle"); else in one instant.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_parts: bool,
    },
    /// Delays what a node sends and receives.
    SlowLink {
        /// Whose links.
        target: Target,
        /// Added to each direction.
        latency_ms: u64,
        /// How many bytes a second they carry in each direction; where absent, as many as before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes_per_s: Option<u64>,
    },
    /// Loses packets: the streams over them stall and catch up. Or delays some, so that connections
    /// overtake each other.
    LossyLink {
        /// Whose links.
        target: Target,
        /// Of a thousand packets.
        lost_per_mille: u32,
        /// Of a thousand packets, those that are late by up to `late_ms`.
        #[serde(default, skip_serializing_if = "is_none_of")]
        late_per_mille: u32,
        /// See `late_per_mille`.
        #[serde(default, skip_serializing_if = "is_none_of")]
        late_ms: u32,
    },
    /// Resets a node's connections, in mid-frame where there is one.
    ResetConnections {
        /// Whose.
        target: Target,
    },
    /// Kills processes; their operating systems keep what was written.
    Crash {
        /// Whom.
        targets: Vec<Target>,
    },
    /// Cuts the power of several nodes in one instant: silent, and unsynced writes may be lost.
    PowerLoss {
        /// Whom.
        targets: Vec<Target>,
    },
    /// Freezes a process while network and time go on.
    Pause {
        /// Whom.
        target: Target,
    },
    /// Sets a wall clock forward or back.
    ClockJump {
        /// Whose.
        target: Target,
        /// By how much.
        by_ms: i64,
    },
    /// Makes a node's clocks run at another rate.
    ClockDrift {
        /// Whose.
        target: Target,
        /// Parts per million, faster or slower.
        ppm: i64,
    },
    /// Makes reads and writes of a disk fail.
    IoError {
        /// Whose disk.
        target: Target,
        /// Whether it fails once or for good.
        sticky: bool,
    },
    /// Makes the next sync fail, once; what was written since the last is gone.
    FsyncFailure {
        /// Whose disk.
        target: Target,
    },
    /// Makes the next sync of a directory fail, once; names that changed there may be gone.
    DirectorySyncFailure {
        /// Whose disk.
        target: Target,
    },
    /// Fills a disk.
    DiskFull {
        /// Whose disk.
        target: Target,
    },
    /// Slows a disk down.
    SlowDisk {
        /// Whose disk.
        target: Target,
        /// How many times slower.
        factor: u32,
    },
    /// Damages bytes at rest.
    BitRot {
        /// Whose disk.
        target: Target,
        /// Which files.
        victim: Victim,
        /// How many bytes.
        bytes: u32,
    },
    /// Stops a node cleanly and starts it again.
    Restart {
        /// Whom.
        target: Target,
    },
    /// Replaces a node's disk by an empty one, under the same id.
    Replace {
        /// Whom.
        target: Target,
    },
    /// Copies a node's disk while its power is off, starts it again, and when the fault ends puts the
    /// copy in the disk's place.
    SwapDisk {
        /// Whom.
        target: Target,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none_of(number: &u32) -> bool {
    *number == 0
}

/// The kinds of faults: what a swarm switches on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // Each is documented at the action of the same name.
pub enum FaultKind {
    Partition,
    SlowLink,
    LossyLink,
    ResetConnections,
    Crash,
    PowerLoss,
    Pause,
    ClockJump,
    ClockDrift,
    IoError,
    FsyncFailure,
    DiskFull,
    SlowDisk,
    BitRot,
    Restart,
    Replace,
    DirectorySyncFailure,
    SwapDisk,
}

impl FaultKind {
    /// All of them.
    pub const ALL: &'static [FaultKind] = &[
        FaultKind::Partition,
        FaultKind::SlowLink,
        FaultKind::LossyLink,
        FaultKind::ResetConnections,
        FaultKind::Crash,
        FaultKind::PowerLoss,
        FaultKind::Pause,
        FaultKind::ClockJump,
        FaultKind::ClockDrift,
        FaultKind::IoError,
        FaultKind::FsyncFailure,
        FaultKind::DiskFull,
        FaultKind::SlowDisk,
        FaultKind::BitRot,
        FaultKind::Restart,
        FaultKind::Replace,
        FaultKind::DirectorySyncFailure,
        FaultKind::SwapDisk,
    ];
}

impl FaultKind {
    /// Whether only a broker can feel it.
    #[must_use]
    pub fn is_of_brokers(self) -> bool {
        matches!(self, FaultKind::Replace | FaultKind::SwapDisk)
    }

    /// Whether it is over as soon as it struck: what it did stays, and nothing ends it.
    #[must_use]
    pub fn is_instant(self) -> bool {
        matches!(
            self,
            FaultKind::ResetConnections
                | FaultKind::ClockJump
                | FaultKind::FsyncFailure
                | FaultKind::DirectorySyncFailure
                | FaultKind::BitRot
                | FaultKind::Restart
                | FaultKind::Replace
        )
    }
}

impl Action {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Action::Partition { .. } => FaultKind::Partition,
            Action::SlowLink { .. } => FaultKind::SlowLink,
            Action::LossyLink { .. } => FaultKind::LossyLink,
            Action::ResetConnections { .. } => FaultKind::ResetConnections,
            Action::Crash { .. } => FaultKind::Crash,
            Action::PowerLoss { .. } => FaultKind::PowerLoss,
            Action::Pause { .. } => FaultKind::Pause,
            Action::ClockJump { .. } => FaultKind::ClockJump,
            Action::ClockDrift { .. } => FaultKind::ClockDrift,
            Action::IoError { .. } => FaultKind::IoError,
            Action::FsyncFailure { .. } => FaultKind::FsyncFailure,
            Action::DiskFull { .. } => FaultKind::DiskFull,
            Action::SlowDisk { .. } => FaultKind::SlowDisk,
            Action::BitRot { .. } => FaultKind::BitRot,
            Action::Restart { .. } => FaultKind::Restart,
            Action::Replace { .. } => FaultKind::Replace,
            Action::DirectorySyncFailure { .. } => FaultKind::DirectorySyncFailure,
            Action::SwapDisk { .. } => FaultKind::SwapDisk,
        }
    }

    /// Whom it hits.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        match self {
            Action::Partition { targets, .. } | Action::Crash { targets } | Action::PowerLoss { targets } => targets,
            Action::SlowLink { target, .. }
            | Action::LossyLink { target, .. }
            | Action::ResetConnections { target }
            | Action::Pause { target }
            | Action::ClockJump { target, .. }
            | Action::ClockDrift { target, .. }
            | Action::IoError { target, .. }
            | Action::FsyncFailure { target }
            | Action::DiskFull { target }
            | Action::SlowDisk { target, .. }
            | Action::BitRot { target, .. }
            | Action::Restart { target }
            | Action::Replace { target }
            | Action::DirectorySyncFailure { target }
            | Action::SwapDisk { target } => std::slice::from_ref(target),
        }
    }

    /// Aims it at `targets` instead: at the first one, where it can have only one.
    pub fn aim_at(&mut self, targets: &[Target]) {
        if let Some(aimed) = self.targets_mut() {
            *aimed = targets.to_vec();
        } else if let Some((aimed, first)) = self.target_mut().zip(targets.first()) {
            *aimed = first.clone();
        }
    }

    /// The target, where it has one.
    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Action::Partition { .. } | Action::Crash { .. } | Action::PowerLoss { .. } => None,
            Action::SlowLink { target, .. }
            | Action::LossyLink { target, .. }
            | Action::ResetConnections { target }
            | Action::Pause { target }
            | Action::ClockJump { target, .. }
            | Action::ClockDrift { target, .. }
            | Action::IoError { target, .. }
            | Action::FsyncFailure { target }
            | Action::DiskFull { target }
            | Action::SlowDisk { target, .. }
            | Action::BitRot { target, .. }
            | Action::Restart { target }
            | Action::Replace { target }
            | Action::DirectorySyncFailure { target }
            | Action::SwapDisk { target } => Some(target),
        }
    }

    /// The list of targets, where it may have several.
    pub fn targets_mut(&mut self) -> Option<&mut Vec<Target>> {
        match self {
            Action::Partition { targets, .. } | Action::Crash { targets } | Action::PowerLoss { targets } => {
                Some(targets)
            }
            _ => None,
        }
    }
}
