//! Which servers of the ensemble a server had heard of since an instant, by what it read off its peers'
//! connections: of those whose bytes it read, and of those that they had heard of themselves.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, Bytes};

use crate::observed::Node;

/// How the first frame of a peer's connection begins, and how long it is: a version, then who sends and to whom.
const MAGIC: &[u8] = b"WYRDPEER";
const HELLO_BYTES: usize = MAGIC.len() + 2 + 4 + 4;

/// When each server last read something of each other.
#[derive(Debug)]
pub(super) struct Heard {
    /// The machines of servers, by their numbers.
    servers: BTreeMap<u32, Node>,
    /// By reader and sender.
    read_ns: BTreeMap<(Node, Node), u64>,
    /// When each server last read or wrote anything, and since when it never stood still for long.
    active_ns: BTreeMap<Node, (u64, u64)>,
}

/// A server that neither reads nor writes anything for so long was not running: its peers are to be heard of, and it
/// of them, ten times a second.
const STILL_NS: u64 = 500_000_000;

impl Heard {
    /// Nothing was read yet.
    pub fn new(servers: BTreeMap<u32, Node>) -> Self {
        Heard { servers, read_ns: BTreeMap::new(), active_ns: BTreeMap::new() }
    }

    /// The first frame of a peer's connection, read by `node`: gives the sender, if it is a peer.
    pub fn hello(&self, node: Node, mut frame: Bytes) -> Option<Node> {
        if frame.len() != HELLO_BYTES || !frame.starts_with(MAGIC) {
            return None;
        }
        frame.advance(MAGIC.len() + 2);
        let (from, to) = (frame.get_u32(), frame.get_u32());
        let from = self.servers.get(&from).copied().filter(|from| *from != node);
        from.filter(|_| self.servers.get(&to) == Some(&node))
    }

    /// `node` read something of another server.
    pub fn read(&mut self, node: Node, from: Node, time_ns: u64) {
        self.read_ns.insert((node, from), time_ns);
    }

    /// How many servers are a quorum.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.servers.len() / 2 + 1
    }

    /// `node` read or wrote something.
    pub fn moved(&mut self, node: Node, time_ns: u64) {
        let (last_ns, since_ns) = self.active_ns.entry(node).or_insert((time_ns, time_ns));
        if time_ns > *last_ns + STILL_NS {
            *since_ns = time_ns;
        }
        *last_ns = time_ns;
    }

    /// How many servers `node` has heard of for `span_ns`, if it ran for all of that time.
    #[must_use]
    pub fn lately(&self, node: Node, time_ns: u64, span_ns: u64) -> Option<usize> {
        let (_, since_ns) = self.active_ns.get(&node)?;
        let from_ns = time_ns.checked_sub(span_ns).filter(|from_ns| from_ns >= since_ns)?;
        Some(self.count(node, from_ns))
    }

    /// How many servers `node` has heard of since then, itself among them.
    #[must_use]
    pub fn count(&self, node: Node, since_ns: u64) -> usize {
        let mut known: BTreeSet<Node> = BTreeSet::from([node]);
        let mut front = vec![node];
        while let Some(reader) = front.pop() {
            let of_reader = self.read_ns.range((reader, Node(0))..=(reader, Node(u16::MAX)));
            let fresh = of_reader.filter(|(_, read_ns)| **read_ns >= since_ns).map(|((_, from), _)| *from);
            front.extend(fresh.filter(|from| known.insert(*from)));
        }
        known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;

    /// As `src/coordinator/peers/message.rs` greets.
    fn hello(from: u32, to: u32) -> Bytes {
        let mut frame = MAGIC.to_vec();
        frame.put_u16(1);
        frame.put_u32(from);
        frame.put_u32(to);
        frame.into()
    }

    /// Three servers, whose machines are numbered from 11.
    fn three() -> Heard {
        Heard::new((1..=3).map(|id| (id, Node(10 + id as u16))).collect())
    }

    #[test]
    fn what_was_read_since_counts_and_what_others_had_read() {
        let mut heard = three();
        assert_eq!(heard.count(Node(11), 5), 1);
        heard.read(Node(12), Node(13), 6);
        assert_eq!(heard.count(Node(11), 5), 1, "nobody told it");
        heard.read(Node(11), Node(12), 7);
        assert_eq!([heard.count(Node(11), 5), heard.count(Node(11), 7), heard.count(Node(11), 8)], [3, 2, 1]);
        assert_eq!(heard.count(Node(13), 5), 1);
    }

    #[test]
    fn a_peer_greets_the_server_that_it_has_reached_and_anything_else_is_nobodys() {
        let heard = three();
        assert_eq!(heard.hello(Node(12), hello(1, 2)), Some(Node(11)));
        let others = [hello(2, 2), hello(1, 3), hello(4, 2), Bytes::from_static(b"WYRDPEERxx")];
        assert_eq!(others.map(|frame| heard.hello(Node(12), frame)), [None; 4]);
    }

    #[test]
    fn a_server_that_stood_still_or_has_just_begun_is_asked_for_nothing() {
        let mut heard = three();
        let at = |tenths: u64| tenths * 100_000_000;
        for tenths in 10..=60 {
            heard.moved(Node(11), at(tenths));
        }
        heard.read(Node(11), Node(12), at(30));
        assert_eq!(heard.lately(Node(11), at(45), at(40)), None, "it has just begun");
        assert_eq!([at(60), at(75)].map(|now_ns| heard.lately(Node(11), now_ns, at(40))), [Some(2), Some(1)]);
        heard.moved(Node(11), at(70));
        assert_eq!(heard.lately(Node(11), at(75), at(40)), None, "it stood still");
        assert_eq!(heard.quorum(), 2);
    }
}
