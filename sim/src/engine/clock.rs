//! A node's clocks. One oscillator, which may run fast or slow, drives both: the monotonic clock,
//! whose origin is drawn for each incarnation so that nobody can compare instants across a
//! restart, and the wall clock, which may also be wrong and may jump.

const PER_BILLION: i128 = 1_000_000_000;

/// The fastest and slowest that a clock may be set, in parts per billion: five percent.
pub const DRIFT_PPB_MAX: i64 = 50_000_000;

#[derive(Clone, Debug, Default)]
pub(super) struct NodeClock {
    /// The oscillator's count at `since_ns`.
    base_ns: u64,
    since_ns: u64,
    drift_ppb: i64,
    monotonic_origin_ns: u64,
    wall_offset_ns: i64,
}

fn scale(elapsed_ns: u64, drift_ppb: i64) -> u64 {
    if drift_ppb == 0 {
        return elapsed_ns;
    }
    let elapsed = i128::from(elapsed_ns);
    (elapsed + (elapsed * i128::from(drift_ppb)).div_euclid(PER_BILLION)) as u64
}

/// The least elapsed time after which the oscillator has counted `counted_ns`.
fn unscale(counted_ns: u64, drift_ppb: i64) -> u64 {
    if drift_ppb == 0 {
        return counted_ns;
    }
    let rate = PER_BILLION + i128::from(drift_ppb);
    let mut elapsed = u64::try_from(i128::from(counted_ns) * PER_BILLION / rate).unwrap_or(u64::MAX);
    while elapsed < u64::MAX && scale(elapsed, drift_ppb) < counted_ns {
        elapsed += 1;
    }
    elapsed
}

impl NodeClock {
    pub fn new(now_ns: u64, wall_offset_ns: i64) -> Self {
        NodeClock { since_ns: now_ns, wall_offset_ns, ..NodeClock::default() }
    }

    fn count_ns(&self, now_ns: u64) -> u64 {
        self.base_ns + scale(now_ns - self.since_ns, self.drift_ppb)
    }

    pub fn begin_incarnation(&mut self, origin_ns: u64) {
        self.monotonic_origin_ns = origin_ns;
    }

    pub fn monotonic_ns(&self, now_ns: u64) -> u64 {
        self.count_ns(now_ns) + self.monotonic_origin_ns
    }

    pub fn wall_clock_ms(&self, now_ns: u64) -> i64 {
        let count = i64::try_from(self.count_ns(now_ns)).unwrap_or(i64::MAX);
        count.saturating_add(self.wall_offset_ns).div_euclid(1_000_000)
    }

    /// The first instant of the world at which the monotonic clock shows `deadline_ns` or more;
    /// not before `now_ns`.
    pub fn due_ns(&self, deadline_ns: u64, now_ns: u64) -> u64 {
        let count = deadline_ns.saturating_sub(self.monotonic_origin_ns).saturating_sub(self.base_ns);
        self.since_ns.saturating_add(unscale(count, self.drift_ppb)).max(now_ns)
    }

    pub fn set_drift_ppb(&mut self, now_ns: u64, drift_ppb: i64) {
        self.base_ns = self.count_ns(now_ns);
        self.since_ns = now_ns;
        self.drift_ppb = drift_ppb.clamp(-DRIFT_PPB_MAX, DRIFT_PPB_MAX);
    }

    pub fn jump_wall_clock(&mut self, by_ns: i64) {
        self.wall_offset_ns = self.wall_offset_ns.saturating_add(by_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_timer_is_due_when_its_deadline_is_reached_and_not_a_nanosecond_before(
            drift in -DRIFT_PPB_MAX..=DRIFT_PPB_MAX, later in -DRIFT_PPB_MAX..=DRIFT_PPB_MAX,
            change in 0..10_000_000_000u64, wait in 1..100_000_000_000_000u64,
        ) {
            let mut clock = NodeClock::new(0, 0);
            clock.begin_incarnation(77);
            clock.set_drift_ppb(0, drift);
            clock.set_drift_ppb(change, later);
            let deadline = clock.monotonic_ns(change) + wait;
            let due = clock.due_ns(deadline, change);
            prop_assert!(clock.monotonic_ns(due) >= deadline);
            prop_assert!(clock.monotonic_ns(due - 1) < deadline);
        }
    }

    #[test]
    fn a_change_of_rate_or_a_jump_never_moves_the_monotonic_clock_back() {
        let mut clock = NodeClock::new(0, 1_000_000_000);
        clock.set_drift_ppb(0, 50_000_000);
        assert_eq!(clock.monotonic_ns(1_000_000_000), 1_050_000_000);
        clock.set_drift_ppb(1_000_000_000, -50_000_000);
        assert_eq!(clock.monotonic_ns(1_000_000_000), 1_050_000_000);
        assert_eq!(clock.monotonic_ns(2_000_000_000), 2_000_000_000);
        clock.jump_wall_clock(-500_000_000);
        assert_eq!(clock.wall_clock_ms(2_000_000_000), 2_500);
        assert_eq!(clock.monotonic_ns(2_000_000_000), 2_000_000_000);
    }
}
