//! How far the high watermark may move on a leader.

use super::Replica;
use super::effect::Effect;
use super::role::Leading;
use crate::base::event::ReplicaEvent;
use crate::base::partition_state::{InSyncReplica, PartitionState};
use crate::base::plants::Plant;

impl Replica {
    /// Advances a leader's high watermark as far as the rules allow.
    pub(super) fn advance_high_watermark(&mut self, effects: &mut Vec<Effect>) {
        let Some(candidate) = self.candidate(effects) else { return };
        self.raise_high_watermark(candidate, effects);
    }

    /// The smallest end that counts, or none while nothing may be committed.
    fn candidate(&self, effects: &mut Vec<Effect>) -> Option<i64> {
        let leading = self.leading()?;
        let state = self.state.as_ref()?;
        // The committed set decides, not the maximal one: a proposed member's acknowledgement is
        // worth nothing if the proposal fails, while an eligible replica outside of the set relies on
        // nothing being committed without it (KIP-966).
        if state.in_sync.len() < self.effective_min_in_sync() {
            return None;
        }
        let mut lowest = self.counted_end();
        for member in self.members_to_wait_for(leading, state, effects) {
            lowest = lowest.min(self.acknowledged_by(leading, member)?);
        }
        Some(leading.outsiders_about_to_join(&state.in_sync).fold(lowest, i64::min))
    }

    fn members_to_wait_for(
        &self,
        leading: &Leading,
        state: &PartitionState,
        effects: &mut Vec<Effect>,
    ) -> Vec<InSyncReplica> {
        if let (true, Some(pending)) = (self.plants.is(Plant::AsyncIsr), &leading.pending) {
            effects.push(Effect::PlantTaken(Plant::AsyncIsr));
            return pending.members.clone();
        }
        leading.maximal_in_sync(&state.in_sync)
    }

    /// Up to where a member holds the log, in the incarnation that the set names (KIP-903).
    fn acknowledged_by(&self, leading: &Leading, member: InSyncReplica) -> Option<i64> {
        if member.broker == self.config.broker {
            return (member.broker_epoch == self.config.broker_epoch).then(|| self.counted_end());
        }
        let (broker_epoch, offset) = leading.followers.get(&member.broker)?.fetched?;
        (broker_epoch == member.broker_epoch).then_some(offset)
    }

    /// Moves the high watermark forwards, on a leader or a follower.
    pub(super) fn raise_high_watermark(&mut self, to: i64, effects: &mut Vec<Effect>) {
        if to <= self.high_watermark {
            return;
        }
        self.high_watermark = to;
        effects.push(Effect::Observe(ReplicaEvent::HighWatermark {
            leads: self.leads(),
            leader_epoch: self.leader_epoch(),
            high_watermark: to,
            maximal_in_sync: self.maximal_in_sync(),
            min_in_sync: self.effective_min_in_sync(),
        }));
        effects.push(Effect::HighWatermark { high_watermark: to });
    }
}

impl Leading {
    /// The committed set united with everyone named by a proposal since, ordered by broker.
    pub(super) fn maximal_in_sync(&self, committed: &[InSyncReplica]) -> Vec<InSyncReplica> {
        let mut maximal = committed.to_vec();
        if let Some(pending) = &self.pending {
            maximal.extend_from_slice(&pending.named);
        }
        maximal.sort_unstable();
        maximal.dedup();
        maximal
    }

    /// Followers outside of the committed set that keep up: the high watermark waits for them, or
    /// under constant load they would never catch up with it. Those that stop, or that the
    /// controller refuses, are waited for until the next check at most.
    fn outsiders_about_to_join(&self, committed: &[InSyncReplica]) -> impl Iterator<Item = i64> {
        let outside = |(broker, epoch)| !committed.contains(&InSyncReplica { broker, broker_epoch: epoch });
        self.followers.iter().filter(|(_, progress)| progress.caught_up && !progress.refused).filter_map(
            move |(broker, progress)| {
                let (broker_epoch, offset) = progress.fetched?;
                outside((*broker, broker_epoch)).then_some(offset)
            },
        )
    }
}
