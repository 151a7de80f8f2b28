//! The coordinator's replicated log as a pure core: Raft (Ongaro's thesis) with pre-vote (§9.6),
//! check-quorum and leader stickiness (§6.2, §4.2.3), pipelined replication with group commit
//! (§10.2), read-index (§6.4), leadership transfer (§3.10) and chunked snapshots (§7).
//!
//! **What it promises.** One leader a term; logs that agree on (index, zxid) agree before it; an
//! entry that was applied anywhere is in the log of every later leader; every server applies the
//! same entries in the same order; a read-index read sees every entry that was applied anywhere
//! before the read was asked for. All of that with any loss, delay, repetition or reordering of
//! messages, and any number of crashes that lose everything not yet durable.
//!
//! **What it leaves to others.** The shell ([`Effect`] says what each effect asks of it) owns the
//! clock, the disk, the network and the randomness; the tree owns what entries mean. Requests are
//! forwarded to the leader by the shell, because the leader stamps time into them first.
//!
//! # The order of calls
//!
//! 1. [`Consensus::recover`] with what the disk holds, then [`Input::Start`] once.
//! 2. Each [`Consensus::step`] appends effects. Carry them out **in order**, before the next step.
//!    `Persist` and `InstallSnapshot` may be carried out in the background, in the order given
//!    among themselves; several `Persist` may share one sync. `Apply` is done at once, in place.
//! 3. Report a finished `Persist` by [`Input::Persisted`]. It stands for all `Persist` before it.
//!    Never report what a later crash could lose; a failed sync ends the process instead.
//! 4. After an [`Effect::Fault`] every step is without effect, and the process should stop.
//!
//! # Durability
//!
//! Whatever depends on a persist waits for it inside this core: a vote, a call for votes, a
//! follower's acknowledgement, the leader's counting of itself, and `Apply`. So a shell cannot get
//! the order wrong; it only has to tell the truth about completion.
//!
//! # Blank and damaged servers
//!
//! A server that lost its disk has forgotten votes and acknowledgements, and could elect a second
//! leader or a leader without committed entries. Two empty disks look alike, so the shell tells
//! them apart by a marker that an operator's (or `wyrd dev`'s) *format* step writes exactly once,
//! when the ensemble is created: without the marker a server refuses to start. An operator who
//! replaces a lost disk says so, which is [`Standing::Blank`]: such a server copies the log and
//! serves, but neither votes, nor campaigns, nor counts towards a quorum. Members are static, so
//! it stays so until the ensemble is formatted anew; being a member again needs a new identity.

pub mod codec;
mod config;
mod durability;
mod effect;
mod election;
mod entry;
mod follower;
mod input;
mod leader;
mod log;
mod message;
mod progress;
mod reads;
mod recovery;
mod snapshots;
#[cfg(test)]
mod tests;

use crate::base::event::{CoordinatorEvent, Event};
use crate::base::ids::{ServerId, Term};
use crate::base::plants::Plants;

pub use config::{BadConfig, Config, Limits, Timing, Voters};
pub use effect::{Dropped, Effect, Fault, PersistOp, Refusal};
pub use entry::{Entry, EntryKind, HardState, Position, TERM_MAX};
pub use input::{Input, PersistId, Proposal, ReadContext, Timer};
pub use message::{Message, Outcome};
pub use recovery::{BadRecovery, Recovered, Standing};

use durability::Durability;
use election::Ballot;
use leader::Leadership;
use log::Log;
use reads::Reads;
use snapshots::Incoming;

/// One server of the ensemble. See the [module](self) for the order of calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consensus {
    config: Config,
    standing: Standing,
    hard_state: HardState,
    /// The leader of this term, while its last message is younger than the election timer.
    leader: Option<ServerId>,
    role: Role,
    log: Log,
    commit_index: u64,
    /// The last entry handed out by `Apply`, or covered by a snapshot that was installed.
    applied_index: u64,
    /// The last snapshot that the shell holds.
    snapshot: Position,
    durability: Durability,
    incoming: Option<Incoming>,
    reads: Reads,
    halted: bool,
}

/// What a server does at present.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Role {
    Follower,
    /// Asks whether it could win before it disturbs anyone (§9.6).
    PreCandidate(Ballot),
    Candidate(Ballot),
    Leader(Box<Leadership>),
}

impl Consensus {
    /// Takes one input and appends what has to be done about it.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        if self.halted {
            return;
        }
        let before = (self.hard_state.term, self.commit_index);
        self.dispatch(input, effects);
        self.flush_persist(effects);
        self.apply_committed(effects);
        self.check_invariants(before);
    }

    fn dispatch(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Start => self.start(effects),
            Input::Elapsed(timer) => self.elapsed(timer, effects),
            Input::Received { from, message } => self.received(from, message, effects),
            Input::Persisted { id } => self.persisted(id, effects),
            Input::Propose { proposals } => self.propose(proposals, effects),
            Input::ReadIndex { context } => self.read_index(context, effects),
            Input::TransferLeadership { to } => self.transfer_leadership(to, effects),
            Input::SnapshotTaken { position } => self.snapshot_taken(position, effects),
            Input::SnapshotRead { to, position, offset, data, done } => {
                self.snapshot_read(to, position, offset, data, done, effects);
            }
            Input::SnapshotUnreadable { to, position } => self.snapshot_unreadable(to, position, effects),
            Input::SnapshotStored { position, next_offset } => {
                self.snapshot_stored(position, next_offset, effects);
            }
            Input::SnapshotInstalled { position } => self.snapshot_installed(position, effects),
            Input::SnapshotInvalid { position } => self.snapshot_invalid(position, effects),
        }
    }

    fn elapsed(&mut self, timer: Timer, effects: &mut Vec<Effect>) {
        match timer {
            Timer::Election => self.election_elapsed(effects),
            Timer::Heartbeat => self.heartbeat_elapsed(effects),
            Timer::CheckQuorum => self.check_quorum_elapsed(effects),
            Timer::ReadRetry => self.read_retry_elapsed(effects),
        }
    }

    fn received(&mut self, from: ServerId, message: Message, effects: &mut Vec<Effect>) {
        if from == self.config.id || !self.config.voters.contains(from) {
            return self.refuse(from, Refusal::NotAPeer, effects);
        }
        if let Err(refusal) = message.check() {
            return self.refuse(from, refusal, effects);
        }
        if !self.meet_term(from, &message, effects) {
            return;
        }
        match message {
            Message::PreVote { term, last } => self.pre_vote(from, term, last, effects),
            Message::PreVoteResponse { term, granted } => self.pre_vote_response(from, term, granted, effects),
            Message::RequestVote { last, .. } => self.request_vote(from, last, effects),
            Message::VoteResponse { granted, .. } => self.vote_response(from, granted, effects),
            Message::Append { prev, commit, round, entries, .. } => {
                self.append(from, prev, commit, round, entries, effects);
            }
            Message::AppendResponse { round, counts, outcome, .. } => {
                self.append_response(from, round, counts, outcome, effects);
            }
            Message::Snapshot { position, offset, data, done, round, .. } => {
                self.snapshot_chunk(from, position, offset, data, done, round, effects);
            }
            Message::SnapshotResponse { position, next_offset, .. } => {
                self.snapshot_response(from, position, next_offset, effects);
            }
            Message::ReadIndex { incarnation, batch, .. } => {
                self.remote_read(from, incarnation, batch, effects);
            }
            Message::ReadIndexResponse { incarnation, batch, index, .. } => {
                self.remote_read_ready(from, incarnation, batch, index, effects);
            }
            Message::TimeoutNow { .. } => self.timeout_now(from, effects),
        }
    }

    /// Hands out what is committed and durable here, in order, and then the reads that waited for
    /// it. Nothing is handed out while a snapshot replaces the state.
    fn apply_committed(&mut self, effects: &mut Vec<Effect>) {
        let end = self.commit_index.min(self.counted_index());
        if !self.is_installing() {
            while self.applied_index < end {
                let entries = self.log.slice(self.applied_index + 1, end, Limits::APPLY_ENTRIES_MAX, usize::MAX);
                let last = entries.last().expect("committed entries above the applied index are in the log").index;
                assert!(entries[0].index == self.applied_index + 1, "entries are applied in order, without a gap");
                assert!(last <= end, "nothing above the commit index is applied");
                self.applied_index = last;
                effects.push(Effect::Apply { entries });
            }
        }
        self.release_reads(effects);
    }

    fn refuse(&mut self, from: ServerId, refusal: Refusal, effects: &mut Vec<Effect>) {
        effects.push(Effect::Refused { from, refusal });
    }

    fn halt(&mut self, fault: Fault, effects: &mut Vec<Effect>) {
        self.halted = true;
        effects.push(Effect::Fault(fault));
    }

    fn observe(&self, event: CoordinatorEvent, effects: &mut Vec<Effect>) {
        effects.push(Effect::Observe(Event::Coordinator(event)));
    }

    /// What must hold after every step, whatever happened in it.
    fn check_invariants(&self, before: (Term, u64)) {
        let (term_before, commit_before) = before;
        assert!(self.hard_state.term >= term_before, "terms never go back");
        assert!(self.hard_state.term <= TERM_MAX, "terms stay below 2^31");
        assert!(self.commit_index >= commit_before, "the commit index never goes back");
        assert!(self.commit_index <= self.log.last().index, "what is committed is in the log");
        assert!(self.applied_index <= self.commit_index, "only committed entries are applied");
        assert!(self.log.base().index <= self.applied_index, "only applied entries are compacted away");
        assert!(self.snapshot.index <= self.applied_index, "a snapshot holds applied entries only");
        assert!(self.log.base().index <= self.snapshot.index, "no gap between the snapshot and the log");
        assert!(self.durability.durable_index() <= self.log.last().index, "what is durable is in the log");
        assert!(self.log.last().term() <= self.hard_state.term, "no entry is of a term yet to come");
        assert!(self.durability.is_flushed(), "whatever a step changed was handed out to be persisted");
        if let Role::Leader(leadership) = &self.role {
            assert!(self.leader == Some(self.config.id), "a leader knows itself as the leader");
            assert!(self.hard_state.voted_for == Some(self.config.id), "a leader voted for itself");
            assert!(self.standing == Standing::Member, "a blank server never leads");
            assert!(self.log.last().term() == self.hard_state.term, "a leader's log ends in its term");
            assert!(leadership.term_start() <= self.log.last().index, "a leader's no-op is in its log");
        }
    }

    /// This server.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.config.id
    }

    /// The configuration it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The present term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The term and vote, as last handed out to be persisted.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Whether this server believes that it leads. Only a committed entry or read proves it.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The leader of the present term, if it was heard of lately.
    #[must_use]
    pub fn leader(&self) -> Option<ServerId> {
        self.leader
    }

    /// The last index that is known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> u64 {
        self.commit_index
    }

    /// The last index that was handed out by `Apply`.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// The last index of the log that is durable on this server.
    #[must_use]
    pub fn durable_index(&self) -> u64 {
        self.durability.durable_index()
    }

    /// The last entry's position, durable or not.
    #[must_use]
    pub fn last_position(&self) -> Position {
        self.log.last()
    }

    /// The position before the first entry that is kept.
    #[must_use]
    pub fn log_base(&self) -> Position {
        self.log.base()
    }

    /// The position of the last snapshot.
    #[must_use]
    pub fn snapshot_position(&self) -> Position {
        self.snapshot
    }

    /// The entries that are kept, from the one after [`Consensus::log_base`].
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.log.iter()
    }

    fn plants(&self) -> Plants {
        self.config.plants
    }
}
