//! *quorum_heard*: whoever answers a `sync`, or acknowledges a write, has heard of a quorum of the ensemble since it
//! was asked. What it knew before may have been overtaken by a leader that it does not know of: there is a run that
//! looks the same to it and in which its answer is wrong, whether or not that is the run at hand.
//!
//! And whoever answers anything at all has heard of a quorum within the last four seconds, if it ran for as long: a leader
//! without followers gives up its office, and a follower without a leader its clients, since their sessions may have
//! expired elsewhere by then. (Only such answers are looked at that would be rejected.)
//!
//! Who heard of whom is read off the servers' sockets (`session_wire/heard.rs`): bytes of a peer that it read, and
//! what that peer had read. What a server says of it is not asked. An ensemble of one is its own quorum.
//!
//! Not seen: an answer that a message confirms which was sent before it was asked for and read after.

use crate::history::sessions::SessionHistory;
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// Judges every answer.
#[must_use]
pub fn check(history: &SessionHistory) -> Findings {
    let mut findings = Findings::new(Property::QuorumHeard);
    let quorum = history.voters / 2 + 1;
    for (at, one) in (0..).zip(&history.answered) {
        findings.check(u32::from(one.heard) >= quorum, one.time_ns, [at], || {
            format!(
                "{} answered session {:#x} (operation {}) at {}: since {} it had heard of {} of {} servers, itself included, where {quorum} are a quorum",
                one.node,
                one.session.0,
                one.op_code,
                seconds(one.time_ns),
                seconds(one.asked_ns),
                one.heard,
                history.voters
            )
        });
    }
    findings
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::history::sessions::Answered;
    use crate::observed::Node;
    use wyrdlog::base::ids::SessionId;

    /// Adds answers of an ensemble of three.
    pub(crate) fn add(history: &mut SessionHistory) {
        let (node, session) = (Node(0), SessionId(1));
        let answer = |asked_ns, heard| Answered { time_ns: 9, asked_ns, node, session, op_code: 9, heard };
        history.voters = 3;
        history.answered = vec![answer(1, 2), answer(2, 3)];
    }

    fn violated(voters: u32, heard: u16) -> u64 {
        let mut history = SessionHistory::default();
        add(&mut history);
        history.voters = voters;
        history.answered.truncate(1);
        history.answered[0].heard = heard;
        check(&history).violated
    }

    #[test]
    fn what_a_quorum_stood_behind_is_accepted() {
        assert_eq!([violated(1, 1), violated(3, 2), violated(5, 3), violated(5, 5)], [0; 4]);
    }

    #[test]
    fn an_answer_of_fewer_than_a_quorum_is_rejected() {
        assert_eq!([violated(3, 1), violated(5, 2), violated(4, 2)], [1; 3]);
    }
}
