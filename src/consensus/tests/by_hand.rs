//! One rule each, where an input comes that no quiet ensemble would give.

use bytes::Bytes;

use super::super::{
    Consensus, Dropped, Effect, Entry, EntryKind, Fault, HardState, Input, Limits, Message, Outcome, Position,
    Recovered, Refusal, Standing, TERM_MAX, Timer,
};
use super::ensemble::{Disk, Ensemble};
use crate::base::ids::{ServerId, Term, Zxid};
use crate::base::plants::{Plant, Plants};

fn no_op(index: u64, term: u32) -> Entry {
    Entry { index, zxid: Zxid::new(Term(term), 0), kind: EntryKind::NoOp, payload: Bytes::new() }
}

fn data(index: u64, term: u32, counter: u32) -> Entry {
    Entry { index, zxid: Zxid::new(Term(term), counter), kind: EntryKind::Data, payload: Bytes::from_static(b"d") }
}

fn receive(ensemble: &mut Ensemble, id: u32, from: u32, message: Message) {
    ensemble.step(id, Input::Received { from: ServerId(from), message });
}

/// What the network carries to `id`.
fn sent_to(ensemble: &Ensemble, id: u32) -> Vec<Message> {
    let envelopes = ensemble.network.iter().filter(|envelope| envelope.to == ServerId(id));
    envelopes.map(|envelope| envelope.message.clone()).collect()
}

fn matched(term: u32, index: u64) -> Message {
    Message::AppendResponse { term: Term(term), round: 0, counts: true, outcome: Outcome::Matched { index } }
}

fn chunk(position: Position, offset: u64, data: &'static [u8], done: bool) -> Message {
    Message::Snapshot { term: Term(1), position, offset, data: Bytes::from_static(data), done, round: 0 }
}

/// One step of a copy of `core`: the copy, and what is to be done.
fn tried(core: &Consensus, input: Input) -> (Consensus, Vec<Effect>) {
    let (mut core, mut effects) = (core.clone(), Vec::new());
    core.step(input, &mut effects);
    (core, effects)
}

#[test]
fn a_leader_whose_election_timer_fires_after_all_goes_on_leading() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.step(1, Input::Elapsed(Timer::Election));
    assert!(ensemble.core(1).is_leader());
    assert_eq!(ensemble.core(1).leader(), Some(ServerId(1)));
}

#[test]
fn a_server_in_the_last_term_of_all_stops_before_it_asks_for_another() {
    let mut ensemble = Ensemble::new(3);
    let message = Message::Append { term: TERM_MAX, prev: Position::ZERO, commit: 0, round: 0, entries: Vec::new() };
    receive(&mut ensemble, 2, 1, message);
    ensemble.network.clear();
    ensemble.elapse(2, Timer::Election);
    assert_eq!(ensemble.at(2).fault, Some(Fault::TermsExhausted));
    assert!(ensemble.network.is_empty());
}

#[test]
fn a_vote_that_was_given_outlives_a_crash() {
    let mut ensemble = Ensemble::new(3);
    let call = || Message::RequestVote { term: Term(1), last: Position::ZERO, transfer: false };
    receive(&mut ensemble, 2, 1, call());
    while ensemble.persist_one(2) {}
    ensemble.crash(2);
    ensemble.network.clear();
    receive(&mut ensemble, 2, 3, call());
    assert_eq!(sent_to(&ensemble, 3), [Message::VoteResponse { term: Term(1), granted: false }]);
}

#[test]
fn a_pre_vote_for_the_present_term_is_not_granted() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.elapse(2, Timer::Election);
    ensemble.network.clear();
    let last = ensemble.core(2).last_position();
    for (asked, granted) in [(1, false), (2, true)] {
        receive(&mut ensemble, 2, 3, Message::PreVote { term: Term(asked), last });
        let answer = Message::PreVoteResponse { term: Term(asked), granted };
        assert_eq!(sent_to(&ensemble, 3).last(), Some(&answer));
    }
}

#[test]
fn a_leader_does_not_count_copies_of_an_earlier_term_s_entry_before_its_own_is_copied() {
    let mut ensemble = Ensemble::new(3);
    let hard_state = HardState { term: Term(1), voted_for: None };
    let recovered = Recovered { hard_state, entries: vec![no_op(1, 1), data(2, 1, 1)], ..Recovered::default() };
    ensemble.restart(2, Standing::Member, Disk { recovered, ..Disk::default() });
    ensemble.elapse(2, Timer::Election);
    receive(&mut ensemble, 2, 3, Message::PreVoteResponse { term: Term(2), granted: true });
    ensemble.persist_one(2);
    receive(&mut ensemble, 2, 3, Message::VoteResponse { term: Term(2), granted: true });
    ensemble.persist_one(2);
    receive(&mut ensemble, 2, 3, matched(2, 2));
    assert_eq!((ensemble.core(2).is_leader(), ensemble.core(2).commit_index()), (true, 0));
    receive(&mut ensemble, 2, 3, matched(2, 3));
    assert_eq!(ensemble.core(2).commit_index(), 3);
}

#[test]
fn only_the_plant_commits_what_is_in_memory_alone() {
    let committed = |plants| {
        let mut ensemble = Ensemble::with(1, Limits::default(), plants);
        ensemble.elect(1);
        ensemble.propose(1, 1);
        ensemble.core(1).commit_index()
    };
    assert_eq!(committed(Plants::NONE), 1);
    assert_eq!(committed(Plants::only(Plant::Zk3911)), 2);
}

#[test]
fn an_answer_to_a_round_that_never_began_is_refused() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let outcome = Outcome::Matched { index: 1 };
    receive(&mut ensemble, 1, 2, Message::AppendResponse { term: Term(1), round: 1, counts: true, outcome });
    assert_eq!(ensemble.at(1).refused, [Refusal::BadAcknowledgement]);
    let read = ensemble.read(1);
    assert!(!ensemble.at(1).ready.contains(&read), "nobody has answered the round that has begun since");
}

#[test]
fn a_leader_goes_on_proposing_where_it_is_to_hand_over_to_itself_or_to_a_stranger() {
    for to in [1, 9] {
        let mut ensemble = Ensemble::new(3);
        ensemble.elect(1);
        ensemble.step(1, Input::TransferLeadership { to: ServerId(to) });
        ensemble.propose(1, 1);
        assert_eq!(ensemble.at(1).dropped, [], "to {to}");
        assert_eq!(ensemble.at(1).proposed.len(), 1, "to {to}");
    }
}

#[test]
fn a_malformed_chunk_of_a_snapshot_is_refused() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let before = ensemble.core(2).clone();
    let (later, present) = (no_op(9, 2).position(), no_op(9, 1).position());
    for message in [chunk(later, 0, b"x", true), chunk(present, 0, b"", false), chunk(present, u64::MAX, b"x", true)] {
        receive(&mut ensemble, 2, 1, message);
        assert_eq!(*ensemble.core(2), before);
    }
    assert_eq!(ensemble.at(2).refused, [Refusal::BadEntries, Refusal::BadChunk, Refusal::BadChunk]);
}

#[test]
fn a_read_that_comes_while_a_round_is_under_way_gets_the_next_one() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let reads = [ensemble.read(1), ensemble.read(1)];
    ensemble.settle();
    assert_eq!(ensemble.at(1).ready, reads);
}

#[test]
fn a_follower_that_has_lost_sight_of_the_leader_does_not_ask_it_again() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    let read = ensemble.read(2);
    assert!(ensemble.at(2).timers.contains(&Timer::ReadRetry));
    ensemble.elapse(2, Timer::Election);
    assert!(!ensemble.at(2).timers.contains(&Timer::ReadRetry));
    assert_eq!(ensemble.at(2).failed, [(read, Dropped::NotLeader { leader: None })]);
}

#[test]
fn a_refusal_and_an_acknowledgement_that_wait_for_one_persist_are_both_sent() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 1);
    let append = sent_to(&ensemble, 2).pop().expect("an append");
    ensemble.network.clear();
    receive(&mut ensemble, 2, 1, append);
    let last = ensemble.core(2).last_position();
    receive(&mut ensemble, 2, 3, Message::RequestVote { term: Term(1), last, transfer: false });
    ensemble.persist_one(2);
    assert_eq!(sent_to(&ensemble, 1), [matched(1, 2)]);
    assert_eq!(sent_to(&ensemble, 3), [Message::VoteResponse { term: Term(1), granted: false }]);
}

#[test]
fn a_snapshot_after_which_the_whole_log_is_kept_compacts_nothing() {
    let mut ensemble = Ensemble::new(1);
    ensemble.elect(1);
    let position = ensemble.core(1).last_position();
    let (core, effects) = tried(ensemble.core(1), Input::SnapshotTaken { position });
    assert_eq!(core.snapshot_position(), position);
    assert_eq!(effects, []);
}

/// Server 1 leads, and all that server 3 needs is compacted away.
fn far_behind() -> Ensemble {
    let limits = Limits { append_entries_max: 1, in_flight_appends_max: 1, trailing_entries: 0, ..Limits::default() };
    let mut ensemble = Ensemble::with(3, limits, Plants::NONE);
    ensemble.elect(1);
    ensemble.propose(1, 9);
    ensemble.settle_without(&[3]);
    ensemble.take_snapshot(1);
    assert!(ensemble.network.is_empty());
    ensemble
}

#[test]
fn a_heartbeat_is_sent_also_to_a_follower_whose_snapshot_it_begins() {
    let mut ensemble = far_behind();
    ensemble.elapse(1, Timer::Heartbeat);
    let is_heartbeat = |message: &Message| matches!(message, Message::Append { entries, .. } if entries.is_empty());
    assert!(sent_to(&ensemble, 3).iter().any(is_heartbeat));
}

#[test]
fn a_chunk_that_nobody_asked_for_is_not_sent() {
    let mut ensemble = far_behind();
    let position = ensemble.core(1).snapshot_position();
    ensemble.elapse(1, Timer::Heartbeat);
    let sent = sent_to(&ensemble, 3);
    assert!(sent.iter().any(|message| matches!(message, Message::Snapshot { .. })));
    let (to, data) = (ServerId(3), Bytes::from_static(b"again"));
    ensemble.step(1, Input::SnapshotRead { to, position, offset: 0, data, done: false });
    assert_eq!(sent_to(&ensemble, 3), sent);
}

#[test]
fn a_snapshot_that_is_gone_is_begun_anew_by_the_next_heartbeat() {
    let ensemble = far_behind();
    let (to, position) = (ServerId(3), ensemble.core(1).snapshot_position());
    let begins = Effect::ReadSnapshot { to, position, offset: 0 };
    let (core, effects) = tried(ensemble.core(1), Input::Elapsed(Timer::Heartbeat));
    assert!(effects.contains(&begins));
    let (waits, effects) = tried(&core, Input::Elapsed(Timer::Heartbeat));
    assert!(!effects.contains(&begins), "it is being read");
    let (core, _) = tried(&waits, Input::SnapshotUnreadable { to, position });
    let (_, effects) = tried(&core, Input::Elapsed(Timer::Heartbeat));
    assert!(effects.contains(&begins));
}

#[test]
fn a_snapshot_that_is_not_needed_is_acknowledged_as_far_as_the_disk_got() {
    let mut ensemble = Ensemble::new(3);
    ensemble.elect(1);
    ensemble.propose(1, 1);
    let append = sent_to(&ensemble, 2).pop().expect("an append");
    ensemble.network.clear();
    receive(&mut ensemble, 2, 1, append);
    let position = ensemble.core(2).last_position();
    assert_eq!((position.index, ensemble.core(2).durable_index()), (2, 1));
    receive(&mut ensemble, 2, 1, chunk(position, 0, b"x", true));
    assert_eq!(sent_to(&ensemble, 1), [matched(1, 1)]);
}

/// Server 2 of a fresh ensemble follows server 1 and has been given the first bytes of a snapshot at `position`.
fn receiving(position: Position, done: bool) -> Consensus {
    let ensemble = Ensemble::new(3);
    let message = chunk(position, 0, b"12345678", done);
    let (core, effects) = tried(ensemble.core(2), Input::Received { from: ServerId(1), message });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::StoreSnapshotChunk { .. })));
    core
}

#[test]
fn the_report_of_a_chunk_of_another_snapshot_is_not_taken_for_the_one_that_is_being_stored() {
    let (position, other) = (no_op(5, 1).position(), no_op(6, 1).position());
    let core = receiving(position, false);
    let (unmoved, effects) = tried(&core, Input::SnapshotStored { position: other, next_offset: 8 });
    assert_eq!((unmoved == core, effects), (true, vec![]));
    let (_, effects) = tried(&core, Input::SnapshotStored { position, next_offset: 8 });
    let message = Message::SnapshotResponse { term: Term(1), position, next_offset: 8 };
    assert_eq!(effects, [Effect::Send { to: ServerId(1), message }]);
}

#[test]
fn while_a_snapshot_is_installed_the_leader_is_answered_and_its_entries_are_not_taken() {
    let position = no_op(5, 1).position();
    let (core, effects) = tried(&receiving(position, true), Input::SnapshotStored { position, next_offset: 8 });
    assert_eq!(effects, [Effect::InstallSnapshot { position }]);
    let (term, prev, entries) = (Term(1), Position::ZERO, vec![no_op(1, 1)]);
    let message = Message::Append { term, prev, commit: 0, round: 0, entries };
    let (core, effects) = tried(&core, Input::Received { from: ServerId(1), message });
    assert_eq!(core.last_position(), Position::ZERO);
    assert!(effects.contains(&Effect::Send { to: ServerId(1), message: matched(1, 0) }));
}

#[test]
fn a_snapshot_that_proves_invalid_is_asked_for_from_its_beginning() {
    let (position, other) = (no_op(5, 1).position(), no_op(6, 1).position());
    let (core, _) = tried(&receiving(position, true), Input::SnapshotStored { position, next_offset: 8 });
    let (unmoved, effects) = tried(&core, Input::SnapshotInvalid { position: other });
    assert_eq!((unmoved == core, effects), (true, vec![]));
    let (_, effects) = tried(&core, Input::SnapshotInvalid { position });
    let message = Message::SnapshotResponse { term: Term(1), position, next_offset: 0 };
    assert_eq!(effects, [Effect::Send { to: ServerId(1), message }]);
}
