//! One story each.

use bytes::Bytes;

use super::super::{BadConfig, BadRecovery, Config, HardState, Voters};
use super::super::{
    Consensus, Dropped, Effect, Entry, EntryKind, Fault, Input, Limits, Message, Outcome, PersistId, Position,
    Proposal, Recovered, Refusal, Standing, TERM_MAX, Timer,
};
use super::ensemble::{Disk, Ensemble};
use crate::base::ids::{ServerId, Term, Zxid};
use crate::base::plants::Plants;

fn zxids(ensemble: &Ensemble, id: u32) -> Vec<(u32, u32)> {
    ensemble.at(id).state.iter().map(|zxid| (zxid.term().0, zxid.counter())).collect()
}

fn with_limits(size: u32, change: impl FnOnce(&mut Limits)) -> Ensemble {
    let mut limits = Limits::default();
    change(&mut limits);
    Ensemble::with(size, limits, Plants::NONE)
}

#[test]
fn a_proposal_reaches_every_server_in_order() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 3);
    ensemble.settle();
    for id in 1..=3 {
        assert_eq!(zxids(&ensemble, id), [(1, 0), (1, 1), (1, 2), (1, 3)], "server {id}");
    }
}

#[test]
fn a_single_server_leads_and_commits_once_it_is_durable() {
    let mut ensemble = Ensemble::new(1);
    ensemble.elapse(1, Timer::Election);
    assert!(!ensemble.core(1).is_leader(), "its own vote is not yet durable");
    ensemble.settle();
    ensemble.propose(1, 1);
    assert_eq!(ensemble.at(1).state.len(), 1, "only the no-op is durable");
    ensemble.settle();
    let read = ensemble.read(1);
    assert_eq!(zxids(&ensemble, 1), [(1, 0), (1, 1)]);
    assert_eq!(ensemble.at(1).ready, [read]);
}

#[test]
fn a_vote_is_sent_only_once_it_is_durable() {
    let mut ensemble = Ensemble::new(3);
    let last = Position::ZERO;
    let message = Message::RequestVote { term: Term(1), last, transfer: false };
    ensemble.step(2, Input::Received { from: ServerId(1), message });
    assert!(ensemble.network.is_empty());
    ensemble.persist_one(2);
    assert_eq!(ensemble.network[0].message, Message::VoteResponse { term: Term(1), granted: true });
}

#[test]
fn an_acknowledgement_is_sent_only_once_it_is_durable_and_a_heartbeat_at_once() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 1);
    let at = ensemble.network.iter().position(|envelope| envelope.to == ServerId(2)).expect("an append");
    ensemble.deliver(at);
    ensemble.network.clear();
    ensemble.elapse(1, Timer::Heartbeat);
    let at = ensemble.network.iter().position(|envelope| envelope.to == ServerId(2)).expect("a heartbeat");
    ensemble.deliver(at);
    let answers = |ensemble: &Ensemble| {
        let from_two = ensemble.network.iter().filter(|envelope| envelope.from == ServerId(2));
        from_two.map(|envelope| envelope.message.clone()).collect::<Vec<_>>()
    };
    let matched = |index| {
        let outcome = Outcome::Matched { index };
        Message::AppendResponse { term: Term(1), round: 0, counts: true, outcome }
    };
    assert_eq!(answers(&ensemble), [matched(1)], "the heartbeat is answered as far as the disk got");
    ensemble.persist_one(2);
    assert_eq!(answers(&ensemble), [matched(1), matched(2)]);
}

#[test]
fn a_leader_counts_itself_only_once_it_is_durable() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 1);
    while let Some(at) = ensemble.network.iter().position(|envelope| envelope.to != ServerId(3)) {
        ensemble.deliver(at);
        ensemble.persist_one(2);
    }
    assert_eq!(ensemble.core(1).commit_index(), 1, "only server 2 holds entry 2 durably");
    ensemble.persist_one(1);
    assert_eq!(ensemble.core(1).commit_index(), 2);
}

#[test]
fn a_server_that_was_cut_off_does_not_depose_a_leader_that_serves() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    for _ in 0..5 {
        ensemble.elapse(3, Timer::Election);
        ensemble.settle_without(&[3]);
    }
    assert_eq!(ensemble.core(3).term(), Term(1), "a pre-vote raises no term");
    ensemble.elapse(3, Timer::Election);
    ensemble.settle();
    assert!(ensemble.core(1).is_leader());
    assert_eq!(ensemble.core(1).term(), Term(1));
}

#[test]
fn a_leader_that_no_quorum_answers_steps_down() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.elapse(1, Timer::CheckQuorum);
    assert!(ensemble.core(1).is_leader(), "it was answered since it was elected");
    let read = ensemble.read(1);
    ensemble.settle_without(&[1]);
    ensemble.elapse(1, Timer::CheckQuorum);
    assert!(!ensemble.core(1).is_leader());
    assert_eq!(ensemble.at(1).failed, [(read, Dropped::NotLeader { leader: None })]);
    assert!(ensemble.at(1).timers.contains(&Timer::Election));
    assert!(!ensemble.at(1).timers.contains(&Timer::Heartbeat));
}

#[test]
fn a_follower_that_only_takes_a_snapshot_counts_as_one_that_answers() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.elapse(1, Timer::CheckQuorum);
    let message = Message::SnapshotResponse { term: Term(1), position: Position::ZERO, next_offset: 0 };
    ensemble.step(1, Input::Received { from: ServerId(3), message });
    ensemble.elapse(1, Timer::CheckQuorum);
    assert!(ensemble.core(1).is_leader());
    ensemble.elapse(1, Timer::CheckQuorum);
    assert!(!ensemble.core(1).is_leader());
}

#[test]
fn a_follower_truncates_what_a_new_leader_never_had() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 4);
    ensemble.settle_without(&[2, 3]);
    ensemble.elect_without(2, &[1]);
    ensemble.propose(2, 1);
    ensemble.settle_without(&[1]);
    ensemble.elapse(2, Timer::Heartbeat);
    ensemble.settle();
    assert_eq!(ensemble.truncations, 1);
    for id in 1..=3 {
        assert_eq!(zxids(&ensemble, id), [(1, 0), (2, 0), (2, 1)], "server {id}");
    }
}

#[test]
fn a_lost_append_is_noticed_at_the_next_heartbeat() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 2);
    ensemble.settle_without(&[2]);
    assert_eq!(ensemble.at(2).state.len(), 1);
    ensemble.elapse(1, Timer::Heartbeat);
    ensemble.settle();
    assert_eq!(ensemble.at(2).state.len(), 3);
}

#[test]
fn what_is_on_its_way_to_one_follower_is_bounded() {
    let mut ensemble = with_limits(3, |limits| (limits.in_flight_appends_max, limits.append_entries_max) = (2, 2));
    ensemble.elect(1);
    ensemble.propose(1, 20);
    let sent: usize = ensemble
        .network
        .iter()
        .filter(|envelope| envelope.to == ServerId(2))
        .map(|envelope| match &envelope.message {
            Message::Append { entries, .. } => entries.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(sent, 4);
    ensemble.settle();
    assert_eq!(ensemble.at(2).state.len(), 21);
}

#[test]
fn proposals_beyond_the_bound_and_on_followers_are_dropped() {
    let mut ensemble = with_limits(3, |limits| limits.uncommitted_entries_max = 2);
    ensemble.elect(1);
    ensemble.propose(1, 3);
    assert_eq!(ensemble.at(1).dropped, [(2, Dropped::Overloaded)]);
    assert_eq!(ensemble.at(1).proposed.len(), 2);
    ensemble.propose(2, 1);
    assert_eq!(ensemble.at(2).dropped, [(3, Dropped::NotLeader { leader: Some(ServerId(1)) })]);
    let payload = Bytes::from(vec![0; Limits::PROPOSAL_BYTES_MAX + 1]);
    ensemble.step(1, Input::Propose { proposals: vec![Proposal { context: 9, payload }] });
    assert_eq!(ensemble.at(1).dropped.last(), Some(&(9, Dropped::TooLarge)));
}

#[test]
fn a_new_leader_commits_earlier_terms_only_with_an_entry_of_its_own() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 1);
    // Server 2 holds the entry durably, and nobody knows.
    let at = ensemble.network.iter().position(|envelope| envelope.to == ServerId(2)).expect("an append");
    ensemble.deliver(at);
    ensemble.persist_one(2);
    ensemble.network.clear();
    ensemble.elect_without(2, &[1]);
    assert_eq!(zxids(&ensemble, 3), [(1, 0), (1, 1), (2, 0)]);
}

#[test]
fn a_read_waits_for_a_quorum_and_for_the_term_s_first_commit() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let read = ensemble.read(1);
    assert!(ensemble.at(1).ready.is_empty());
    ensemble.settle_without(&[3]);
    assert_eq!(ensemble.at(1).ready, [read]);
    let stale = ensemble.read(1);
    ensemble.settle_without(&[2, 3]);
    assert_eq!(ensemble.at(1).ready, [read], "a leader that is cut off answers nothing");
    ensemble.elapse(1, Timer::Heartbeat);
    ensemble.settle();
    assert_eq!(ensemble.at(1).ready, [read, stale], "the heartbeat repeats the round");
}

#[test]
fn a_follower_s_read_is_asked_again_until_it_is_answered() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let read = ensemble.read(2);
    ensemble.settle_without(&[2]);
    assert!(ensemble.at(2).ready.is_empty());
    ensemble.elapse(2, Timer::ReadRetry);
    ensemble.settle();
    assert_eq!(ensemble.at(2).ready, [read]);
    ensemble.propose(1, 1);
    ensemble.settle_without(&[2]);
    let read = ensemble.read(2);
    assert!(!ensemble.at(2).ready.contains(&read), "what it has to cover is not applied yet");
    ensemble.settle();
    assert_eq!(ensemble.at(2).state.len(), 2);
    assert!(ensemble.at(2).ready.contains(&read));
}

#[test]
fn a_follower_that_is_far_behind_gets_a_snapshot_in_chunks() {
    let mut ensemble = with_limits(3, |limits| (limits.snapshot_chunk_bytes_max, limits.trailing_entries) = (20, 0));
    ensemble.elect(1);
    ensemble.propose(1, 9);
    ensemble.settle_without(&[3]);
    ensemble.take_snapshot(1);
    assert_eq!(ensemble.core(1).log_base().index, 10);
    ensemble.elapse(1, Timer::Heartbeat);
    ensemble.settle();
    assert_eq!((ensemble.snapshots_installed, ensemble.at(3).state.len()), (1, 10));
    ensemble.propose(1, 1);
    ensemble.settle();
    ensemble.crash(3);
    ensemble.elapse(1, Timer::Heartbeat);
    ensemble.settle();
    assert_eq!(ensemble.at(3).state, ensemble.at(1).state);
}

#[test]
fn a_lost_chunk_resumes_where_it_left_off() {
    let mut ensemble = with_limits(3, |limits| (limits.snapshot_chunk_bytes_max, limits.trailing_entries) = (8, 0));
    ensemble.elect(1);
    ensemble.propose(1, 9);
    ensemble.settle_without(&[3]);
    ensemble.take_snapshot(1);
    ensemble.elapse(1, Timer::Heartbeat);
    let offset_of = |message: &Message| match message {
        Message::Snapshot { offset, .. } => Some(*offset),
        _ => None,
    };
    while !ensemble.network.iter().any(|envelope| offset_of(&envelope.message) == Some(32)) {
        ensemble.deliver(0);
    }
    ensemble.network.clear();
    ensemble.elapse(1, Timer::Heartbeat);
    ensemble.elapse(1, Timer::Heartbeat);
    assert!(ensemble.network.iter().any(|envelope| offset_of(&envelope.message) == Some(32)));
    ensemble.settle();
    assert_eq!(ensemble.at(3).state.len(), 10);
}

#[test]
fn leadership_is_handed_over_without_waiting_for_a_time_out() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 1);
    ensemble.step(1, Input::TransferLeadership { to: ServerId(3) });
    ensemble.propose(1, 1);
    assert_eq!(ensemble.at(1).dropped, [(1, Dropped::Transferring)]);
    ensemble.settle();
    assert!(ensemble.core(3).is_leader() && !ensemble.core(1).is_leader());
    assert_eq!(zxids(&ensemble, 1), [(1, 0), (1, 1), (2, 0)]);
}

#[test]
fn a_counter_that_nears_its_end_forces_an_election() {
    let mut ensemble = with_limits(3, |limits| limits.zxid_counter_max = 2);
    ensemble.elect(1);
    ensemble.propose(1, 3);
    assert_eq!(ensemble.at(1).dropped, [(2, Dropped::Transferring)]);
    ensemble.settle();
    assert!(!ensemble.core(1).is_leader());
    ensemble.elect(2);
    assert_eq!(zxids(&ensemble, 2), [(1, 0), (1, 1), (1, 2), (2, 0)]);
}

#[test]
fn a_blank_server_copies_the_log_and_counts_for_nothing() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 2);
    ensemble.settle();
    ensemble.restart(3, Standing::Blank, Disk::default());
    ensemble.elapse(1, Timer::Heartbeat);
    ensemble.settle();
    assert_eq!(ensemble.at(3).state.len(), 3, "it copies");
    ensemble.propose(1, 1);
    ensemble.settle_without(&[2]);
    assert_eq!(ensemble.core(1).commit_index(), 3, "its acknowledgement is not counted");
    let read = ensemble.read(1);
    ensemble.settle_without(&[2]);
    assert!(!ensemble.at(1).ready.contains(&read), "nor does it confirm a read");
    ensemble.elapse(3, Timer::Election);
    ensemble.settle();
    assert_eq!(ensemble.core(3).term(), Term(1), "it calls no election");
    let message = Message::RequestVote { term: Term(9), last: ensemble.core(1).last_position(), transfer: true };
    ensemble.step(3, Input::Received { from: ServerId(1), message });
    ensemble.persist_one(3);
    let answer = &ensemble.network.last().expect("an answer").message;
    assert_eq!(*answer, Message::VoteResponse { term: Term(9), granted: false });
}

/// The leader of the same term took its refusals for old news, and it stayed empty for good (`swarm` seed 30498).
#[test]
fn a_server_that_loses_its_disk_twice_under_one_leader_copies_the_log_twice() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 2);
    ensemble.settle();
    for _ in 0..2 {
        ensemble.restart(3, Standing::Blank, Disk::default());
        ensemble.elapse(1, Timer::Heartbeat);
        ensemble.settle();
        assert_eq!(ensemble.at(3).state.len(), 3);
    }
}

#[test]
fn a_leader_that_contradicts_what_is_committed_stops_the_server() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 1);
    ensemble.settle();
    let entry = Entry { index: 1, zxid: Zxid::new(Term(2), 0), kind: EntryKind::NoOp, payload: Bytes::new() };
    let (term, prev) = (Term(2), Position::ZERO);
    let message = Message::Append { term, prev, commit: 0, round: 0, entries: vec![entry] };
    ensemble.step(2, Input::Received { from: ServerId(3), message });
    assert_eq!(ensemble.at(2).fault, Some(Fault::CommittedContradicted { from: ServerId(3), index: 1 }));
    let before = ensemble.core(2).clone();
    ensemble.step(2, Input::Elapsed(Timer::Election));
    assert_eq!(*ensemble.core(2), before, "a server that stopped does nothing more");
}

#[test]
fn two_leaders_in_one_term_stop_the_server_that_sees_both() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let message = Message::Append { term: Term(1), prev: Position::ZERO, commit: 0, round: 0, entries: Vec::new() };
    ensemble.step(2, Input::Received { from: ServerId(3), message });
    let fault = Fault::TwoLeaders { term: Term(1), one: ServerId(1), other: ServerId(3) };
    assert_eq!(ensemble.at(2).fault, Some(fault));
    assert_eq!(ensemble.core(2).leader(), Some(ServerId(1)));
    assert!(ensemble.network.iter().all(|envelope| envelope.from != ServerId(2)), "it answers nobody");
}

#[test]
fn a_malformed_message_is_refused_and_changes_nothing() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let before = ensemble.core(2).clone();
    let entry = |index, zxid| Entry { index, zxid, kind: EntryKind::Data, payload: Bytes::new() };
    let append = |term, entries| Message::Append { term, prev: Position::ZERO, commit: 0, round: 0, entries };
    let messages = [
        append(Term(TERM_MAX.0 + 1), Vec::new()),
        append(Term(5), vec![entry(7, Zxid::new(Term(1), 0))]),
        append(Term(5), vec![entry(1, Zxid(-4))]),
        append(Term(5), vec![entry(1, Zxid::new(Term(1), 1))]),
        Message::PreVote { term: Term(1), last: Position { index: 4, zxid: Zxid(0) } },
    ];
    for message in messages {
        ensemble.step(2, Input::Received { from: ServerId(1), message: message.clone() });
        assert_eq!(*ensemble.core(2), before, "{message:?}");
    }
    ensemble.step(2, Input::Received { from: ServerId(9), message: append(Term(5), Vec::new()) });
    assert_eq!(*ensemble.core(2), before);
    let expected = [Refusal::TermOutOfRange]
        .into_iter()
        .chain([Refusal::BadEntries; 4])
        .chain([Refusal::NotAPeer])
        .collect::<Vec<_>>();
    assert_eq!(ensemble.at(2).refused, expected);
    let outcome = Outcome::Matched { index: 99 };
    let message = Message::AppendResponse { term: Term(1), round: 0, counts: true, outcome };
    ensemble.step(1, Input::Received { from: ServerId(2), message });
    assert_eq!(ensemble.at(1).refused, [Refusal::BadAcknowledgement]);
}

fn recover(recovered: Recovered) -> Result<Consensus, BadRecovery> {
    let voters = Voters::new([ServerId(1)]).expect("valid");
    Consensus::recover(Config::new(ServerId(1), voters, 1), Standing::Member, recovered)
}

fn no_op(index: u64, term: u32) -> Entry {
    Entry { index, zxid: Zxid::new(Term(term), 0), kind: EntryKind::NoOp, payload: Bytes::new() }
}

#[test]
fn a_disk_that_contradicts_itself_does_not_start() {
    let hard_state = HardState { term: Term(2), voted_for: None };
    let entries = vec![no_op(1, 1), no_op(3, 2)];
    let disorder = Recovered { hard_state, entries, ..Recovered::default() };
    assert_eq!(recover(disorder), Err(BadRecovery::Disorder { index: 3 }));
    let lost = Recovered { entries: vec![no_op(1, 1)], ..Recovered::default() };
    assert_eq!(recover(lost), Err(BadRecovery::TermLost { term: 0, log_term: 1 }));
    let log_base = no_op(4, 1).position();
    let gap = Recovered { hard_state, log_base, ..Recovered::default() };
    assert_eq!(recover(gap), Err(BadRecovery::Gap { snapshot: 0, log_base: 4 }));
}

#[test]
fn a_configuration_that_contradicts_itself_does_not_start() {
    let voters = Voters::new([ServerId(1)]).expect("valid");
    let config = Config::new(ServerId(2), voters, 1);
    let refused = Consensus::recover(config, Standing::Member, Recovered::default());
    assert_eq!(refused, Err(BadRecovery::Config(BadConfig::NotAVoter(ServerId(2)))));
}

#[test]
fn the_last_term_of_all_is_a_term() {
    let mut ensemble = Ensemble::new(3);
    let message = Message::Append { term: TERM_MAX, prev: Position::ZERO, commit: 0, round: 0, entries: Vec::new() };
    ensemble.step(2, Input::Received { from: ServerId(1), message });
    assert_eq!((ensemble.at(2).refused.len(), ensemble.core(2).term()), (0, TERM_MAX));
}

#[test]
fn a_crash_between_a_snapshot_and_the_reset_of_the_log_is_mended_at_the_start() {
    let hard_state = HardState { term: Term(3), voted_for: None };
    let snapshot = no_op(5, 3).position();
    let recovered = Recovered { hard_state, snapshot, entries: vec![no_op(1, 1)], ..Recovered::default() };
    let mut core = recover(recovered).expect("valid");
    let mut effects = Vec::new();
    core.step(Input::Start, &mut effects);
    let reset = effects.iter().find_map(|effect| match effect {
        Effect::Persist(op) => Some((op.id, op.reset_to)),
        _ => None,
    });
    assert_eq!(reset, Some((PersistId(1), Some(snapshot))));
    assert_eq!((core.applied_index(), core.last_position()), (5, snapshot));
}
