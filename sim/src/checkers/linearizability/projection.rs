//! Which histories are searched: one for each register, and one for each group of registers that
//! operations span.
//!
//! The projection of a linearizable history on a register is linearizable: its order, restricted to
//! what each operation does to that register, is a witness. So a register's history that has no
//! order proves that the whole has none, and nothing is rejected that should not be. A multi that
//! took effect did all its writes; one that was refused did nothing, for a reason that may lie with
//! another register, and constrains this one by nothing; a listing says whether the register exists.
//!
//! The converse does not hold: that each register has an order does not make a multi atomic or a
//! listing a snapshot. So registers that are tied together are searched as one history, too, with
//! everything that was done to any of them, once each of them has an order of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::coordinator::{Answer, Call, CoordinatorHistory, CoordinatorOp, PathIndex, Write};
use crate::history::{OpId, Outcome};

/// An operation, or what it did to one register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its number in the history.
    pub op: OpId,
    /// What is to be explained.
    pub operation: CoordinatorOp,
}

/// A history that is searched for an order.
pub(super) struct Part {
    /// The registers that it is about.
    pub paths: BTreeSet<PathIndex>,
    /// What was done, in the order of invocation.
    pub steps: Vec<Step>,
}

/// Every register's own history.
pub(super) fn by_path(history: &CoordinatorHistory) -> Vec<Part> {
    let mut parts: BTreeMap<PathIndex, Vec<Step>> = BTreeMap::new();
    for (op, operation) in constraining(history) {
        for path in paths_of(&operation.call.call) {
            if let Some(operation) = projected(operation, path) {
                parts.entry(path).or_default().push(Step { op, operation });
            }
        }
    }
    parts.into_iter().map(|(path, steps)| Part { paths: BTreeSet::from([path]), steps }).collect()
}

/// The histories of registers that operations tie together.
pub(super) fn spanning(history: &CoordinatorHistory) -> Vec<Part> {
    let mut groups: Vec<BTreeSet<PathIndex>> = Vec::new();
    for (_, operation) in constraining(history) {
        let mut tied = paths_of(&operation.call.call);
        if tied.len() < 2 {
            continue;
        }
        let (touched, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| !group.is_disjoint(&tied));
        touched.into_iter().for_each(|group| tied.extend(group));
        groups = apart;
        groups.push(tied);
    }
    groups.into_iter().map(|paths| whole(history, paths)).collect()
}

fn whole(history: &CoordinatorHistory, paths: BTreeSet<PathIndex>) -> Part {
    let here = constraining(history).filter(|(_, operation)| !paths_of(&operation.call.call).is_disjoint(&paths));
    let steps = here.map(|(op, operation)| Step { op, operation: operation.clone() }).collect();
    Part { paths, steps }
}

/// The registers that a call is about.
pub(super) fn paths_of(call: &Call) -> BTreeSet<PathIndex> {
    match call {
        Call::Write(write) => BTreeSet::from([write.path()]),
        Call::SyncRead(path) | Call::Read(path) => BTreeSet::from([*path]),
        Call::Multi(writes) => writes.iter().map(Write::path).collect(),
        Call::SyncChildren(candidates) => candidates.iter().copied().collect(),
    }
}

/// Failed operations and reads without an answer constrain nothing; plain reads are judged elsewhere.
fn constraining(history: &CoordinatorHistory) -> impl Iterator<Item = (OpId, &CoordinatorOp)> {
    (0..).zip(&history.operations).filter(|(_, operation)| match (&operation.call.call, &operation.outcome) {
        (Call::Read(_), _) | (_, Outcome::Failed) => false,
        (Call::SyncRead(_) | Call::SyncChildren(_), Outcome::Unknown) => false,
        (_, Outcome::Unknown | Outcome::Ok(_)) => true,
    })
}

/// What `operation` did to `path`; nothing where that is not to be known.
fn projected(operation: &CoordinatorOp, path: PathIndex) -> Option<CoordinatorOp> {
    let mut own = operation.clone();
    match &mut own.call.call {
        Call::Multi(writes) => {
            let is_shared = writes.iter().any(|write| write.path() != path);
            if is_shared && matches!(operation.reply(), Some(reply) if reply.answer != Answer::Done) {
                return None;
            }
            writes.retain(|write| write.path() == path);
        }
        Call::SyncChildren(candidates) => {
            candidates.retain(|candidate| *candidate == path);
            if let Outcome::Ok(reply) = &mut own.outcome
                && let Answer::Children(exist) = &mut reply.answer
            {
                exist.retain(|child| *child == path);
            }
        }
        Call::Write(_) | Call::SyncRead(_) | Call::Read(_) => {}
    }
    Some(own)
}
