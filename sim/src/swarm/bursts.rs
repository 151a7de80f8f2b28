//! Bursts: a few faults in quick succession around one partition, each timed by what the one before
//! it brings about. Faults that are drawn one by one seldom meet; in a real cluster they come
//! together, since a rack, a deployment or an overload causes them all.
//!
//! A burst begins at a drawn instant. Its triggers count what happens from then on, so that it does
//! not matter what came before.

use wyrdlog::base::ids::TopicPartition;
use wyrdlog::base::partition_state::Durability;

use crate::draw::Draw;
use crate::scenario::{Cluster, Phases, Topic};
use crate::schedule::{Action, FaultEvent, Happening, Schedule, Shape, Target, Trigger};
use crate::workloads::produce_consume::partitions_of;

/// Seeds of a hundred with faults that have bursts.
const BURST_PERCENT: u64 = 40;
/// Of a hundred of those so many have nothing else: what meets is not disturbed by what does not.
const ALONE_PERCENT: u64 = 50;
/// The number under which [`Burst::down_at_a_roll`] is drawn.
const DOWN_AT_A_ROLL: u64 = 3;
/// The number under which [`Burst::behind_the_times`] is drawn.
const BEHIND_THE_TIMES: u64 = 4;
/// The number under which [`Burst::unheard_of`] is drawn: only where faults strike from the start.
const UNHEARD_OF: u64 = 6;
/// The bursts around partitions whose leader may lead again after a power cut.
const SYNCED_ONLY: [u64; 2] = [DOWN_AT_A_ROLL, BEHIND_THE_TIMES];
/// How long it takes at most until what a burst waits for has happened.
const LASTS_MS: u64 = 12_000;

/// The bursts of one seed.
pub(super) struct Bursts {
    faults: Vec<FaultEvent>,
    alone: bool,
}

impl Bursts {
    /// Adds them to the faults that were drawn one by one, or puts them in their place.
    pub(super) fn into_schedule(self, schedule: &mut Schedule) {
        if self.alone {
            schedule.faults.clear();
        }
        schedule.faults.extend(self.faults);
    }
}

/// Draws the bursts of one seed around partitions of `topics`, if it has any.
pub(super) fn draw_bursts(cluster: &Cluster, clients: u32, phases: Phases, draw: &mut Draw) -> Bursts {
    let topics = &cluster.topics;
    let all = partitions_of(topics);
    let is_synced = |topic: &&Topic| topic.durability == Durability::Synced;
    let synced = partitions_of(&topics.iter().filter(is_synced).cloned().collect::<Vec<_>>());
    let (any, alone) = (draw.percent(BURST_PERCENT), draw.percent(ALONE_PERCENT));
    let mut faults = Vec::new();
    let count = if any { draw.between(1, 3) } else { 0 };
    for _ in 0..count {
        let latest_ms = phases.faults_ms.saturating_sub(LASTS_MS);
        let begins_ms = phases.warm_up_ms + draw.below(latest_ms.max(1));
        let kind = draw.below(if phases.warm_up_ms == 0 { UNHEARD_OF + 1 } else { UNHEARD_OF });
        // Only who counts after a power cut leads with what it tore.
        let partitions = if SYNCED_ONLY.contains(&kind) && !synced.is_empty() { &synced } else { &all };
        let Some(partition) = draw.pick(partitions).cloned() else { continue };
        let mut burst = Burst { partition, begins_ms, replica_lag_max_ms: cluster.replica_lag_max_ms, draw };
        faults.extend(match kind {
            0 => burst.lost_on_the_way_in(),
            1 => burst.elections_in_a_row(),
            2 => burst.late_retry(clients),
            DOWN_AT_A_ROLL => burst.down_at_a_roll(),
            BEHIND_THE_TIMES => burst.behind_the_times(),
            UNHEARD_OF => burst.unheard_of(),
            _ => burst.deposed_in_the_middle(),
        });
    }
    Bursts { alone: alone && !faults.is_empty(), faults }
}

struct Burst<'d> {
    partition: TopicPartition,
    begins_ms: u64,
    replica_lag_max_ms: u64,
    draw: &'d mut Draw,
}

impl Burst<'_> {
    fn leader(&self) -> Target {
        Target::Leader(self.partition.clone())
    }

    fn follower(&mut self) -> Target {
        Target::Follower(self.partition.clone(), self.draw.below(2) as u32)
    }

    /// The first `happening` to the partition from `from_ms` on, and up to `most_ms` later.
    fn first(&mut self, happening: Happening, from_ms: u64, most_ms: u64) -> Trigger {
        self.nth(happening, 1, from_ms, most_ms)
    }

    fn nth(&mut self, happening: Happening, nth: u32, from_ms: u64, most_ms: u64) -> Trigger {
        let delay_ms = self.draw.below(most_ms + 1);
        Trigger::After { happening, partition: Some(self.partition.clone()), nth, from_ms, delay_ms }
    }

    fn event(&mut self, when: Trigger, action: Action, shortest_ms: u64, longest_ms: u64) -> FaultEvent {
        FaultEvent { when, action, for_ms: Some(self.draw.between(shortest_ms, longest_ms)) }
    }

    /// A process ends, and what its disk had not synced or the whole disk may go with it.
    fn ends(&mut self, target: Target, disk_percent: u64) -> Action {
        let targets = vec![target.clone()];
        if self.draw.percent(disk_percent) {
            return Action::Replace { target };
        }
        if self.draw.percent(50) { Action::PowerLoss { targets } } else { Action::Crash { targets } }
    }

    /// A follower that was away is about to be admitted again, by a request that is slow to arrive.
    /// Meanwhile it is gone once more, and comes back with less. As soon as it is admitted, whoever
    /// admitted it is gone too.
    fn lost_on_the_way_in(&mut self) -> Vec<FaultEvent> {
        let (follower, leader) = (self.follower(), self.leader());
        let away_ms = self.draw.between(1_500, 6_000);
        let back_ms = self.begins_ms + away_ms;
        let leaves = FaultEvent {
            when: Trigger::At { at_ms: self.begins_ms },
            action: Action::Crash { targets: vec![follower.clone()] },
            for_ms: Some(away_ms),
        };
        let when = self.first(Happening::InSyncProposed, back_ms, 0);
        let slow = if self.draw.percent(80) {
            let (target, latency_ms) = (leader.clone(), self.draw.between(200, 1_500));
            Action::SlowLink { target, latency_ms, bytes_per_s: None }
        } else {
            let targets = vec![leader.clone()];
            Action::Partition { shape: Shape::Symmetric, targets, resets: false, in_parts: false }
        };
        let slow = self.event(when, slow, 300, 5_000);
        let when = self.first(Happening::InSyncProposed, back_ms, 10);
        let mut gone = FaultEvent { when, action: self.ends(follower, 75), for_ms: None };
        if !gone.action.kind().is_instant() {
            gone.for_ms = Some(self.draw.between(20, 100));
        }
        let when = self.first(Happening::InSyncGrown, back_ms, 20);
        let falls = Action::Crash { targets: vec![leader] };
        vec![leaves, slow, gone, self.event(when, falls, 20, 6_000)]
    }

    /// Leaders fall one after another while a follower does not hear of it.
    fn elections_in_a_row(&mut self) -> Vec<FaultEvent> {
        let follower = self.follower();
        let deaf = match self.draw.below(3) {
            0 => Action::Pause { target: follower },
            1 => Action::SlowLink { target: follower, latency_ms: self.draw.between(50, 2_000), bytes_per_s: None },
            _ => {
                let shape = Shape::OneFromAll;
                Action::Partition { shape, targets: vec![follower], resets: false, in_parts: false }
            }
        };
        let when = self.first(Happening::Appended, self.begins_ms, 100);
        let mut burst = vec![self.event(when, deaf, 300, 6_000)];
        let when = self.first(Happening::Appended, self.begins_ms, 50);
        let fall = self.ends(self.leader(), 0);
        burst.push(self.event(when, fall, 20, 1_500));
        for nth in 1..=self.draw.between(1, 3) as u32 {
            let when = self.nth(Happening::LeaderElected, nth, self.begins_ms, 300);
            let fall = self.ends(self.leader(), 0);
            burst.push(self.event(when, fall, 20, 1_500));
        }
        burst
    }

    /// The controller's own replica has fallen behind, so that its end changes nothing for the
    /// partition. Just when it is about to be admitted again, by a write of its own, the controller
    /// is cut off for longer than its session lasts.
    fn deposed_in_the_middle(&mut self) -> Vec<FaultEvent> {
        let slow_ms = self.draw.between(2_500, 5_000);
        let slow = FaultEvent {
            when: Trigger::At { at_ms: self.begins_ms },
            action: Action::SlowDisk { target: Target::Controller, factor: self.draw.between(300, 1_000) as u32 },
            for_ms: Some(slow_ms),
        };
        let when = self.first(Happening::InSyncProposed, self.begins_ms + slow_ms, 5);
        let (shape, targets) = (Shape::Symmetric, vec![Target::Controller]);
        let cut = Action::Partition { shape, targets, resets: self.draw.percent(30), in_parts: false };
        vec![slow, self.event(when, cut, 2_500, 7_000)]
    }

    /// The followers are slow to sync, so that clients wait for their answers. Right after the end of a
    /// segment the leader loses power, and comes back alone: it is asked again for what it had not
    /// answered.
    fn down_at_a_roll(&mut self) -> Vec<FaultEvent> {
        let followers = [0, 1].map(|nth| Target::Follower(self.partition.clone(), nth));
        let slow_from = |when: Trigger, target: Target, factor: u64, for_ms: u64| {
            let action = Action::SlowDisk { target, factor: factor as u32 };
            FaultEvent { when, action, for_ms: Some(for_ms) }
        };
        let factor = self.draw.between(30, 300);
        let begins = Trigger::At { at_ms: self.begins_ms };
        let mut burst =
            followers.clone().map(|follower| slow_from(begins.clone(), follower, factor, LASTS_MS)).to_vec();
        let rolled = self.first(Happening::SegmentRolled, self.begins_ms, 0);
        let delay_ms = self.draw.between(5, 400);
        burst.push(slow_from(rolled.clone(), self.leader(), self.draw.between(10, 200), delay_ms));
        let mut soon = rolled;
        if let Trigger::After { delay_ms: after, .. } = &mut soon {
            *after = delay_ms;
        }
        let shape = Shape::Symmetric;
        let away = Action::Partition { shape, targets: followers.to_vec(), resets: false, in_parts: false };
        burst.push(self.event(soon.clone(), away, 2_500, 5_000));
        let cut = Action::PowerLoss { targets: vec![self.leader()] };
        burst.push(self.event(soon, cut, 20, 300));
        burst
    }

    /// The leader has records that it has not synced when one follower is cut off from it and from the
    /// controller, and the other falls behind. Alone in the in-sync set, it loses power and those records,
    /// and leads again. The one that was cut off holds them still, does not hear that there is a new
    /// epoch, and fetches as if nothing had happened. Should that get it into the in-sync set, then the
    /// leader is gone once more.
    fn behind_the_times(&mut self) -> Vec<FaultEvent> {
        let cut_off = self.draw.below(2) as u32;
        let [zombie, other] = [cut_off, 1 - cut_off].map(|place| Target::Follower(self.partition.clone(), place));
        let leader = self.leader();
        let apart_ms = self.begins_ms + self.draw.between(200, 1_000);
        let falls_ms = apart_ms + self.replica_lag_max_ms * 3 / 2 + self.draw.between(200, 1_500);
        let led_again_ms = falls_ms + self.draw.between(1_000, 4_000);
        let between = |at_ms: u64, action: Action, until_ms: u64| FaultEvent {
            when: Trigger::At { at_ms },
            action,
            for_ms: Some(until_ms - at_ms),
        };
        let slow = |target: Target, factor: u64| Action::SlowDisk { target, factor: factor as u32 };
        let apart_from = |other: Target| {
            let (shape, targets) = (Shape::Between, vec![other, zombie.clone()]);
            Action::Partition { shape, targets, resets: false, in_parts: false }
        };
        let falls = Action::PowerLoss { targets: vec![leader.clone()] };
        let unheard_ms = led_again_ms + self.draw.between(2_000, 5_000);
        let mut burst = vec![
            between(self.begins_ms, slow(leader.clone(), self.draw.between(3_000, 30_000)), falls_ms),
            between(apart_ms, slow(other, self.draw.between(1_000, 3_000)), falls_ms),
            between(apart_ms, apart_from(leader.clone()), led_again_ms),
            between(apart_ms, apart_from(Target::Controller), unheard_ms),
            between(falls_ms, falls, falls_ms + self.draw.between(20, 300)),
        ];
        let when = self.first(Happening::InSyncGrown, led_again_ms, 300);
        burst.push(self.event(when, Action::Crash { targets: vec![leader] }, 3_000, 8_000));
        burst
    }

    /// The partition is new. One follower reaches neither the leader nor the other follower, which has the
    /// leader's first records. The leader falls; whoever leads next falls too, soon after it was elected.
    fn unheard_of(&mut self) -> Vec<FaultEvent> {
        let cut_off = self.draw.below(2) as u32;
        let [unheard, other] = [cut_off, 1 - cut_off].map(|place| Target::Follower(self.partition.clone(), place));
        let mut burst = Vec::new();
        for peer in [self.leader(), other] {
            let (shape, targets) = (Shape::Between, vec![peer, unheard.clone()]);
            let apart = Action::Partition { shape, targets, resets: false, in_parts: false };
            let when = self.first(Happening::LeaderElected, 0, 20);
            burst.push(self.event(when, apart, 4_000, 8_000));
        }
        let when = self.first(Happening::Appended, 0, 60);
        let falls = Action::Crash { targets: vec![self.leader()] };
        burst.push(self.event(when, falls.clone(), 6_000, 12_000));
        let when = self.nth(Happening::LeaderElected, 2, 0, 800);
        burst.push(self.event(when, falls, 3_000, 6_000));
        burst
    }

    /// A client does not hear that its batch was appended, and tries again much later: at another
    /// leader, one that has lost power in between, with a slow disk before.
    fn late_retry(&mut self, clients: u32) -> Vec<FaultEvent> {
        let client = Target::Client(self.draw.below(u64::from(clients)) as u16);
        let follower = self.follower();
        let (shape, targets) = (Shape::Symmetric, vec![client]);
        let deaf = Action::Partition { shape, targets, resets: false, in_parts: false };
        let when = self.first(Happening::Appended, self.begins_ms, 0);
        let deaf = self.event(when, deaf, 3_000, 9_000);
        let (target, factor) = (follower.clone(), self.draw.between(100, 1_000) as u32);
        let slow = Action::SlowDisk { target, factor };
        let slow = FaultEvent {
            when: Trigger::At { at_ms: self.begins_ms },
            action: slow,
            for_ms: Some(self.draw.between(500, 3_000)),
        };
        let when = self.first(Happening::Fetched, self.begins_ms, 2_500);
        let cut = Action::PowerLoss { targets: vec![follower] };
        let cut = self.event(when, cut, 20, 500);
        let when = self.first(Happening::InSyncGrown, self.begins_ms, 200);
        let fall = Action::Crash { targets: vec![self.leader()] };
        vec![slow, deaf, cut, self.event(when, fall, 3_000, 8_000)]
    }
}
