//! What a leader knows about one follower, and how much it may send it.

use std::collections::VecDeque;

use super::config::Limits;
use super::entry::{Entry, Position};

/// A leader's view of one follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// The follower's log agrees with the leader's up to here, durably.
    matched: u64,
    /// The next entry to send; optimistic while replicating.
    next: u64,
    pub(super) phase: Phase,
    /// Whether it was heard of since quorum was last checked.
    pub(super) active: bool,
    /// Whether it may be counted: false once it said that it is blank.
    counts: bool,
    /// The latest round of read confirmations that it answered.
    pub(super) acked_round: u64,
    /// The commit index that was last sent to it.
    pub(super) commit_sent: u64,
}

/// How a follower is brought up to date.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Where the logs agree is not known: one `Append` at a time looks for it.
    Probe {
        /// Whether one is on its way. Heartbeats repeat it.
        awaiting: bool,
    },
    /// Entries are sent without waiting for answers.
    Replicate {
        /// What is on its way, in order.
        in_flight: VecDeque<InFlight>,
    },
    /// It needs what the log no longer has.
    Snapshot(Transfer),
}

/// One `Append` on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct InFlight {
    last_index: u64,
    bytes: usize,
}

/// A snapshot on its way, one chunk at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    pub(super) position: Position,
    pub(super) next_offset: u64,
    /// Whether the shell is reading the next chunk.
    pub(super) reading: bool,
    /// Whether nothing was heard of it since the last heartbeat.
    pub(super) stalled: bool,
}

impl Progress {
    /// Nothing is known but that the follower may have all up to `last_index`.
    pub(super) fn new(last_index: u64) -> Progress {
        Progress {
            matched: 0,
            next: last_index + 1,
            phase: Phase::Probe { awaiting: false },
            active: true,
            counts: true,
            acked_round: 0,
            commit_sent: 0,
        }
    }

    /// The index up to which it may be counted.
    pub(super) fn counted(&self) -> u64 {
        if self.counts { self.matched } else { 0 }
    }

    /// Whether it confirmed `round`, and may be counted.
    pub(super) fn confirms(&self, round: u64) -> bool {
        self.counts && self.acked_round >= round
    }

    /// Whether it was heard of lately, and may be counted.
    pub(super) fn is_active(&self) -> bool {
        self.counts && self.active
    }

    #[cfg(test)]
    pub(super) fn matched(&self) -> u64 {
        self.matched
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// It is blank: whatever it acknowledged in an earlier life is gone.
    pub(super) fn discount(&mut self, last_index: u64) {
        if self.counts {
            *self = Progress { counts: false, acked_round: self.acked_round, ..Progress::new(last_index) };
        }
    }

    /// What a blank server said that it had is no promise: one that refuses it was given an empty disk once
    /// more. What is known of it begins anew.
    pub(super) fn lost_what_matched(&mut self, refused: u64, last_index: u64) {
        if !self.counts && refused <= self.matched {
            *self = Progress { counts: false, acked_round: self.acked_round, ..Progress::new(last_index) };
        }
    }

    /// Its log agrees with ours up to `index`, durably.
    pub(super) fn matches(&mut self, index: u64) {
        self.matched = self.matched.max(index);
        match &mut self.phase {
            Phase::Probe { .. } => self.phase = Phase::Replicate { in_flight: VecDeque::new() },
            Phase::Replicate { in_flight } => {
                while in_flight.front().is_some_and(|sent| sent.last_index <= index) {
                    in_flight.pop_front();
                }
            }
            Phase::Snapshot(transfer) if index >= transfer.position.index => {
                self.next = self.matched + 1;
                self.phase = Phase::Replicate { in_flight: VecDeque::new() };
            }
            Phase::Snapshot(_) => {}
        }
        self.next = self.next.max(self.matched + 1);
        assert!(self.matched < self.next, "what is matched is not sent again");
    }

    /// Whether a refusal of the entries after `refused` tells anything new.
    pub(super) fn is_conflict_news(&self, refused: u64) -> bool {
        match self.phase {
            Phase::Probe { .. } => refused + 1 == self.next && refused > self.matched,
            Phase::Replicate { .. } => refused > self.matched && refused < self.next,
            Phase::Snapshot(_) => false,
        }
    }

    /// Looks for agreement from `agreed` on downwards.
    pub(super) fn back_off(&mut self, refused: u64, agreed: u64) {
        assert!(refused > self.matched, "what matched durably is not refused");
        self.next = (agreed + 1).min(refused).max(self.matched + 1);
        self.phase = Phase::Probe { awaiting: false };
        assert!(self.next <= refused, "backtracking makes progress");
    }

    /// Whether entries may be sent now.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        match &self.phase {
            Phase::Probe { awaiting } => !awaiting,
            Phase::Replicate { in_flight } => {
                let bytes: usize = in_flight.iter().map(|sent| sent.bytes).sum();
                in_flight.len() < limits.in_flight_appends_max && bytes < limits.in_flight_bytes_max
            }
            Phase::Snapshot(_) => false,
        }
    }

    /// `entries` are on their way.
    pub(super) fn sent(&mut self, entries: &[Entry]) {
        match &mut self.phase {
            Phase::Probe { awaiting } => *awaiting = true,
            Phase::Replicate { in_flight } => {
                let Some(last) = entries.last() else { return };
                assert!(entries[0].index == self.next, "entries are sent in order");
                self.next = last.index + 1;
                let bytes = entries.iter().map(|entry| entry.payload.len()).sum();
                in_flight.push_back(InFlight { last_index: last.index, bytes });
            }
            Phase::Snapshot(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backtracking_never_goes_below_what_matched() {
        let mut progress = Progress::new(9);
        progress.matches(4);
        progress.back_off(8, 1);
        assert_eq!((progress.matched(), progress.next()), (4, 5));
        assert!(!progress.is_conflict_news(4), "a refusal of what matched is old news");
    }

    #[test]
    fn a_blank_follower_is_copied_to_and_not_counted() {
        let mut progress = Progress::new(9);
        progress.matches(9);
        assert_eq!(progress.counted(), 9);
        progress.discount(9);
        assert_eq!((progress.matched(), progress.counted()), (0, 0));
        progress.matches(9);
        assert_eq!((progress.matched(), progress.counted()), (9, 0));
        assert!(!progress.is_active() && !progress.confirms(0));
    }

    #[test]
    fn a_blank_follower_that_refuses_what_it_had_is_copied_to_from_the_beginning() {
        let blank = |refused: u64| {
            let mut progress = Progress::new(9);
            progress.discount(9);
            progress.matches(7);
            progress.lost_what_matched(refused, 9);
            (progress.matched(), progress.next(), progress.counted())
        };
        assert_eq!(blank(8), (7, 10, 0), "it may not have more than that");
        assert_eq!(blank(7), (0, 10, 0));
        let mut member = Progress::new(9);
        member.matches(7);
        member.lost_what_matched(7, 9);
        assert_eq!(member.matched(), 7, "a refusal that was overtaken");
    }
}
