//! One direction between two hosts: how long a segment takes, and whether it gets through.

use super::super::config::{LinkParams, nanos};
use super::super::random::Stream;
use super::super::world::NodeId;

/// A segment is lost so many times in a row at most.
const LOSSES_MAX: u32 = 6;

#[derive(Debug)]
pub(in super::super) struct Link {
    from: NodeId,
    to: NodeId,
    params: LinkParams,
    pub is_blocked: bool,
    /// How many of the next segments with data are to be cut short by a reset.
    pub cuts_armed: u32,
    busy_until_ns: u64,
    draws: Option<Box<Stream>>,
    splits: Option<Box<Stream>>,
}

/// When a segment arrives, and how often it is lost before.
pub(in super::super) struct Travel {
    pub arrival_ns: u64,
    pub losses: u32,
    /// Whether it met the link's tail.
    pub is_late: bool,
}

impl Link {
    pub fn new(from: NodeId, to: NodeId, params: LinkParams) -> Self {
        Link { from, to, params, is_blocked: false, cuts_armed: 0, busy_until_ns: 0, draws: None, splits: None }
    }

    pub fn set_params(&mut self, params: LinkParams) {
        self.params = params;
    }

    /// The draws for what happens to segments.
    pub fn draws(&mut self, seed: u64) -> &mut Stream {
        let (from, to) = (u64::from(self.from.0), u64::from(self.to.0));
        self.draws.get_or_insert_with(|| Box::new(Stream::new(seed, "link", from, to, "segments")))
    }

    /// The draws for how much one call of a socket at its beginning moves.
    pub fn splits(&mut self, seed: u64) -> &mut Stream {
        let (from, to) = (u64::from(self.from.0), u64::from(self.to.0));
        self.splits.get_or_insert_with(|| Box::new(Stream::new(seed, "link", from, to, "splits")))
    }

    /// The fate of a segment of `bytes` that is sent now.
    pub fn travel(&mut self, seed: u64, now_ns: u64, bytes: usize) -> Travel {
        let departed_ns = self.depart(now_ns, bytes);
        let params = self.params;
        let draws = self.draws(seed);
        let mut latency_ns = nanos(params.latency) + draws.up_to(nanos(params.jitter));
        let is_late = draws.happens(params.tail_per_million);
        if is_late {
            latency_ns += draws.up_to(nanos(params.tail));
        }
        let mut losses = 0;
        while losses < LOSSES_MAX && draws.happens(params.loss_per_million) {
            losses += 1;
        }
        Travel { arrival_ns: departed_ns.saturating_add(latency_ns), losses, is_late }
    }

    /// When the last byte has left: links with a bandwidth send one segment after the other.
    fn depart(&mut self, now_ns: u64, bytes: usize) -> u64 {
        let Some(rate) = self.params.bandwidth_bytes_per_second else { return now_ns };
        let sending_ns = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
        let sending_ns = u64::try_from(sending_ns).unwrap_or(u64::MAX);
        self.busy_until_ns = now_ns.max(self.busy_until_ns).saturating_add(sending_ns);
        self.busy_until_ns
    }
}
