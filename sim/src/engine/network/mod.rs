//! TCP as its users meet it: handshakes, byte streams with windows and back-pressure, half-close,
//! reset and silence. Addresses are host names; a node's name is its host.
//!
//! A connection has two ends and a pipe each way. What travels in a pipe are segments, in order;
//! one write is one segment, and all that arrive at one instant are one event. A pipe whose link
//! is cut, or whose receiver has no power, holds its segments and tries again after a
//! retransmission time-out that doubles, until the sender gives up. The handshake travels in the
//! same pipes, so that it meets the same fate.
//!
//! `transfer` moves segments, `socket` is what nodes hold, `control` is what faults do.

mod byte_queue;
mod control;
mod link;
mod socket;
mod transfer;

use std::collections::VecDeque;
use std::io;

use super::config::{NetworkConfig, nanos};
use super::slab::{Key, Slab};
use super::wakes::Wakeup;
use super::world::NodeId;

use byte_queue::ByteQueue;
pub(super) use link::Link;
pub use socket::{SimListener, SimReader, SimStream, SimWriter};
pub(super) use socket::{connect, listen};

/// Bytes that a server's process took from a connection, or gave to it.
#[derive(Clone, Copy, Debug)]
pub struct ServerBytes<'b> {
    /// When, in simulated nanoseconds.
    pub time_ns: u64,
    /// The server.
    pub node: NodeId,
    /// The life of its process.
    pub incarnation: u32,
    /// What its monotonic clock shows.
    pub clock_ns: u64,
    /// The port on which the server accepted the connection.
    pub port: u16,
    /// No other connection has this number.
    pub connection: u64,
    /// Whether the process wrote them; otherwise it read them.
    pub written: bool,
    /// The bytes, as the stream goes on.
    pub bytes: &'b [u8],
}

/// How a process leaves its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// As the operating system closes sockets: end-of-stream, or a reset where bytes are unread.
    Close,
    /// A reset on each.
    Reset,
    /// Nothing: the power is gone.
    Silence,
}

/// What travels in a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    Syn,
    SynAck,
    Ack,
    /// So many of the pipe's bytes.
    Data(usize),
    Fin,
    Reset,
}

#[derive(Debug)]
struct Segment {
    arrival_ns: u64,
    /// When it had come if the link had not lost it, and how often the link loses it.
    first_try_ns: u64,
    losses: u32,
    payload: Payload,
}

impl Segment {
    /// One that comes at `arrival_ns`.
    fn at(arrival_ns: u64, payload: Payload) -> Self {
        Segment { arrival_ns, first_try_ns: arrival_ns, losses: 0, payload }
    }

    /// When it comes if no transmission is lost from `now_ns` on. One that did get through waits for those
    /// before it alone.
    fn next_try_ns(&self, now_ns: u64, config: &NetworkConfig) -> u64 {
        let mut tries = retransmissions_ns(self.first_try_ns, config).take(self.losses as usize + 1);
        tries.find(|try_ns| *try_ns >= now_ns).unwrap_or(now_ns).min(self.arrival_ns)
    }
}

/// When a segment's transmissions come: the first, and each that follows a loss (RFC 6298).
fn retransmissions_ns(first_ns: u64, config: &NetworkConfig) -> impl Iterator<Item = u64> {
    let (shortest_ns, longest_ns) = (nanos(config.retransmit_first), nanos(config.retransmit_most));
    let mut timeouts = (0..).map(move |loss| shortest_ns.checked_shl(loss).unwrap_or(u64::MAX).min(longest_ns));
    std::iter::successors(Some(first_ns), move |last_ns| Some(last_ns.saturating_add(timeouts.next()?)))
}

/// Where an end is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    /// The server's, before the first segment came.
    Absent,
    /// The client's, until the handshake is answered.
    Connecting,
    /// The server's, until the handshake is over.
    Answered,
    /// The server's, until it is accepted.
    Pending,
    Open,
    /// Closed by its owner; the operating system still sends what was written.
    Closed,
    /// Its process or host is no more, and nobody knows of the connection.
    Vanished,
}

impl EndState {
    /// Whether a process holds it.
    fn is_held(self) -> bool {
        matches!(self, EndState::Connecting | EndState::Pending | EndState::Open)
    }

    /// Whether data that comes is received.
    fn takes_data(self) -> bool {
        matches!(self, EndState::Pending | EndState::Open)
    }
}

#[derive(Debug)]
struct End {
    node: NodeId,
    port: u16,
    state: EndState,
    has_reader: bool,
    has_writer: bool,
    fin_sent: bool,
    /// How many of the first bytes of the pipe that leads here have come and are not read yet.
    received_bytes: usize,
    fin_received: bool,
    error: Option<io::ErrorKind>,
    read_waker: Option<Wakeup>,
    write_waker: Option<Wakeup>,
}

impl End {
    fn new(node: NodeId, port: u16, state: EndState) -> Self {
        End {
            node,
            port,
            state,
            has_reader: true,
            has_writer: true,
            fin_sent: false,
            received_bytes: 0,
            fin_received: false,
            error: None,
            read_waker: None,
            write_waker: None,
        }
    }
}

#[derive(Debug, Default)]
struct Pipe {
    segments: VecDeque<Segment>,
    /// What the receiver has not read yet, then what its segments carry.
    bytes: ByteQueue,
    /// The pending arrival or retransmission.
    event: Option<Key>,
    last_arrival_ns: u64,
    /// Written and not yet known to be received, in bytes.
    unacknowledged_bytes: usize,
    /// Received, but the acknowledgement met a partition.
    held_acknowledgement_bytes: usize,
    /// When the first segment first met a partition or a host without power.
    held_since_ns: Option<u64>,
    backoff_ns: u64,
    /// The receiver's window is closed.
    is_stalled: bool,
}

impl Pipe {
    /// Whether the last that is under way is a reset: nothing is sent after it.
    fn ends_with_reset(&self) -> bool {
        self.segments.back().is_some_and(|last| last.payload == Payload::Reset)
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    /// The client's end, then the server's.
    ends: [End; 2],
    /// `pipes[i]` leads away from `ends[i]`.
    pipes: [Pipe; 2],
}

impl Connection {
    fn is_between(&self, a: NodeId, b: NodeId) -> bool {
        let nodes = [self.ends[0].node, self.ends[1].node];
        nodes == [a, b] || nodes == [b, a]
    }

    /// Drops what `ends[side]` has received and not read.
    fn forget_received(&mut self, side: usize) {
        let count = std::mem::take(&mut self.ends[side].received_bytes);
        self.pipes[1 - side].bytes.advance(count);
    }

    /// Drops what is under way from `ends[side]`.
    fn drop_segments(&mut self, side: usize) {
        let pipe = &mut self.pipes[side];
        pipe.segments.clear();
        pipe.bytes.truncate(self.ends[1 - side].received_bytes);
    }

    fn is_finished(&self) -> bool {
        let over = |end: &End| matches!(end.state, EndState::Absent | EndState::Closed | EndState::Vanished);
        self.ends.iter().all(over) && self.pipes.iter().all(|pipe| pipe.segments.is_empty() && pipe.event.is_none())
    }
}

#[derive(Debug)]
struct Listening {
    /// Connections that may be accepted.
    queue: VecDeque<Key>,
    wakers: Vec<Wakeup>,
}

/// All links, connections and listeners.
#[derive(Default)]
pub(super) struct Net {
    links: Vec<Vec<Link>>,
    connections: Slab<Connection>,
    listeners: Slab<Listening>,
    /// When a frame was cut short, from whom and to whom.
    pub cut_frames: Vec<(u64, NodeId, NodeId)>,
}

impl Net {
    /// Adds the links from and to one more host.
    pub fn add_host(&mut self, config: &NetworkConfig) {
        let new = NodeId(self.links.len() as u32);
        for (from, row) in self.links.iter_mut().enumerate() {
            row.push(Link::new(NodeId(from as u32), new, config.link));
        }
        let mut row: Vec<Link> = (0..new.0).map(|to| Link::new(new, NodeId(to), config.link)).collect();
        row.push(Link::new(new, new, config.loopback));
        self.links.push(row);
    }

    fn link(&self, from: NodeId, to: NodeId) -> &Link {
        &self.links[from.index()][to.index()]
    }

    fn link_mut(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        &mut self.links[from.index()][to.index()]
    }

    /// How many connections there are, those that only the operating system still knows included.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }
}
