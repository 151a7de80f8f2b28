//! What must hold in every state, and the rare situations that must be reached.

use wyrdlog::base::ids::LeaderEpoch;
use wyrdlog::base::partition_state::InSyncReplica;
use wyrdlog::replication::Replica;

use super::state::{BROKERS, Broken, Record, State, id, index};
use super::world::World;
use crate::claims::{Claim, Claims, Sight, Tally};

/// Names of sights.
pub mod sight {
    pub const THIRD_EPOCH: &str = "a third leader epoch begins";
    pub const TRUNCATION: &str = "a follower truncates";
    pub const SHRUNK_AND_GREW: &str = "the in-sync set shrinks and grows again";
    pub const COMMITTED_AFTER_ELECTION: &str = "everything is committed after an election";
    pub const RESTARTED: &str = "a restarted broker is in sync again";
    pub const COMMITTED_BY_FEWER: &str = "a record is committed without a broker that lives";
    pub const LEADERLESS: &str = "nobody leads";
    pub const ELIGIBLE_LED: &str = "a replica leads that was eligible alone";
    pub const LATE_WRITE: &str = "a deposed controller's write reaches the tree";
    pub const REREAD: &str = "a controller goes on after a write of unknown outcome";
}

impl Claims for World {
    const CLAIMS: &'static [Claim<World>] = &[
        Claim {
            name: "log matching",
            applies: |_| true,
            premise: |_, state| state.brokers.iter().filter(|broker| !broker.log.is_empty()).count() > 1,
            holds: |_, state| {
                let logs = state.brokers.iter().map(|broker| &broker.log);
                logs.clone().all(|one| logs.clone().all(|other| match_up(one, other)))
            },
        },
        Claim {
            name: "in-sync and leader completeness",
            applies: |_| true,
            premise: |_, state| !state.promised.is_empty() && running(state, &state.tree.in_sync).next().is_some(),
            holds: |_, state| running(state, &state.tree.in_sync).all(|broker| state.is_complete(broker)),
        },
        // Whoever is elected is the only member of the in-sync set, of which the claim before speaks.
        Claim {
            name: "eligible completeness",
            applies: |world| world.bounds.lets_eligible_live(),
            premise: |_, state| {
                !state.promised.is_empty() && running(state, &state.tree.eligible_leaders).next().is_some()
            },
            holds: |_, state| running(state, &state.tree.eligible_leaders).all(|broker| state.is_complete(broker)),
        },
        Claim {
            name: "high watermark safety",
            applies: |_| true,
            premise: |_, state| !state.promised.is_empty(),
            holds: |_, state| !matches!(state.broken, Some(Broken::Promise | Broken::PassedMember | Broken::TooFew)),
        },
        Claim {
            name: "high watermark progress",
            applies: |_| true,
            premise: |_, state| leaders(state).any(|leader| committable(leader).is_some_and(|end| end > 0)),
            holds: |_, state| {
                let behind = |leader: &Replica| committable(leader).is_some_and(|end| leader.high_watermark() < end);
                !leaders(state).any(behind)
            },
        },
        Claim {
            name: "no replica is out of service",
            applies: |_| true,
            premise: |_, state| state.brokers.iter().any(|broker| broker.replica.leader_epoch() > LeaderEpoch(0)),
            holds: |_, state| state.brokers.iter().all(|broker| broker.replica.fault().is_none()),
        },
        Claim {
            name: "a follower of an earlier leader epoch is not answered",
            applies: |world| world.bounds.lets_leaders_return(),
            premise: |_, state| state.has_stale_request(),
            holds: |_, state| state.broken != Some(Broken::StaleFollower),
        },
        Claim {
            name: "a deposed controller changes nothing",
            applies: |world| world.bounds.failovers > 0,
            premise: |_, state| state.spent.late > 0,
            holds: |_, state| !matches!(state.broken, Some(Broken::DeposedWrite | Broken::StaysInOffice)),
        },
        Claim {
            name: "healing leads to a full in-sync set",
            applies: |_| true,
            premise: |world, state| world.is_sampled(state),
            holds: |world, state| !world.is_sampled(state) || world.heals(state),
        },
    ];

    const SIGHTS: &'static [Sight<World>] = &[
        Sight {
            name: sight::THIRD_EPOCH,
            seen: |_, state| {
                state.brokers.iter().any(|b| b.replica.leads() && b.replica.leader_epoch() >= LeaderEpoch(2))
            },
        },
        Sight {
            name: sight::TRUNCATION,
            seen: |_, state| state.brokers.iter().any(|broker| broker.replica.log_generation() > 0),
        },
        Sight {
            name: sight::SHRUNK_AND_GREW,
            seen: |_, state| state.tree.in_sync.len() == BROKERS && state.tree.partition_epoch >= 2,
        },
        Sight {
            name: sight::COMMITTED_AFTER_ELECTION,
            seen: |world, state| {
                state.promised.len() == usize::from(world.bounds.records)
                    && state.promised.last().is_some_and(|(epoch, _)| epoch.0 > 0)
            },
        },
        Sight {
            name: sight::RESTARTED,
            seen: |_, state| {
                let stops = state.spent.crashes + state.spent.kills + state.spent.disk_losses;
                stops > 0 && state.tree.in_sync.iter().any(|member| member.broker_epoch.0 > 2)
            },
        },
        Sight {
            name: sight::COMMITTED_BY_FEWER,
            seen: |_, state| {
                let lacks = |broker: usize| state.brokers[broker].up && !state.is_complete(broker);
                !state.promised.is_empty() && state.tree.in_sync.len() < BROKERS && (0..BROKERS).any(lacks)
            },
        },
        Sight { name: sight::LEADERLESS, seen: |_, state| state.tree.leader.is_none() },
        Sight {
            name: sight::ELIGIBLE_LED,
            seen: |_, state| {
                // Only an election out of the eligible set makes a set of one in a new leader epoch.
                state.tree.leader_epoch >= LeaderEpoch(2)
                    && state.tree.in_sync.len() == 1
                    && state.tree.leader.is_some()
            },
        },
        Sight { name: sight::LATE_WRITE, seen: |_, state| state.spent.late > 0 },
        Sight { name: sight::REREAD, seen: |_, state| state.spent.unknown > 0 && state.write.is_some() },
    ];

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn reaches(&self) -> &'static [&'static str] {
        self.reaches
    }
}

/// The members that run in the incarnation that is named.
fn running<'a>(state: &'a State, members: &'a [InSyncReplica]) -> impl Iterator<Item = usize> + 'a {
    let runs = |member: &&InSyncReplica| state.brokers[index(member.broker)].runs(member);
    members.iter().filter(runs).map(|member| index(member.broker))
}

fn leaders(state: &State) -> impl Iterator<Item = &Replica> {
    state.brokers.iter().filter(|broker| broker.up).map(|broker| &broker.replica).filter(|replica| replica.leads())
}

/// Up to where a leader must have committed: what it holds itself, and knows of all whom it may have to
/// wait for. None while it may commit nothing, or a proposal of its own has no outcome yet.
fn committable(leader: &Replica) -> Option<i64> {
    let committed = leader.committed_in_sync();
    if leader.proposal().is_some() || committed.len() < leader.effective_min_in_sync() {
        return None;
    }
    let mut end = leader.counted_end();
    for broker in (0..BROKERS).map(id) {
        let member = committed.iter().find(|member| member.broker == broker);
        let own = member.is_some_and(|member| member.broker_epoch == leader.broker_epoch());
        match (member, leader.acknowledged(broker)) {
            (Some(_), None) if own => {}
            (Some(member), Some((broker_epoch, offset))) if broker_epoch == member.broker_epoch => {
                end = end.min(offset)
            }
            (Some(_), _) => return None,
            (None, Some((_, offset))) => end = end.min(offset),
            (None, None) => {}
        }
    }
    Some(end)
}

/// Log matching: where two logs hold the same epoch at the same offset, they are equal up to there.
fn match_up(one: &[Record], other: &[Record]) -> bool {
    let agree = one.iter().zip(other).rposition(|(a, b)| a.0 == b.0);
    agree.is_none_or(|last| one[..=last] == other[..=last])
}
