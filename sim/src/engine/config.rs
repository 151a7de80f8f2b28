//! What a simulated world is like before anything goes wrong. All durations are simulated time.

use std::ops::Range;
use std::time::Duration;

/// How the next ready task is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Uniformly among those that are ready.
    #[default]
    Random,
    /// Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): each task has a drawn
    /// priority and the highest runs; at `change_points` drawn polls among the first
    /// `expected_polls` the running task falls below all others.
    Pct {
        /// How often priorities change.
        change_points: u32,
        /// How many polls the run is expected to take.
        expected_polls: u64,
    },
}

/// A link in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkParams {
    /// The least one-way latency.
    pub latency: Duration,
    /// Added to each segment's latency: uniform in zero to this.
    pub jitter: Duration,
    /// Bytes per second; none for unlimited.
    pub bandwidth_bytes_per_second: Option<u64>,
    /// How many of a million segments are lost and come only after a retransmission.
    pub loss_per_million: u32,
    /// How many of a million segments take up to `tail` longer.
    pub tail_per_million: u32,
    /// See `tail_per_million`.
    pub tail: Duration,
}

impl LinkParams {
    /// Within one machine.
    pub const LOOPBACK: LinkParams = LinkParams::lan(Duration::from_micros(10), Duration::from_micros(5));

    /// A link without loss, tail or limit.
    #[must_use]
    pub const fn lan(latency: Duration, jitter: Duration) -> Self {
        LinkParams {
            latency,
            jitter,
            bandwidth_bytes_per_second: None,
            loss_per_million: 0,
            tail_per_million: 0,
            tail: Duration::ZERO,
        }
    }
}

impl Default for LinkParams {
    /// One room: a quarter of a millisecond each way.
    fn default() -> Self {
        LinkParams::lan(Duration::from_micros(200), Duration::from_micros(100))
    }
}

/// TCP's constants and the links' defaults.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Between two nodes, until set otherwise.
    pub link: LinkParams,
    /// From a node to itself.
    pub loopback: LinkParams,
    /// Bytes that a sender may have written and the peer not yet acknowledged.
    pub send_buffer_bytes: usize,
    /// Bytes that a receiver holds before its window closes.
    pub receive_buffer_bytes: usize,
    /// How many of a million reads and writes move only a drawn part of what they could.
    pub split_per_million: u32,
    /// The first retransmission's delay; it doubles up to `retransmit_most`.
    pub retransmit_first: Duration,
    /// See `retransmit_first`.
    pub retransmit_most: Duration,
    /// A sender whose bytes are not acknowledged for so long fails with `TimedOut`
    /// (Linux's `tcp_retries2`).
    pub give_up: Duration,
    /// A connect without an answer fails after so long (Linux's `tcp_syn_retries`).
    pub connect_timeout: Duration,
    /// Connections that wait to be accepted, per listener.
    pub accept_backlog: usize,
    /// How many of a million resets that meet a partition are lost for good (a RST is not
    /// retransmitted), so that the peer stays half-open. The others come when it heals.
    pub lost_reset_per_million: u32,
    /// How many of a million resets discard what the peer received and has not yet read.
    pub reset_discards_per_million: u32,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            link: LinkParams::default(),
            loopback: LinkParams::LOOPBACK,
            send_buffer_bytes: 256 * 1024,
            receive_buffer_bytes: 256 * 1024,
            split_per_million: 20_000,
            retransmit_first: Duration::from_millis(200),
            retransmit_most: Duration::from_secs(5),
            give_up: Duration::from_secs(924),
            connect_timeout: Duration::from_secs(127),
            accept_backlog: 1024,
            lost_reset_per_million: 500_000,
            reset_discards_per_million: 500_000,
        }
    }
}

/// A disk and the page cache before it.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// The least time of a read from the device.
    pub read_latency: Duration,
    /// How many of a million reads miss the page cache and go to the device.
    pub read_miss_per_million: u32,
    /// The least time of a sync.
    pub sync_latency: Duration,
    /// Added to each device access: uniform in zero to this.
    pub jitter: Duration,
    /// Bytes that fit on it; none for unlimited.
    pub capacity_bytes: Option<u64>,
    /// The operating system writes back by itself what is older than this
    /// (`dirty_expire_centisecs`); none for never.
    pub writeback_after: Option<Duration>,
}

impl Default for DiskConfig {
    fn default() -> Self {
        DiskConfig {
            read_latency: Duration::from_micros(90),
            read_miss_per_million: 50_000,
            sync_latency: Duration::from_micros(400),
            jitter: Duration::from_micros(400),
            capacity_bytes: None,
            writeback_after: Some(Duration::from_secs(30)),
        }
    }
}

/// Everything that a simulated world is made from, besides its seed.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How the next ready task is chosen.
    pub schedule: Schedule,
    /// Another seed for that choice alone; none for the world's seed.
    pub schedule_seed: Option<u64>,
    /// The network.
    pub network: NetworkConfig,
    /// Every node's disk, until set otherwise.
    pub disk: DiskConfig,
    /// What wall clocks show at the start, in milliseconds since the Unix epoch.
    pub wall_clock_start_ms: i64,
    /// So many polls without time going on are a livelock, and end the simulation.
    pub polls_per_instant_max: u32,
    /// More polls and events than this end the simulation: a seed is bounded whatever its nodes do.
    pub steps_max: u64,
    /// Record the steps of this range (see [`super::first_divergence`]).
    pub trace: Option<Range<u64>>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            schedule: Schedule::Random,
            schedule_seed: None,
            network: NetworkConfig::default(),
            disk: DiskConfig::default(),
            wall_clock_start_ms: 1_700_000_000_000,
            polls_per_instant_max: 1_000_000,
            steps_max: u64::MAX,
            trace: None,
        }
    }
}

/// A duration in the engine's unit; saturates after 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
