//! *right_refusal*, for the coordinator: a refusal carries a code that is legal at some state between
//! invocation and completion.
//!
//! An oracle of its own names the codes that each operation may be refused with, and looks up what
//! the tree was at the zxid of the reply: *no node* only where there was none, *node exists* only
//! where there was one. Codes that end a session are legal only once the session has ended, or was
//! attached elsewhere. What was asked and answered is read off the servers' sockets, so that every
//! client is covered: those of registers, those of sessions, and brokers. Versions of registers are
//! judged by *linearizability*.
//!
//! False positives avoided: past the coordinator's budget nothing is said of the tree; a reply's zxid
//! comes between invocation and completion, which *session-order* checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::base::znode::ErrorCode;
use wyrdlog::wire::zookeeper::OpCode;

use crate::history::sessions::{Fact, Refused, SessionHistory};
use crate::verdict::{Findings, Property};

/// From when to when each node of the tree existed, by the state machine's own record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    changes: BTreeMap<Arc<str>, BTreeMap<Zxid, bool>>,
    /// Whether the record proves nothing: a majority of the coordinator's disks was lost.
    pub is_void: bool,
}

impl Nodes {
    /// Records that there is a node at `path`, or none, from `zxid` on.
    pub fn record(&mut self, path: &Arc<str>, zxid: Zxid, exists: bool) {
        match self.changes.get_mut(path) {
            Some(changes) => drop(changes.insert(zxid, exists)),
            None => drop(self.changes.insert(path.clone(), BTreeMap::from([(zxid, exists)]))),
        }
    }

    /// Whether there was a node at `path` after the change at `zxid`.
    fn at(&self, path: &str, zxid: Zxid) -> bool {
        let changes = self.changes.get(path);
        path == "/" || changes.and_then(|changes| changes.range(..=zxid).next_back()).is_some_and(|(_, exists)| *exists)
    }
}

/// Compares every refusal with what was legal.
#[must_use]
pub fn check(history: &SessionHistory, nodes: &Nodes) -> Findings {
    let mut findings = Findings::new(Property::RightRefusal);
    let (mut ended, mut granted) = (BTreeMap::new(), BTreeMap::<SessionId, Vec<u64>>::new());
    for entry in &history.entries {
        match entry.fact {
            Fact::Ended { session, .. } => drop(ended.entry(session).or_insert(entry.time_ns)),
            Fact::Granted { session, .. } => granted.entry(session).or_default().push(entry.time_ns),
            _ => {}
        }
    }
    let has_ended = |session: SessionId, at_ns: u64| {
        nodes.is_void || ended.get(&session).is_some_and(|ended_ns| *ended_ns <= at_ns)
    };
    for (ordinal, entry) in (0..).zip(&history.entries) {
        if let Fact::Expelled { session } = entry.fact {
            findings.check(has_ended(session, entry.time_ns), entry.time_ns, [ordinal], || {
                format!(
                    "{} told the client of session {:#x} that it has expired, and it had not ended",
                    entry.node, session.0
                )
            });
        }
    }
    for (ordinal, refused) in (0..).zip(&history.refused) {
        let holds = match ErrorCode::from_code(refused.code) {
            ErrorCode::SessionExpired => has_ended(refused.session, refused.time_ns),
            ErrorCode::SessionMoved => granted.get(&refused.session).is_some_and(|times| times.len() > 1),
            code => legal_codes(refused.op_code).contains(&code) && (nodes.is_void || fits_tree(refused, code, nodes)),
        };
        findings.check(holds, refused.time_ns, [ordinal], || {
            format!(
                "{} refused operation {} of session {:#x} on {} with code {} at zxid {:#x}, which it may not have there",
                refused.node,
                refused.op_code,
                refused.session.0,
                refused.path.as_deref().unwrap_or("no single node"),
                refused.code,
                refused.zxid.0
            )
        });
    }
    findings
}

/// The codes that an operation may be refused with in some state of the tree, of those that can come
/// of what our clients ask: all paths are valid, all access is open, and no ephemeral is a parent.
fn legal_codes(op_code: i32) -> BTreeSet<ErrorCode> {
    use ErrorCode::{BadVersion, NoNode, NodeExists, NotEmpty};
    let is = |ops: &[OpCode]| ops.iter().any(|op| *op as i32 == op_code);
    let codes: &[ErrorCode] = if is(&[OpCode::Create, OpCode::Create2]) {
        &[NoNode, NodeExists]
    } else if is(&[OpCode::Delete]) {
        &[NoNode, BadVersion, NotEmpty]
    } else if is(&[OpCode::SetData, OpCode::SetAcl]) {
        &[NoNode, BadVersion]
    } else if is(&[OpCode::Exists, OpCode::GetData, OpCode::GetAcl, OpCode::GetChildren, OpCode::GetChildren2]) {
        &[NoNode]
    } else if is(&[OpCode::Multi]) {
        &[NoNode, NodeExists, BadVersion, NotEmpty]
    } else {
        &[]
    };
    codes.iter().copied().collect()
}

/// Whether the tree was such that the operation had to be refused with this code.
fn fits_tree(refused: &Refused, code: ErrorCode, nodes: &Nodes) -> bool {
    let Some(path) = &refused.path else { return true };
    let before = Zxid(refused.zxid.0 - 1);
    let is = |ops: &[OpCode]| ops.iter().any(|op| *op as i32 == refused.op_code);
    let creates = is(&[OpCode::Create, OpCode::Create2]);
    match code {
        ErrorCode::NoNode if creates => !nodes.at(parent_of(path), before),
        ErrorCode::NoNode if is(&[OpCode::Delete, OpCode::SetData, OpCode::SetAcl]) => !nodes.at(path, before),
        ErrorCode::NoNode => !nodes.at(path, refused.zxid),
        ErrorCode::NodeExists | ErrorCode::BadVersion | ErrorCode::NotEmpty => nodes.at(path, before),
        _ => true,
    }
}

fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

#[cfg(test)]
pub(crate) mod examples {
    //! Refusals that are right.

    use super::*;
    use crate::observed::Node;

    pub fn refusal(op: OpCode, path: &str, zxid: i64, code: ErrorCode) -> Refused {
        let (op_code, path) = (op as i32, Some(path.to_owned()));
        Refused { time_ns: 1, node: Node(0), session: SessionId(9), op_code, path, zxid: Zxid(zxid), code: code.code() }
    }

    pub fn passing() -> (Vec<Refused>, Nodes) {
        let mut nodes = Nodes::default();
        nodes.record(&Arc::from("/a"), Zxid(5), true);
        nodes.record(&Arc::from("/a"), Zxid(8), false);
        let refused = vec![
            refusal(OpCode::Create, "/a", 6, ErrorCode::NodeExists),
            refusal(OpCode::Create, "/a/b", 9, ErrorCode::NoNode),
            refusal(OpCode::GetData, "/a", 4, ErrorCode::NoNode),
            refusal(OpCode::SetData, "/a", 7, ErrorCode::BadVersion),
            refusal(OpCode::Delete, "/a", 5, ErrorCode::NoNode),
        ];
        (refused, nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::examples::{passing, refusal};
    use super::*;
    use crate::checkers::session_length::examples::{SESSION, Script};

    fn judge(refused: Vec<Refused>, nodes: &Nodes) -> u64 {
        check(&SessionHistory { refused, ..SessionHistory::default() }, nodes).violated
    }

    #[test]
    fn refusals_that_the_tree_explains_are_accepted() {
        let (refused, nodes) = passing();
        assert_eq!(judge(refused, &nodes), 0);
    }

    #[test]
    fn a_code_that_the_operation_never_has_is_rejected() {
        let (_, nodes) = passing();
        for (op, code) in [
            (OpCode::GetData, ErrorCode::NodeExists),
            (OpCode::Sync, ErrorCode::NoNode),
            (OpCode::Create, ErrorCode::NoAuth),
            (OpCode::SetData, ErrorCode::NotEmpty),
        ] {
            assert_eq!(judge(vec![refusal(op, "/a", 6, code)], &nodes), 1, "{op:?} {code:?}");
        }
    }

    #[test]
    fn no_node_where_there_is_one_and_node_exists_where_there_is_none_are_rejected() {
        let (_, nodes) = passing();
        assert_eq!(judge(vec![refusal(OpCode::Exists, "/a", 5, ErrorCode::NoNode)], &nodes), 1);
        assert_eq!(judge(vec![refusal(OpCode::Create, "/a", 5, ErrorCode::NodeExists)], &nodes), 1);
        assert_eq!(judge(vec![refusal(OpCode::Create, "/b", 6, ErrorCode::NoNode)], &nodes), 1);
        let void = Nodes { is_void: true, ..nodes };
        assert_eq!(judge(vec![refusal(OpCode::Create, "/b", 6, ErrorCode::NoNode)], &void), 0);
    }

    #[test]
    fn a_client_is_told_that_its_session_expired_only_when_it_has_ended() {
        let mut script = Script::new();
        script.at(11_000, Fact::Expelled { session: SESSION });
        assert_eq!(check(&script.history, &Nodes::default()).violated, 1);
        let mut script = Script::new();
        script.at(11_000, Fact::Ended { session: SESSION, expired: true });
        script.at(11_000, Fact::Expelled { session: SESSION });
        assert_eq!(check(&script.history, &Nodes::default()).violated, 0);
        let mut expired = refusal(OpCode::SetData, "/a", 6, ErrorCode::SessionExpired);
        expired.time_ns = u64::MAX;
        script.history.refused = vec![expired.clone()];
        assert_eq!(check(&script.history, &Nodes::default()).violated, 0);
        expired.time_ns = 1;
        script.history.refused = vec![expired];
        assert_eq!(check(&script.history, &Nodes::default()).violated, 1);
    }
}
