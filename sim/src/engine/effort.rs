//! What nodes did, second by second: what is needed to say that one works in vain.

/// What one node did in one second of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Connections that it began.
    pub connects: u32,
    /// Pieces that it wrote to connections.
    pub sends: u32,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Pieces that reached it.
    pub receipts: u32,
    /// Reads of files.
    pub reads: u32,
    /// Bytes of these.
    pub read_bytes: u64,
    /// Files that it made.
    pub files_made: u32,
    /// Writes to files.
    pub writes: u32,
    /// Bytes of these.
    pub written_bytes: u64,
    /// Syncs of files that it began.
    pub syncs: u32,
}

/// The seconds of one node, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Efforts(Vec<Effort>);

impl Efforts {
    /// The second of `now_ns`.
    pub fn now(&mut self, now_ns: u64) -> &mut Effort {
        let second = (now_ns / 1_000_000_000) as usize;
        if self.0.len() <= second {
            self.0.resize(second + 1, Effort::default());
        }
        &mut self.0[second]
    }

    pub fn all(&self) -> &[Effort] {
        &self.0
    }
}
