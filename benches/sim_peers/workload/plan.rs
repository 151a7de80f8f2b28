//! How much a run does, and the count of what it did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{MESSAGE_BYTES, NODES, TIMERS};

/// Pairs of a client's node and a server's.
const PAIRS: u64 = (NODES * (NODES - 1)) as u64;

/// The timers' period, in messages that one client sends or receives meanwhile.
const MESSAGES_PER_PERIOD: u32 = 200;

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Messages, at least: each connection has equally many.
    pub messages: u64,
    /// Clients per node: as many requests of a node are on their way at a time.
    pub clients: u64,
    /// The least one-way latency of a message, in microseconds.
    pub latency_us: u64,
    /// Up to so much is added to it, by a draw; in microseconds.
    pub jitter_us: u64,
}

impl Default for Shape {
    /// One to ten milliseconds is madsim's own default, is within turmoil's (up to 100 ms), and can
    /// be told apart by turmoil, whose time goes on by a millisecond at a time.
    fn default() -> Self {
        Shape { messages: 600_000, clients: 1, latency_us: 1_000, jitter_us: 9_000 }
    }
}

/// How much a run does, and where its tasks report what they did.
#[derive(Debug)]
pub struct Plan {
    /// Seeds the simulator.
    pub seed: u64,
    /// What the run is like.
    pub shape: Shape,
    /// Requests per connection.
    pub rounds: u64,
    /// How often each timer fires: timers tick for as long as messages are on their way.
    pub fires: u64,
    delivered: AtomicU64,
    timer_fires: AtomicU64,
    digest: AtomicU64,
}

impl Plan {
    /// A run of that shape.
    #[must_use]
    pub fn new(seed: u64, shape: Shape) -> Self {
        let rounds = shape.messages.div_ceil(2 * PAIRS * shape.clients).max(1);
        let per_client = shape.messages.div_ceil(NODES as u64 * shape.clients);
        let fires = per_client.div_ceil(u64::from(MESSAGES_PER_PERIOD));
        let [delivered, timer_fires, digest] = [const { AtomicU64::new(0) }; 3];
        Plan { seed, shape, rounds, fires, delivered, timer_fires, digest }
    }

    /// How many messages must be delivered: requests and responses.
    #[must_use]
    pub fn messages(&self) -> u64 {
        2 * PAIRS * self.shape.clients * self.rounds
    }

    /// The least one-way latency of a message.
    #[must_use]
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.shape.latency_us)
    }

    /// Up to so much is added to it.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        Duration::from_micros(self.shape.jitter_us)
    }

    /// The period of each timer.
    #[must_use]
    pub fn timer_period(&self) -> Duration {
        (self.latency() + self.jitter() / 2) * MESSAGES_PER_PERIOD
    }

    /// Adds what one task did.
    pub fn add(&self, tally: &Tally) {
        self.delivered.fetch_add(tally.delivered, Ordering::Relaxed);
        self.timer_fires.fetch_add(tally.timer_fires, Ordering::Relaxed);
        self.digest.fetch_add(tally.digest, Ordering::Relaxed);
    }

    /// What all tasks did.
    ///
    /// # Panics
    /// If that is not what was planned.
    #[must_use]
    pub fn result(&self) -> Tally {
        let tally = Tally {
            delivered: self.delivered.load(Ordering::Relaxed),
            timer_fires: self.timer_fires.load(Ordering::Relaxed),
            digest: self.digest.load(Ordering::Relaxed),
        };
        assert_eq!(tally.delivered, self.messages(), "messages delivered, and planned");
        assert_eq!(tally.timer_fires, self.fires * TIMERS as u64, "timers fired, and planned");
        tally
    }
}

/// What one task did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages received.
    pub delivered: u64,
    /// Timers that fired.
    pub timer_fires: u64,
    /// A sum over the contents of the messages, in whatever order they came.
    pub digest: u64,
}

impl Tally {
    /// Counts a message, which must be the one of `round`.
    ///
    /// # Panics
    /// If it is another.
    pub fn receive(&mut self, message: &[u8; MESSAGE_BYTES], round: u64) {
        let word = |at: usize| u64::from_le_bytes(message[at..at + 8].try_into().expect("eight bytes"));
        assert_eq!(word(0), round, "the sequence number of a message");
        self.delivered += 1;
        let content = word(8) ^ word(0).rotate_left(32) ^ word(MESSAGE_BYTES - 8);
        self.digest = self.digest.wrapping_add(content.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}
