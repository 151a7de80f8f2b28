//! What clients do during a run. One file per workload; each runs on machines of its own, uses the
//! product's own clients, and records what it asked and was told.
//!
//! A workload decides nothing by what observers know. It ends by itself when the load does.

pub mod coordinator_registers;
mod deliveries;
pub mod meddling;
pub mod payload;
pub mod produce_consume;
pub mod protocol;
pub mod sessions;
pub mod subtrees;
pub mod topics;

use std::time::Duration;

use wyrdlog::runtime::{Clock, Random};

use crate::engine::{SimRuntime, View};
use crate::scenario::{Phases, Plan};

/// In the liveness phase every client asks at least this often, however small the workload is.
const HEALED_PAUSE_MAX: Duration = Duration::from_millis(200);

/// How fast one client asks, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The mean time between two requests.
    pub pause: Duration,
    /// When all faults are healed, in virtual nanoseconds.
    pub healed_ns: u64,
    /// When the load ends, in virtual nanoseconds.
    pub ends_ns: u64,
    /// The world's time, which no clock of a node tells.
    pub view: View,
}

impl Load {
    /// The load of one of `clients` that together ask `requests_per_s`, as `plan` scales it.
    #[must_use]
    pub fn new(plan: &Plan, clients: u32, requests_per_s: u32, view: View) -> Self {
        let per_s = f64::from(requests_per_s) * f64::from(plan.schedule.workload_per_mille) / 1_000.0;
        let pause = Duration::from_secs_f64((f64::from(clients) / per_s.max(0.01)).min(60.0));
        let Phases { warm_up_ms, faults_ms, healing_ms, .. } = plan.phases;
        let healed_ns = (warm_up_ms + faults_ms) * 1_000_000;
        Load { pause, healed_ns, ends_ns: healed_ns + healing_ms * 1_000_000, view }
    }

    /// Whether the load has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.view.now_ns() >= self.ends_ns
    }

    /// Waits for the next request. No wait that began under faults reaches into the liveness phase.
    pub async fn pause(&self, runtime: &SimRuntime) {
        let left = Duration::from_nanos(self.healed_ns.saturating_sub(self.view.now_ns()));
        let mean = if left.is_zero() { self.pause.min(HEALED_PAUSE_MAX) } else { self.pause };
        let pause = runtime.random_duration("pause", Duration::ZERO, mean * 2);
        runtime.sleep(if left.is_zero() { pause } else { pause.min(left) }).await;
    }
}
