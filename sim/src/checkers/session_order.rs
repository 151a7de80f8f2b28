//! *session-order*: within a session zxids never fall and cover the session's own writes.
//!
//! Replies come in the order of requests (FIFO), so the zxids of a session's answered operations,
//! taken in the order of invocation, never fall; and a write's own zxid is above every zxid that
//! the session was shown before, since the write was not there yet.

use std::collections::BTreeMap;

use wyrdlog::base::ids::{SessionId, Zxid};

use super::linearizability::describe;
use crate::history::OpId;
use crate::history::coordinator::{Call, CoordinatorHistory};
use crate::verdict::{Findings, Property};

/// Follows each session's zxids.
#[must_use]
pub fn check(history: &CoordinatorHistory) -> Findings {
    let mut findings = Findings::new(Property::SessionOrder);
    let mut latest: BTreeMap<SessionId, (Zxid, OpId)> = BTreeMap::new();
    for (op, operation) in (0..).zip(&history.operations) {
        let Some(reply) = operation.reply() else { continue };
        let writes = matches!(operation.call.call, Call::Write(_) | Call::Multi(_));
        if let Some(&(before, earlier)) = latest.get(&operation.call.session) {
            let holds = if writes { reply.zxid > before } else { reply.zxid >= before };
            findings.check(holds, operation.ended_ns(), [u64::from(earlier), u64::from(op)], || {
                format!(
                    "{} carries zxid {:#x} after {} carried {:#x}",
                    describe(history, op),
                    reply.zxid.0,
                    describe(history, earlier),
                    before.0
                )
            });
        }
        let highest = latest.entry(operation.call.session).or_insert((reply.zxid, op));
        *highest = (*highest).max((reply.zxid, op));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::linearizability::examples::{Script, create, set, value};
    use super::*;
    use crate::history::Outcome;
    use crate::history::coordinator::{Answer, Reply};

    #[test]
    fn a_read_that_does_not_cover_the_sessions_own_write_is_rejected() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 5);
        script.ok(3, 4, Call::Read(0), Answer::Value(None), 4);
        assert_eq!(check(&script.history).violated, 1);
    }

    #[test]
    fn a_write_at_a_zxid_that_was_shown_before_it_is_rejected() {
        let mut script = Script::new();
        script.ok(1, 2, Call::Read(0), Answer::Value(None), 5);
        script.ok(3, 4, create(0, 10), Answer::Done, 5);
        assert_eq!(check(&script.history).violated, 1);
    }

    #[test]
    fn growing_zxids_are_accepted_and_sessions_do_not_bind_each_other() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 5);
        script.ok(3, 4, Call::Read(0), value(0, 10), 5);
        script.ok(5, 6, set(0, 11, None), Answer::Done, 7);
        let other = script.history.invoke(2, SessionId(2), 7, Call::Read(0));
        script.history.complete(other, 8, Outcome::Ok(Reply { answer: value(0, 10), zxid: Zxid(5) }));
        assert!(check(&script.history).passed());
    }
}
