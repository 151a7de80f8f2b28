//! When operations of unknown outcome seem to have taken effect, by the state machine's own record of the registers.
//!
//! An operation may have made a change if it was asked for before, if no answered operation made it, and if it turns
//! what the registers were before into what they were after. Which made which is a matching of the two: a value is
//! written once, so that mostly there is one way; what deletes may be one of several. Any matching will do, where
//! there are several, since they all lead to the same states. All of it is a suggestion what to try first.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::ids::Zxid;

use super::projection::paths_of;
use super::search::{State, replay};
use crate::checkers::committed::Committed;
use crate::history::coordinator::{Answer, Call, CoordinatorHistory, CoordinatorOp, PathIndex};
use crate::history::{OpId, Outcome};

/// When an operation seems to have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub zxid: Zxid,
    /// It may as well be another one's.
    pub is_guessed: bool,
}

/// By operation; those that seem to have had no effect are missing.
pub(super) type Dates = BTreeMap<OpId, Date>;

/// The dates of what has no answer.
pub(super) fn dates(history: &CoordinatorHistory, committed: &Committed) -> Dates {
    let told = told(history);
    let answered = answered(history);
    let unknown = (0..).zip(&history.operations).filter(|(_, one)| matches!(one.outcome, Outcome::Unknown));
    let possible: Vec<(OpId, Vec<Zxid>)> = unknown
        .filter(|(_, one)| is_write(&one.call.call))
        .map(|(op, one)| {
            let before = told.partition_point(|(at_ns, _)| *at_ns < one.invoked_ns);
            let known = before.checked_sub(1).map_or(Zxid(0), |last| told[last].1);
            (op, changes(&one.call.call, known, committed, &answered))
        })
        .collect();
    let dated = matching(&possible);
    let guessed = |(zxid, at): (Zxid, usize)| {
        let (op, changes) = &possible[at];
        (*op, Date { zxid, is_guessed: changes.len() > 1 })
    };
    dated.into_iter().map(guessed).collect()
}

/// By the instant of an answer, ascending, the highest zxid that anybody had been told by then.
fn told(history: &CoordinatorHistory) -> Vec<(u64, Zxid)> {
    let replies = history.operations.iter().filter_map(|one| Some((one.completed_ns?, one.reply()?.zxid)));
    let mut told: Vec<(u64, Zxid)> = replies.collect();
    told.sort_unstable();
    let mut highest = Zxid(0);
    for (_, zxid) in &mut told {
        highest = highest.max(*zxid);
        *zxid = highest;
    }
    told
}

/// Where answered operations took effect.
fn answered(history: &CoordinatorHistory) -> BTreeSet<Zxid> {
    let writes = history.operations.iter().filter(|one| is_write(&one.call.call)).filter_map(CoordinatorOp::reply);
    writes.filter(|reply| reply.answer == Answer::Done).map(|reply| reply.zxid).collect()
}

fn is_write(call: &Call) -> bool {
    matches!(call, Call::Write(_) | Call::Multi(_))
}

/// The changes after `known` that `call` may have made.
fn changes(call: &Call, known: Zxid, committed: &Committed, answered: &BTreeSet<Zxid>) -> Vec<Zxid> {
    let paths = paths_of(call);
    let later: BTreeSet<Zxid> = paths.iter().flat_map(|path| committed.after(*path, known)).collect();
    later.into_iter().filter(|zxid| !answered.contains(zxid) && explains(call, &paths, *zxid, committed)).collect()
}

/// Whether `call` turns the registers before `zxid` into those at it, which are others, and is about all that changed.
fn explains(call: &Call, paths: &BTreeSet<PathIndex>, zxid: Zxid, committed: &Committed) -> bool {
    let state =
        |zxid: Zxid| -> State { paths.iter().filter_map(|path| Some((*path, committed.at(*path, zxid)?))).collect() };
    let (before, after) = (state(Zxid(zxid.0 - 1)), state(zxid));
    let mut replayed = before.clone();
    let is_whole = committed.changed_at(zxid).all(|path| paths.contains(&path));
    is_whole && before != after && replay(&mut replayed, call) == Answer::Done && replayed == after
}

/// Which operation made which change, as many as can be: each augmenting path is found depth first.
fn matching(possible: &[(OpId, Vec<Zxid>)]) -> BTreeMap<Zxid, usize> {
    let mut made_by = BTreeMap::new();
    for at in 0..possible.len() {
        augment(possible, at, &mut made_by, &mut BTreeSet::new());
    }
    made_by
}

fn augment(
    possible: &[(OpId, Vec<Zxid>)],
    at: usize,
    made_by: &mut BTreeMap<Zxid, usize>,
    tried: &mut BTreeSet<Zxid>,
) -> bool {
    for zxid in &possible[at].1 {
        if !tried.insert(*zxid) {
            continue;
        }
        let other = made_by.get(zxid).copied();
        if other.is_none_or(|other| augment(possible, other, made_by, tried)) {
            made_by.insert(*zxid, at);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Script, create, set};
    use super::*;
    use crate::history::coordinator::{Register, Write};

    const fn delete(version: Option<i32>) -> Write {
        Write::Delete { path: 0, version }
    }

    /// A register that is what `changes` say, as zxid, version and value; deleted where there is no value.
    fn committed(changes: &[(i64, Option<(i32, u64)>)]) -> Committed {
        let mut committed = Committed::default();
        for (zxid, state) in changes {
            committed.record(0, Zxid(*zxid), state.map(|(version, value)| Register { version, value }));
        }
        committed
    }

    fn date(zxid: i64, is_guessed: bool) -> Date {
        Date { zxid: Zxid(zxid), is_guessed }
    }

    #[test]
    fn a_deletion_without_an_answer_gets_one_that_nobody_accounts_for_after_what_was_known() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 4, Call::Write(delete(None)), Answer::Done, 2);
        let first = script.unknown(5, Call::Write(delete(None)));
        script.ok(6, 7, create(0, 11), Answer::Done, 5);
        let second = script.unknown(8, Call::Write(delete(None)));
        let of_version = script.unknown(9, Call::Write(delete(Some(5))));
        let set = script.unknown(9, set(0, 12, None));
        let record = committed(&[
            (1, Some((0, 10))),
            (2, None),
            (3, Some((0, 13))),
            (4, None),
            (5, Some((0, 11))),
            (6, Some((1, 12))),
            (7, None),
        ]);
        let expected = [(first, date(4, true)), (second, date(7, false)), (set, date(6, false))];
        assert_eq!(dates(&script.history, &record), expected.into(), "nothing is left for {of_version}");
    }

    #[test]
    fn a_deletion_is_given_up_to_the_only_change_that_another_can_have_made() {
        let mut script = Script::new();
        let any = script.unknown(1, Call::Write(delete(None)));
        let of_version = script.unknown(1, Call::Write(delete(Some(0))));
        let record = committed(&[(1, Some((0, 10))), (2, None), (3, Some((0, 11))), (4, Some((1, 12))), (5, None)]);
        let expected = [(any, date(5, true)), (of_version, date(2, false))];
        assert_eq!(dates(&script.history, &record), expected.into());
    }

    /// `swarm` 91748: a deletion from long before was given the change of a multi, which then seemed to have made
    /// none; all that was asked for during an outage was tried in vain in place of it.
    #[test]
    fn a_deletion_is_not_given_a_change_of_several_registers() {
        let mut script = Script::new();
        script.unknown(1, Call::Write(delete(None)));
        let multi = script.unknown(2, Call::Multi(vec![delete(None), Write::Delete { path: 1, version: None }]));
        let mut record = committed(&[(1, Some((0, 10))), (3, None)]);
        record.record(1, Zxid(2), Some(Register { version: 0, value: 11 }));
        record.record(1, Zxid(3), None);
        assert_eq!(dates(&script.history, &record), [(multi, date(3, false))].into());
    }

    #[test]
    fn a_multi_that_refuses_itself_made_nothing_and_one_that_sets_and_deletes_may_have_deleted() {
        let check = Write::Check { path: 0, version: Some(0) };
        let mut script = Script::new();
        script.unknown(1, Call::Multi(vec![delete(None), check]));
        let write = Write::Set { path: 0, value: 99, version: Some(0) };
        let possible = script.unknown(1, Call::Multi(vec![write, delete(Some(1))]));
        let record = committed(&[(1, Some((0, 10))), (2, None)]);
        assert_eq!(dates(&script.history, &record), [(possible, date(2, false))].into());
    }
}
