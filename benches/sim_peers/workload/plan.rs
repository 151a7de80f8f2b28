//! How much a run does, and the count of what it did.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{MESSAGE_BYTES, NODES, TIMERS};

const CONNECTIONS: u64 = (NODES * (NODES - 1)) as u64;

/// For so many messages each timer fires once, and once more for the rest: while messages take
/// half a millisecond there and back, timers tick for about half of the time.
const MESSAGES_PER_FIRE: u64 = 2_500;

/// How much a run does, and where its tasks report what they did.
#[derive(Debug, Default)]
pub struct Plan {
    /// Seeds the simulator.
    pub seed: u64,
    /// Requests per connection.
    pub rounds: u64,
    /// Requests per connection that wait for their response at one time.
    pub in_flight: u64,
    /// How often each timer fires.
    pub fires: u64,
    delivered: AtomicU64,
    timer_fires: AtomicU64,
    digest: AtomicU64,
}

impl Plan {
    /// A run of at least `messages`: each connection has equally many.
    #[must_use]
    pub fn new(seed: u64, messages: u64, in_flight: u64) -> Self {
        let rounds = messages.div_ceil(2 * CONNECTIONS).max(1);
        let fires = messages.div_ceil(MESSAGES_PER_FIRE);
        Plan { seed, rounds, in_flight: in_flight.clamp(1, rounds), fires, ..Plan::default() }
    }

    /// How many messages must be delivered: requests and responses.
    #[must_use]
    pub fn messages(&self) -> u64 {
        2 * CONNECTIONS * self.rounds
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
