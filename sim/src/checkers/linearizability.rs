//! *linearizability of the coordinator*: writes and `sync` + read, by Wing and Gong's search with
//! Lowe's memo, as Porcupine does it.
//!
//! Each register is searched alone, with all that any operation did to it; then registers that a
//! multi or a listing ties together are searched as one history (`projection` says why both). An
//! operation whose outcome is unknown stays open to the end and may take effect at any time after
//! its invocation, or never. A search that runs out of its budget has failed.
//!
//! A synchronised read shows no older state of the tree than any client had been shown before it (`sync`).
//!
//! Plain reads promise less and are judged by `snapshot_read` and `session_order`.

mod dates;
mod projection;
mod search;
mod sync;

use std::collections::BTreeSet;

use super::committed::Committed;
use crate::history::OpId;
use crate::history::coordinator::{CoordinatorHistory, PathIndex};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};
use dates::Dates;
use projection::{Part, by_path, paths_of, spanning};
use search::{Linearizable, Search};

/// The most steps that one history's search may take. Each may keep a memo of some 300 bytes.
pub const STEPS_MAX: u64 = 400_000;

/// The most operations that evidence names.
const TOLD_MAX: usize = 6;

/// Searches an order for every register, and for every group of registers that have one each. The record of committed
/// changes suggests what to try first and proves nothing: a search without it gives the same verdict, later.
#[must_use]
pub fn check(history: &CoordinatorHistory, committed: &Committed, steps_max: u64) -> Findings {
    let mut findings = Findings::new(Property::Linearizability);
    let mut unexplained: BTreeSet<PathIndex> = BTreeSet::new();
    let dates = dates::dates(history, committed);
    for part in by_path(history) {
        if !judge(&mut findings, history, &dates, &part, steps_max) {
            unexplained.extend(&part.paths);
        }
    }
    for part in spanning(history) {
        // That it has no order is known already, and at which register.
        if part.paths.is_disjoint(&unexplained) {
            judge(&mut findings, history, &dates, &part, steps_max);
        }
    }
    sync::check(history, &mut findings);
    findings
}

fn judge(findings: &mut Findings, history: &CoordinatorHistory, dates: &Dates, part: &Part, steps_max: u64) -> bool {
    let verdict = Search::new(&part.steps, dates, steps_max).run();
    let ends = |op: &OpId| history.operations[*op as usize].completed_ns;
    let shown = match &verdict {
        Linearizable::No { stuck_at, .. } => stuck_at.iter().filter_map(ends).min(),
        Linearizable::Yes | Linearizable::OutOfBudget { .. } => None,
    };
    let last = part.steps.iter().filter_map(|step| step.operation.completed_ns).max();
    let time_ns = shown.or(last).unwrap_or(0);
    findings.check(verdict == Linearizable::Yes, time_ns, involved(&verdict), || evidence(history, part, &verdict))
}

fn involved(verdict: &Linearizable) -> Vec<u64> {
    match verdict {
        Linearizable::No { stuck_at, .. } => stuck_at.iter().map(|op| u64::from(*op)).collect(),
        Linearizable::Yes | Linearizable::OutOfBudget { .. } => Vec::new(),
    }
}

fn evidence(history: &CoordinatorHistory, part: &Part, verdict: &Linearizable) -> String {
    let paths: Vec<&str> = part.paths.iter().map(|path| history.name(*path)).collect();
    let count = part.steps.len();
    match verdict {
        Linearizable::Yes => String::new(),
        Linearizable::OutOfBudget { steps, longest, stuck_at } => {
            let stuck = told(history, stuck_at);
            format!(
                "undecided after {steps} steps over {count} operations on {paths:?}; raise the budget; the furthest attempt explained {longest} of them, and could not go on with {stuck}"
            )
        }
        Linearizable::No { longest, stuck_at } => {
            let stuck = told(history, stuck_at);
            format!(
                "no order of the {count} operations on {paths:?} explains the answers; after {longest} of them nothing fits: {stuck}"
            )
        }
    }
}

/// Some of `stuck_at`: those that have an answer first, since it is they that have to be explained.
fn told(history: &CoordinatorHistory, stuck_at: &[OpId]) -> String {
    let is_open = |op: &OpId| history.operations[*op as usize].reply().is_none();
    let mut in_order: Vec<OpId> = stuck_at.to_vec();
    in_order.sort_by_key(|op| (is_open(op), *op));
    let mut told: Vec<String> = in_order.iter().take(TOLD_MAX).map(|op| describe(history, *op)).collect();
    if let more @ 1.. = in_order.len().saturating_sub(TOLD_MAX) {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}

/// `op`, as evidence names it.
#[must_use]
pub fn describe(history: &CoordinatorHistory, op: OpId) -> String {
    let operation = &history.operations[op as usize];
    let paths: Vec<&str> = paths_of(&operation.call.call).into_iter().map(|path| history.name(path)).collect();
    let until = operation.completed_ns.map_or("open".to_owned(), seconds);
    format!(
        "op {op} (client {}, session {:#x}, {} to {until}): {:?} on {} -> {:?}",
        operation.client,
        operation.call.session.0,
        seconds(operation.invoked_ns),
        operation.call.call,
        paths.join(", "),
        operation.outcome
    )
}

#[cfg(test)]
pub(crate) mod examples {
    //! Short ways to write a coordinator history by hand.

    use super::*;
    use crate::history::Outcome;
    use crate::history::coordinator::{Answer, Call, Register, Reply, Write};
    use wyrdlog::base::ids::{SessionId, Zxid};

    pub struct Script {
        pub history: CoordinatorHistory,
    }

    impl Script {
        pub fn new() -> Self {
            Script { history: CoordinatorHistory::new(vec!["/r/a".to_owned(), "/r/b".to_owned()]) }
        }

        /// An operation from `from` to `to`, answered with `answer` at `zxid`, in session 1.
        pub fn ok(&mut self, from: u64, to: u64, call: Call, answer: Answer, zxid: i64) -> OpId {
            let op = self.history.invoke(1, SessionId(1), from, call);
            self.history.complete(op, to, Outcome::Ok(Reply { answer, zxid: Zxid(zxid) }));
            op
        }

        pub fn unknown(&mut self, from: u64, call: Call) -> OpId {
            self.history.invoke(1, SessionId(1), from, call)
        }
    }

    pub fn create(path: PathIndex, value: u64) -> Call {
        Call::Write(Write::Create { path, value })
    }

    pub fn set(path: PathIndex, value: u64, version: Option<i32>) -> Call {
        Call::Write(Write::Set { path, value, version })
    }

    pub fn value(version: i32, value: u64) -> Answer {
        Answer::Value(Some(Register { version, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::examples::{Script, create, set, value};
    use super::*;
    use crate::history::coordinator::{Answer, Call, Refusal, Write};

    fn judge(script: &Script) -> Findings {
        check(&script.history, &Committed::default(), 100_000)
    }

    #[test]
    fn a_sync_read_of_an_overwritten_value_is_rejected() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 4, set(0, 11, None), Answer::Done, 2);
        script.ok(5, 6, Call::SyncRead(0), value(0, 10), 2);
        let findings = judge(&script);
        assert_eq!(findings.violated, 1);
        assert!(findings.violations[0].evidence.contains("/r/a"), "{:?}", findings.violations);
    }

    #[test]
    fn two_successful_compare_and_sets_of_one_version_are_rejected() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 9, set(0, 11, Some(0)), Answer::Done, 2);
        script.ok(3, 9, set(0, 12, Some(0)), Answer::Done, 3);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn concurrent_operations_may_take_effect_in_either_order() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 9, set(0, 11, None), Answer::Done, 3);
        script.ok(3, 9, set(0, 12, None), Answer::Done, 2);
        script.ok(4, 8, Call::SyncRead(0), value(1, 12), 2);
        script.ok(10, 11, Call::SyncRead(0), value(2, 11), 3);
        assert!(judge(&script).passed());
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.unknown(3, set(0, 11, None));
        script.ok(5, 6, Call::SyncRead(0), value(0, 10), 1);
        script.ok(7, 8, Call::SyncRead(0), value(1, 11), 2);
        script.unknown(9, set(0, 99, None));
        assert!(judge(&script).passed());
    }

    #[test]
    fn a_value_that_disappears_again_is_rejected_although_its_write_is_unknown() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.unknown(3, set(0, 11, None));
        script.ok(5, 6, Call::SyncRead(0), value(1, 11), 2);
        script.ok(7, 8, Call::SyncRead(0), value(0, 10), 2);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn a_refused_write_is_an_observation() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 4, create(0, 11), Answer::Refused(Refusal::NodeExists), 2);
        assert!(judge(&script).passed());
        script.ok(5, 6, set(0, 12, Some(0)), Answer::Refused(Refusal::BadVersion), 3);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn half_a_multi_is_rejected_and_a_whole_one_accepted() {
        let both = Call::Multi(vec![Write::Create { path: 0, value: 1 }, Write::Create { path: 1, value: 2 }]);
        let mut script = Script::new();
        script.ok(1, 2, both.clone(), Answer::Done, 1);
        script.ok(3, 4, Call::SyncChildren(vec![0, 1]), Answer::Children(vec![0, 1]), 1);
        assert!(judge(&script).passed());

        let mut script = Script::new();
        script.unknown(1, both);
        script.ok(3, 4, Call::SyncChildren(vec![0, 1]), Answer::Children(vec![1]), 1);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn a_stale_read_among_listings_is_blamed_on_its_register_alone() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 4, create(1, 20), Answer::Done, 2);
        script.ok(5, 6, Call::SyncChildren(vec![0, 1]), Answer::Children(vec![0, 1]), 2);
        script.ok(7, 8, set(0, 11, None), Answer::Done, 3);
        let stale = script.ok(9, 10, Call::SyncRead(0), value(0, 10), 3);
        for other in 0..40 {
            script.ok(11, 99, set(1, 100 + other, None), Answer::Done, 4 + other as i64);
        }
        let findings = judge(&script);
        assert_eq!((findings.violated, findings.evaluations), (1, 4));
        assert!(findings.violations[0].evidence.contains("[\"/r/a\"]"), "{:?}", findings.violations);
        assert_eq!(findings.violations[0].involved, [u64::from(stale)]);
    }

    #[test]
    fn a_multi_that_each_register_shows_at_another_time_is_rejected() {
        let both = Call::Multi(vec![Write::Create { path: 0, value: 1 }, Write::Create { path: 1, value: 2 }]);
        let mut script = Script::new();
        script.unknown(1, both);
        script.ok(3, 4, Call::SyncRead(0), value(0, 1), 1);
        script.ok(5, 6, Call::SyncRead(1), Answer::Value(None), 1);
        script.ok(7, 8, Call::SyncRead(1), value(0, 2), 1);
        let findings = judge(&script);
        assert_eq!((findings.violated, findings.evaluations), (1, 5));
    }

    #[test]
    fn a_multi_that_another_register_refused_binds_this_one_to_nothing() {
        let both = Call::Multi(vec![Write::Create { path: 0, value: 1 }, Write::Check { path: 1, version: None }]);
        let mut script = Script::new();
        script.ok(1, 2, both, Answer::Refused(Refusal::NoNode), 1);
        script.ok(3, 4, create(0, 5), Answer::Done, 2);
        assert!(judge(&script).passed());
    }

    #[test]
    fn registers_are_searched_apart() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(1, 2, create(1, 20), Answer::Done, 2);
        assert_eq!(judge(&script).evaluations, 2);
    }

    #[test]
    fn running_out_of_budget_is_a_failure() {
        let mut script = Script::new();
        for client in 0..12 {
            script.ok(1, 100, set(0, client, None), Answer::Refused(Refusal::BadVersion), 1);
            script.unknown(1, create(0, client + 100));
        }
        let findings = check(&script.history, &Committed::default(), 3);
        assert_eq!(findings.violated, 1);
        assert!(findings.violations[0].evidence.contains("undecided"), "{:?}", findings.violations);
    }

    #[test]
    fn a_long_history_with_many_unknown_writes_is_decided_within_the_budget() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 0), Answer::Done, 1);
        let mut version = 0;
        for round in 1..300u64 {
            let at = round * 10;
            if round % 20 == 0 {
                script.unknown(at, set(0, 10_000 + round, Some(version)));
            }
            script.ok(at + 1, at + 5, set(0, round, Some(version)), Answer::Done, 1 + round as i64);
            version += 1;
            script.ok(at + 6, at + 8, Call::SyncRead(0), value(version, round), 1 + round as i64);
        }
        assert!(check(&script.history, &Committed::default(), 200_000).passed());
    }
}
