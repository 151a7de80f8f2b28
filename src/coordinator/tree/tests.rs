//! Claims about the tree, one entry at a time.

use super::*;
use crate::base::ids::Term;
use crate::base::znode::{CreateMode, EventKind};

/// A tree with one session, and the bookkeeping that a server does for it.
pub(super) struct Bench {
    pub(super) tree: Tree,
    session: SessionId,
    attachment: u64,
    sequence: u64,
    counter: u32,
    pub(super) ids: Vec<AuthId>,
}

pub(super) const PASSWORD: Password = Password([7; 16]);

impl Bench {
    pub(super) fn new() -> Self {
        let mut bench =
            Bench { tree: Tree::new(), session: SessionId(0x77), attachment: 1, sequence: 0, counter: 0, ids: vec![] };
        bench.apply_txn(bench.txn(Op::CreateSession { password: PASSWORD, timeout_ms: 6000 })).result.expect("created");
        bench
    }

    pub(super) fn txn(&self, op: Op) -> Txn {
        let (session, attachment, sequence, ids) = (self.session, self.attachment, self.sequence, self.ids.clone());
        Txn { origin: Origin::default(), session, attachment, sequence, ids, op }
    }

    pub(super) fn apply_txn(&mut self, txn: Txn) -> Applied {
        self.counter += 1;
        self.tree.apply(Zxid::new(Term(1), self.counter), 1000 + i64::from(self.counter), &txn)
    }

    /// The next entry of the session.
    pub(super) fn apply(&mut self, op: Op) -> Applied {
        self.sequence += 1;
        self.apply_txn(self.txn(op))
    }

    pub(super) fn write(&mut self, write: Write) -> Result<Reply, ErrorCode> {
        self.apply(Op::Write(write)).result.map_err(Failure::code)
    }

    pub(super) fn create_as(&mut self, path: &str, mode: CreateMode) -> Result<Arc<str>, ErrorCode> {
        match self.write(create(path, mode))? {
            Reply::Created { path, .. } => Ok(path),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn create(&mut self, path: &str) {
        self.create_as(path, CreateMode::Persistent).expect("created");
    }

    pub(super) fn create_ephemeral(&mut self, path: &str) {
        self.create_as(path, CreateMode::Ephemeral).expect("created");
    }

    pub(super) fn set(&mut self, path: &str, data: &'static [u8]) {
        self.write(set(path, data, -1)).expect("set");
    }

    fn stat(&self, path: &str) -> Stat {
        self.tree.stat(path).expect("exists")
    }
}

fn create(path: &str, mode: CreateMode) -> Write {
    Write::Create { path: path.into(), data: Some(Bytes::from_static(b"d")), acl: Acl::open(), mode }
}

fn delete(path: &str, version: i32) -> Write {
    Write::Delete { path: path.into(), version }
}

fn set(path: &str, data: &'static [u8], version: i32) -> Write {
    Write::SetData { path: path.into(), data: Some(Bytes::from_static(data)), version }
}

fn check(path: &str, version: i32) -> Write {
    Write::Check { path: path.into(), version }
}

#[test]
fn a_new_tree_has_zookeepers_own_nodes_with_its_numbers() {
    let tree = Tree::new();
    let paths: Vec<_> = tree.nodes().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]);
    assert_eq!((tree.stat("/").map(|stat| (stat.cversion, stat.num_children))), Ok((-1, 1)));
    assert_eq!((tree.stat("/zookeeper").map(|stat| (stat.cversion, stat.num_children))), Ok((-2, 2)));
    assert_eq!(tree.children("/zookeeper").collect::<Vec<_>>(), ["config", "quota"]);
}

#[test]
fn zookeepers_own_nodes_cannot_be_deleted_nor_its_configuration_be_set_by_a_client() {
    let mut bench = Bench::new();
    for path in path::PROTECTED {
        assert_eq!(bench.write(delete(path, -1)), Err(ErrorCode::BadArguments), "{path}");
    }
    assert_eq!(bench.write(set("/zookeeper/config", b"x", -1)), Err(ErrorCode::NoAuth));
    let config = Op::SetConfig { data: Bytes::from_static(b"server.1=a") };
    let applied = bench.apply_txn(Txn::of_ensemble(Origin::default(), config));
    assert!(applied.result.is_ok() && applied.changes.len() == 1);
    assert_eq!(bench.stat("/zookeeper/config").version, 1);
}

#[test]
fn a_node_is_stamped_with_the_leaders_zxid_and_time() {
    let mut bench = Bench::new();
    bench.create("/a");
    let (zxid, time) = (bench.tree.last_zxid().0, 1000 + i64::from(bench.counter));
    let stat = bench.stat("/a");
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (zxid, zxid, zxid));
    assert_eq!((stat.ctime_ms, stat.mtime_ms, stat.data_length), (time, time, 1));
    bench.set("/a", b"four");
    let later = bench.stat("/a");
    assert_eq!((later.czxid, later.mzxid, later.pzxid, later.version), (zxid, zxid + 1, zxid, 1));
    assert_eq!((later.ctime_ms, later.mtime_ms, later.data_length), (time, time + 1, 4));
    let acl = Write::SetAcl { path: "/a".into(), acl: vec![Acl::world(Permissions::READ)], version: 0 };
    bench.write(acl).expect("permitted");
    assert_eq!(Stat { aversion: 1, ..later }, bench.stat("/a"), "an acl change shows in aversion only");
}

#[test]
fn creations_and_deletions_of_children_count_into_the_parents_cversion_and_pzxid() {
    let mut bench = Bench::new();
    bench.create("/p");
    bench.create("/p/a");
    bench.create("/p/b");
    assert_eq!((bench.stat("/p").cversion, bench.stat("/p").num_children), (2, 2));
    bench.write(delete("/p/a", -1)).expect("deleted");
    let stat = bench.stat("/p");
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (3, 1, bench.tree.last_zxid().0));
    bench.set("/p/b", b"x");
    assert_eq!(bench.stat("/p"), stat, "a child's data is not the parent's matter");
}

#[test]
fn sequential_names_count_creations_and_never_repeat() {
    let mut bench = Bench::new();
    bench.create("/p");
    let next = |bench: &mut Bench| bench.create_as("/p/n-", CreateMode::PersistentSequential).expect("created");
    assert_eq!(&*next(&mut bench), "/p/n-0000000000");
    assert_eq!(&*next(&mut bench), "/p/n-0000000001");
    bench.write(delete("/p/n-0000000001", -1)).expect("deleted");
    bench.create("/p/other");
    assert_eq!(&*next(&mut bench), "/p/n-0000000003");
    assert_eq!(&*bench.create_as("/p/", CreateMode::EphemeralSequential).expect("created"), "/p/0000000004");
}

#[test]
fn a_create_is_refused_for_the_reasons_that_zookeeper_gives() {
    let mut bench = Bench::new();
    bench.create("/a");
    bench.create_ephemeral("/e");
    let cases = [
        ("a", ErrorCode::BadArguments),
        ("", ErrorCode::BadArguments),
        ("/a\0", ErrorCode::BadArguments),
        ("/a/", ErrorCode::BadArguments),
        ("/a/./b", ErrorCode::NoNode),
        ("/a/..", ErrorCode::BadArguments),
        ("/a", ErrorCode::NodeExists),
        ("/", ErrorCode::NodeExists),
        ("/no/child", ErrorCode::NoNode),
        ("/e/child", ErrorCode::NoChildrenForEphemerals),
    ];
    for (path, error) in cases {
        assert_eq!(bench.create_as(path, CreateMode::Persistent), Err(error), "{path:?}");
    }
    let empty = Write::Create { path: "/b".into(), data: None, acl: vec![], mode: CreateMode::Persistent };
    assert_eq!(bench.write(empty), Err(ErrorCode::InvalidAcl));
}

#[test]
fn deletes_sets_and_checks_are_refused_for_the_reasons_that_zookeeper_gives() {
    let mut bench = Bench::new();
    bench.create("/a");
    bench.create("/a/b");
    let cases = [
        (delete("/a", -1), ErrorCode::NotEmpty),
        (delete("/a/b", 1), ErrorCode::BadVersion),
        (delete("/a/c", -1), ErrorCode::NoNode),
        (delete("x", -1), ErrorCode::BadArguments),
        (set("/a", b"", 1), ErrorCode::BadVersion),
        (set("/c", b"", -1), ErrorCode::NoNode),
        (set("/a/", b"", -1), ErrorCode::BadArguments),
        (check("/a", 1), ErrorCode::BadVersion),
        (check("/c", -1), ErrorCode::NoNode),
        (check("/c/", -1), ErrorCode::BadArguments),
    ];
    for (write, error) in cases {
        assert_eq!(bench.write(write.clone()), Err(error), "{write:?}");
    }
    assert_eq!(bench.write(check("/a", 0)), Ok(Reply::Done));
}

#[test]
fn a_multi_sees_its_own_writes_and_has_one_zxid() {
    let mut bench = Bench::new();
    let writes = vec![
        create("/a", CreateMode::Persistent),
        create("/a/n", CreateMode::PersistentSequential),
        create("/a/n", CreateMode::PersistentSequential),
        set("/a", b"x", 0),
        check("/a", 1),
        delete("/a/n0000000000", 0),
    ];
    let applied = bench.apply(Op::Multi(writes));
    let Ok(Reply::Multi(replies)) = applied.result else { panic!("{applied:?}") };
    assert!(matches!(&replies[2], Reply::Created { path, .. } if &**path == "/a/n0000000001"));
    assert_eq!((&replies[4], &replies[5]), (&Reply::Done, &Reply::Done));
    let stat = bench.stat("/a");
    let zxid = bench.tree.last_zxid().0;
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid, stat.num_children), (zxid, zxid, zxid, 1));
    assert_eq!(applied.changes.len(), 5);
}

#[test]
fn a_multi_that_fails_changes_nothing_and_says_where_it_failed() {
    let mut bench = Bench::new();
    bench.create("/a");
    bench.create_ephemeral("/e");
    let before = bench.tree.clone();
    let writes = vec![
        set("/a", b"x", -1),
        delete("/e", -1),
        create("/e", CreateMode::Ephemeral),
        create("/a/b", CreateMode::Ephemeral),
        delete("/a/b", -1),
        check("/a", 7),
        delete("/a", -1),
    ];
    let applied = bench.apply(Op::Multi(writes));
    let mut expected = vec![ErrorCode::Ok; 5];
    expected.extend([ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency]);
    assert_eq!(applied.result, Ok(Reply::MultiFailed(expected)));
    assert_eq!(applied.changes, []);
    assert_eq!(before.nodes, bench.tree.nodes);
    assert_eq!(bench.tree.ephemerals_of(bench.session).map(|path| &**path).collect::<Vec<_>>(), ["/e"]);
    assert_eq!((before.data_bytes, before.ephemerals), (bench.tree.data_bytes, bench.tree.ephemerals));
}

#[test]
fn a_failed_write_takes_a_zxid_and_its_turn_and_nothing_else() {
    let mut bench = Bench::new();
    let before = bench.tree.clone();
    assert_eq!(bench.write(delete("/a", -1)), Err(ErrorCode::NoNode));
    assert!(bench.tree.last_zxid() > before.last_zxid());
    assert_eq!(before.nodes, bench.tree.nodes);
    assert_eq!(bench.tree.session(bench.session).map(|session| session.sequence), Some(1));
}

#[test]
fn ephemerals_go_with_their_session_and_the_parents_see_it() {
    let mut bench = Bench::new();
    bench.create("/p");
    bench.create_ephemeral("/p/e1");
    bench.create_ephemeral("/p/e2");
    bench.set("/p/e2", b"x");
    assert_eq!(bench.tree.ephemeral_count(), 2);
    assert_eq!(bench.stat("/p/e1").ephemeral_owner, 0x77);
    let applied = bench.apply(Op::CloseSession);
    let ended = applied.ended.expect("ended");
    let paths: Vec<_> = ended.ephemerals.iter().map(|path| &**path).collect();
    assert_eq!((ended.session, ended.expired, paths), (SessionId(0x77), false, vec!["/p/e1", "/p/e2"]));
    assert!(applied.changes.iter().all(|change| change.kind == EventKind::NodeDeleted));
    let stat = bench.stat("/p");
    assert_eq!((stat.num_children, stat.cversion, stat.pzxid), (0, 4, bench.tree.last_zxid().0));
    assert_eq!((bench.tree.ephemeral_count(), bench.tree.session(SessionId(0x77))), (0, None));
    let late = bench.apply(Op::CloseSession);
    assert_eq!(late.result, Err(Failure::Refused(Refusal::NoSession)));
}

#[test]
fn deleting_an_ephemeral_takes_it_from_its_session() {
    let mut bench = Bench::new();
    bench.create_ephemeral("/e");
    bench.write(delete("/e", -1)).expect("deleted");
    bench.create("/e");
    bench.apply(Op::CloseSession);
    assert!(bench.tree.node("/e").is_some(), "the persistent node of the same name stays");
}

#[test]
fn an_attachment_fences_what_the_older_connection_still_sends() {
    let mut bench = Bench::new();
    bench.create("/a");
    let late = bench.txn(Op::Write(set("/a", b"late", -1)));
    let attached = bench.apply_txn(bench.txn(Op::AttachSession { password: PASSWORD, timeout_ms: 9000 }));
    assert_eq!(attached.result, Ok(Reply::Attached { attachment: 2, password: PASSWORD, timeout_ms: 9000 }));
    let late = bench.apply_txn(Txn { sequence: late.sequence + 1, ..late });
    assert_eq!(late.result, Err(Failure::Refused(Refusal::Moved { attachment: 2 })));
    (bench.attachment, bench.sequence) = (2, 0);
    bench.set("/a", b"new");
    assert_eq!(bench.stat("/a").version, 1);
}

#[test]
fn a_request_does_not_take_effect_when_one_before_it_was_lost() {
    let mut bench = Bench::new();
    bench.sequence += 1; // this one never arrives
    let applied = bench.apply(Op::Write(create("/a", CreateMode::Persistent)));
    assert_eq!(applied.result, Err(Failure::Refused(Refusal::Gap { expected: 1 })));
    assert!(bench.tree.node("/a").is_none());
    bench.sequence = 0;
    bench.create("/a");
    let copy = bench.txn(Op::Write(delete("/a", -1)));
    assert_eq!(bench.apply_txn(copy).result, Err(Failure::Refused(Refusal::Duplicate { last: 1 })));
    assert!(bench.tree.node("/a").is_some());
}

#[test]
fn a_wrong_password_attaches_to_nothing() {
    let mut bench = Bench::new();
    let digest = bench.tree.state_digest();
    let wrong = bench.txn(Op::AttachSession { password: Password([8; 16]), timeout_ms: 9000 });
    assert_eq!(bench.apply_txn(wrong).result, Err(Failure::Refused(Refusal::NoSession)));
    let taken = bench.txn(Op::CreateSession { password: Password([8; 16]), timeout_ms: 9000 });
    assert_eq!(bench.apply_txn(taken).result, Err(Failure::Refused(Refusal::Moved { attachment: 1 })));
    assert_eq!(bench.tree.state_digest(), digest);
}

#[test]
fn an_expiry_that_was_decided_before_the_session_was_attached_anew_is_refused() {
    let mut bench = Bench::new();
    bench.create_ephemeral("/e");
    let expiry = bench.txn(Op::ExpireSession);
    bench.apply_txn(bench.txn(Op::AttachSession { password: PASSWORD, timeout_ms: 6000 })).result.expect("attached");
    assert_eq!(bench.apply_txn(expiry.clone()).result, Err(Failure::Refused(Refusal::Moved { attachment: 2 })));
    assert!(bench.tree.node("/e").is_some());
    let applied = bench.apply_txn(Txn { attachment: 2, ..expiry });
    assert!(applied.ended.is_some_and(|ended| ended.expired && ended.ephemerals.len() == 1));
    assert!(bench.tree.node("/e").is_none());
}

#[test]
fn an_access_control_list_binds_writes_and_reads() {
    let mut bench = Bench::new();
    let owner = AuthId::new("digest", "o:hash");
    bench.ids = vec![owner.clone()];
    let mine = vec![Acl { permissions: Permissions::ALL, id: AuthId::new("auth", "") }];
    let node = Write::Create { path: "/m".into(), data: None, acl: mine, mode: CreateMode::Persistent };
    bench.write(node).expect("created");
    bench.create("/m/c");
    let (shown, _) = bench.tree.acl("/m", &bench.ids).expect("mine");
    assert_eq!(shown, [Acl { permissions: Permissions::ALL, id: owner }]);
    bench.ids = vec![];
    for write in [set("/m", b"", -1), delete("/m/c", -1), create("/m/d", CreateMode::Ephemeral), check("/m", -1)] {
        assert_eq!(bench.write(write.clone()), Err(ErrorCode::NoAuth), "{write:?}");
    }
    assert_eq!(bench.tree.readable("/m", &[]).err(), Some(ErrorCode::NoAuth));
    assert_eq!(bench.tree.acl("/m", &[]), Err(ErrorCode::NoAuth));
    assert!(bench.tree.readable("/m/c", &[]).is_ok());
}

#[test]
fn hashes_of_passwords_are_shown_only_to_who_may_change_them() {
    let mut bench = Bench::new();
    let acl = vec![
        Acl::world(Permissions::READ),
        Acl { permissions: Permissions::ADMIN, id: AuthId::new("digest", "u:secret") },
    ];
    let node = Write::Create { path: "/m".into(), data: None, acl: acl.clone(), mode: CreateMode::Persistent };
    bench.write(node).expect("created");
    let shown = |ids: &[AuthId]| bench.tree.acl("/m", ids).expect("readable").0;
    assert_eq!(&*shown(&[])[1].id.id, "u:x");
    assert_eq!(shown(&[AuthId::new("digest", "u:secret")]), acl);
}

#[test]
fn nodes_with_the_usual_list_share_its_allocation() {
    let mut bench = Bench::new();
    bench.create("/a");
    let node = bench.tree.node("/a").expect("exists");
    assert!(Arc::ptr_eq(&node.acl, &bench.tree.open_acl));
}

#[test]
#[should_panic(expected = "zxids only grow")]
fn an_entry_out_of_order_is_a_bug_of_ours_and_stops_the_server() {
    let mut tree = Tree::new();
    let noop = Txn::of_ensemble(Origin::default(), Op::Noop);
    tree.apply(Zxid(5), 0, &noop);
    tree.apply(Zxid(5), 0, &noop);
}
