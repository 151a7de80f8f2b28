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
    latency_ns: u64,
    jitter_ns: u64,
    tail_ns: u64,
    tail_per_million: u32,
    loss_per_million: u32,
    bandwidth_bytes_per_second: Option<u64>,
    pub is_blocked: bool,
    /// How many of the next segments with data are to be cut short by a reset.
    pub cuts_armed: u32,
    busy_until_ns: u64,
    draws: Option<Box<Stream>>,
    splits: Splits,
}

/// Which calls of the sockets at a link's beginning move only a part of what they could. One draw a
/// call, made some calls ahead: most calls then touch a counter and not the stream.
#[derive(Debug, Default)]
struct Splits {
    stream: Option<Box<Stream>>,
    /// How many of the next calls move all they can.
    whole: u32,
    /// Whether the call after those moves a part.
    is_part_next: bool,
}

/// So many draws are made ahead at most.
const CALLS_AHEAD: u32 = 64;

impl Splits {
    /// How many of `count` bytes a call moves.
    #[inline]
    fn moved(&mut self, per_million: u32, count: usize, make: impl FnOnce() -> Stream) -> usize {
        if self.whole > 0 {
            self.whole -= 1;
            return count;
        }
        self.moved_by_draw(per_million, count, make)
    }

    #[cold]
    fn moved_by_draw(&mut self, per_million: u32, count: usize, make: impl FnOnce() -> Stream) -> usize {
        let stream = self.stream.get_or_insert_with(|| Box::new(make()));
        if !self.is_part_next {
            while self.whole < CALLS_AHEAD && !self.is_part_next {
                self.is_part_next = stream.happens(per_million);
                self.whole += u32::from(!self.is_part_next);
            }
            if self.whole > 0 {
                self.whole -= 1;
                return count;
            }
        }
        self.is_part_next = false;
        1 + stream.below(count as u64 - 1) as usize
    }
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
        let mut link = Link {
            from,
            to,
            latency_ns: 0,
            jitter_ns: 0,
            tail_ns: 0,
            tail_per_million: 0,
            loss_per_million: 0,
            bandwidth_bytes_per_second: None,
            is_blocked: false,
            cuts_armed: 0,
            busy_until_ns: 0,
            draws: None,
            splits: Splits::default(),
        };
        link.set_params(params);
        link
    }

    pub fn set_params(&mut self, params: LinkParams) {
        let LinkParams { latency, jitter, tail, tail_per_million, loss_per_million, bandwidth_bytes_per_second } =
            params;
        (self.latency_ns, self.jitter_ns, self.tail_ns) = (nanos(latency), nanos(jitter), nanos(tail));
        (self.tail_per_million, self.loss_per_million) = (tail_per_million, loss_per_million);
        self.bandwidth_bytes_per_second = bandwidth_bytes_per_second;
    }

    /// Whether segments may be lost.
    pub fn loses_some(&self) -> bool {
        self.loss_per_million > 0
    }

    /// The draws for what happens to segments.
    pub fn draws(&mut self, seed: u64) -> &mut Stream {
        let (from, to) = (u64::from(self.from.0), u64::from(self.to.0));
        self.draws.get_or_insert_with(|| Box::new(Stream::new(seed, "link", from, to, "segments")))
    }

    /// How many of `count` bytes, which are two or more, one call of a socket at its beginning moves.
    #[inline]
    pub fn moved(&mut self, seed: u64, per_million: u32, count: usize) -> usize {
        let (from, to) = (u64::from(self.from.0), u64::from(self.to.0));
        self.splits.moved(per_million, count, || Stream::new(seed, "link", from, to, "splits"))
    }

    /// The fate of a segment of `bytes` that is sent now.
    pub fn travel(&mut self, seed: u64, now_ns: u64, bytes: usize) -> Travel {
        let departed_ns = self.depart(now_ns, bytes);
        let Link { jitter_ns, tail_ns, tail_per_million, loss_per_million, .. } = *self;
        let mut latency_ns = self.latency_ns;
        let draws = self.draws(seed);
        latency_ns += draws.up_to(jitter_ns);
        let is_late = draws.happens(tail_per_million);
        if is_late {
            latency_ns += draws.up_to(tail_ns);
        }
        let mut losses = 0;
        while losses < LOSSES_MAX && draws.happens(loss_per_million) {
            losses += 1;
        }
        Travel { arrival_ns: departed_ns.saturating_add(latency_ns), losses, is_late }
    }

    /// When the last byte has left: links with a bandwidth send one segment after the other.
    fn depart(&mut self, now_ns: u64, bytes: usize) -> u64 {
        let Some(rate) = self.bandwidth_bytes_per_second else { return now_ns };
        let sending_ns = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
        let sending_ns = u64::try_from(sending_ns).unwrap_or(u64::MAX);
        self.busy_until_ns = now_ns.max(self.busy_until_ns).saturating_add(sending_ns);
        self.busy_until_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_moves_what_a_draw_of_its_own_would_have_it_move() {
        for per_million in [1, 20_000, 500_000, 999_999, 1_000_000] {
            let make = || Stream::new(7, "link", 0, 1, "splits");
            let (mut ahead, mut plain) = (Splits::default(), make());
            for count in (2..2_000).cycle().take(10_000) {
                let is_part = plain.happens(per_million);
                let wanted = if is_part { 1 + plain.below(count as u64 - 1) as usize } else { count };
                assert_eq!(ahead.moved(per_million, count, make), wanted, "{count} bytes at {per_million}");
            }
        }
    }
}
