//! The tree against a naive model: one map of paths, every answer computed the slow way.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::base::znode::CreateMode;

#[derive(Clone, Debug, PartialEq)]
struct ModelNode {
    data: Vec<u8>,
    owner: i64,
    version: i32,
    creations: i32,
    czxid: i64,
    mzxid: i64,
    pzxid: i64,
}

#[derive(Clone, Debug, Default)]
struct Model {
    nodes: BTreeMap<String, ModelNode>,
}

impl Model {
    fn new() -> Self {
        let node = ModelNode { data: vec![], owner: 0, version: 0, creations: 0, czxid: 0, mzxid: 0, pzxid: 0 };
        Model { nodes: path::PROTECTED.iter().map(|path| ((*path).to_owned(), node.clone())).collect() }
    }

    fn children(&self, path: &str) -> Vec<String> {
        self.nodes.keys().filter_map(|child| path::child_name(child, path)).map(str::to_owned).collect()
    }

    fn write(&mut self, zxid: i64, session: i64, write: &Write) -> Result<(), ErrorCode> {
        match write {
            Write::Create { path, data, mode, .. } => {
                let parent = path::parent(path).expect("generated with one").to_owned();
                let counter = self.nodes.get(&parent).ok_or(ErrorCode::NoNode)?.creations;
                let path = if mode.is_sequential() { format!("{path}{counter:010}") } else { path.to_string() };
                if self.nodes.contains_key(&path) {
                    return Err(ErrorCode::NodeExists);
                }
                if self.nodes[&parent].owner != 0 {
                    return Err(ErrorCode::NoChildrenForEphemerals);
                }
                let owner = if mode.is_ephemeral() { session } else { 0 };
                let data = data.clone().unwrap_or_default().to_vec();
                let node = ModelNode { data, owner, version: 0, creations: 0, czxid: zxid, mzxid: zxid, pzxid: zxid };
                self.nodes.insert(path, node);
                let parent = self.nodes.get_mut(&parent).expect("looked up before");
                (parent.creations, parent.pzxid) = (parent.creations + 1, zxid);
            }
            Write::Delete { path, version } => {
                self.expect(path, *version)?;
                if !self.children(path).is_empty() {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(path, zxid);
            }
            Write::SetData { path, data, version } => {
                self.expect(path, *version)?;
                let node = self.nodes.get_mut(&**path).expect("looked up before");
                node.data = data.clone().unwrap_or_default().to_vec();
                (node.version, node.mzxid) = (node.version + 1, zxid);
            }
            Write::Check { path, version } => self.expect(path, *version)?,
            Write::SetAcl { .. } => unreachable!("not generated"),
        }
        Ok(())
    }

    fn expect(&self, path: &str, version: i32) -> Result<(), ErrorCode> {
        let node = self.nodes.get(path).ok_or(ErrorCode::NoNode)?;
        if version != -1 && version != node.version { Err(ErrorCode::BadVersion) } else { Ok(()) }
    }

    fn remove(&mut self, path: &str, zxid: i64) {
        self.nodes.remove(path);
        let parent = path::parent(path).expect("not the root");
        self.nodes.get_mut(parent).expect("a parent is never removed first").pzxid = zxid;
    }

    fn end(&mut self, session: i64, zxid: i64) {
        let paths: Vec<_> =
            self.nodes.iter().filter(|(_, node)| node.owner == session).map(|(path, _)| path.clone()).collect();
        paths.iter().for_each(|path| self.remove(path, zxid));
    }

    fn all(&mut self, zxid: i64, session: i64, writes: &[Write]) -> bool {
        let mut copy = self.clone();
        let done = writes.iter().all(|write| copy.write(zxid, session, write).is_ok());
        if done {
            *self = copy;
        }
        done
    }
}

fn path() -> impl Strategy<Value = Arc<str>> {
    vec(prop::sample::select(vec!["a", "b", "a-", "a!"]), 1..4).prop_map(|names| format!("/{}", names.join("/")).into())
}

fn write() -> impl Strategy<Value = Write> {
    let data = || vec(any::<u8>(), 0..9).prop_map(|data| Some(Bytes::from(data)));
    let mode = (0..4).prop_map(|flags| CreateMode::from_flags(flags).expect("a mode"));
    prop_oneof![
        4 => (path(), data(), mode).prop_map(|(path, data, mode)| Write::Create { path, data, acl: Acl::open(), mode }),
        2 => (path(), -1..2).prop_map(|(path, version)| Write::Delete { path, version }),
        2 => (path(), data(), -1..3).prop_map(|(path, data, version)| Write::SetData { path, data, version }),
        1 => (path(), -1..2).prop_map(|(path, version)| Write::Check { path, version }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => write().prop_map(Op::Write),
        3 => vec(write(), 0..5).prop_map(Op::Multi),
        1 => Just(Op::CloseSession),
        1 => Just(Op::ExpireSession),
    ]
}

/// Recomputes digest and counters from nothing.
fn check_derived(tree: &Tree) {
    let nodes = tree.nodes.iter().fold(0u64, |sum, (_, node)| sum.wrapping_add(node.digest()));
    let sessions = tree.sessions.iter().fold(0u64, |sum, (id, session)| sum.wrapping_add(session.digest(*id)));
    assert_eq!(tree.digest, nodes.wrapping_add(sessions));
    let bytes: usize = tree.nodes().map(|(path, node)| path.len() + node.data_length()).sum();
    assert_eq!(tree.data_bytes, bytes as u64);
    let owned: usize = tree.sessions().map(|(_, session)| session.ephemeral_count()).sum();
    assert_eq!(tree.ephemerals, owned);
}

fn compare(tree: &Tree, model: &Model) {
    assert_eq!(tree.node_count(), model.nodes.len());
    for (path, node) in &model.nodes {
        let stat = tree.stat(path).expect("in the model");
        let children = model.children(path);
        let expected = Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            pzxid: node.pzxid,
            version: node.version,
            cversion: 2 * node.creations - children.len() as i32,
            num_children: children.len() as i32,
            data_length: node.data.len() as i32,
            ephemeral_owner: node.owner,
            ..stat
        };
        assert_eq!(stat, expected, "{path}");
        assert!(tree.children(path).eq(children.iter().map(String::as_str)), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_tree_answers_as_the_naive_model_and_two_trees_agree(ops in vec((op(), 1i64..4), 1..150)) {
        let (mut tree, mut model) = (Tree::new(), Model::new());
        let mut twin = Tree::new();
        let mut zxid = 0;
        for (op, session) in ops {
            let id = SessionId(session);
            if tree.session(id).is_none() {
                zxid += 1;
                let op = Op::CreateSession { password: Password([1; 16]), timeout_ms: 1 };
                let txn = Txn { session: id, ..Txn::of_ensemble(Origin::default(), op) };
                prop_assert_eq!(tree.apply(Zxid(zxid), zxid, &txn), twin.apply(Zxid(zxid), zxid, &txn));
            }
            zxid += 1;
            let sequence = tree.session(id).map_or(0, |session| session.sequence) + 1;
            let txn = Txn { session: id, attachment: 1, sequence, ..Txn::of_ensemble(Origin::default(), op) };
            let applied = tree.apply(Zxid(zxid), zxid, &txn);
            match &txn.op {
                Op::Write(write) => {
                    let expected = model.write(zxid, session, write);
                    prop_assert_eq!(applied.result.clone().map(drop).map_err(Failure::code), expected);
                }
                Op::Multi(writes) => {
                    let done = model.all(zxid, session, writes);
                    prop_assert_eq!(matches!(applied.result, Ok(Reply::Multi(_))), done);
                }
                _ => model.end(session, zxid),
            }
            prop_assert_eq!(applied, twin.apply(Zxid(zxid), zxid, &txn));
            prop_assert_eq!(tree.state_digest(), twin.state_digest());
        }
        compare(&tree, &model);
        check_derived(&tree);
        prop_assert_eq!(&tree, &twin);
        let bytes = tree.snapshot().collect::<Vec<_>>().concat();
        prop_assert_eq!(snapshot::decode(bytes.into()), Ok(tree));
    }
}
