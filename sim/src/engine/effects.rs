//! What faults really did. A fault counts only when it took effect: bytes were lost, a frame was
//! held, a call failed.

/// Counts over a whole simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Segments that met a partition or a host without power, and were held or lost.
    pub segments_held: u64,
    /// Segments that the link lost and that came by retransmission.
    pub segments_lost: u64,
    /// Segments that the link delayed beyond its latency and jitter.
    pub segments_late: u64,
    /// Ends of connections that were told of a reset.
    pub connections_reset: u64,
    /// Ends of connections that gave up without an answer.
    pub connections_timed_out: u64,
    /// Connections of which the peer vanished without a word.
    pub connections_left_half_open: u64,
    /// Frames that were cut short by an injected reset.
    pub frames_cut: u64,
    /// Reads and writes of sockets that moved only a part by a draw.
    pub transfers_split: u64,
    /// Polls that a pause kept from running in their turn.
    pub polls_frozen: u64,
    /// Processes that were killed.
    pub crashes: u64,
    /// Hosts that lost power.
    pub power_losses: u64,
    /// Of these, those whose disk held writes that were not synced.
    pub power_losses_unsynced: u64,
    /// Writes to files that a power loss undid entirely.
    pub writes_lost: u64,
    /// Writes to files of which a power loss kept a part.
    pub writes_torn: u64,
    /// Directory changes that a power loss undid.
    pub names_rolled_back: u64,
    /// Reads that failed.
    pub reads_failed: u64,
    /// Writes and truncations that failed, out of space included.
    pub writes_failed: u64,
    /// Syncs of files that failed.
    pub syncs_failed: u64,
    /// Syncs of directories that failed.
    pub directory_syncs_failed: u64,
    /// Armed faults of disks that struck, whatever their effect.
    pub disk_faults_struck: u64,
    /// Bytes that were damaged at rest.
    pub bytes_damaged: u64,
}
