//! Histories by hand, good and bad, of clients that own a subtree.

use std::sync::Arc;

use wyrdlog::base::ids::Zxid;
use wyrdlog::base::znode::{Acl, AuthId, ErrorCode, EventKind, Permissions, Stat};
use wyrdlog::wire::zookeeper::{
    CreateRequest, MultiOp, MultiResult, ReplyHeader, Response, SetWatches, WatchEvent, Xid,
};

use super::*;
use crate::history::cluster::Disturbance;
use crate::history::subtrees::{BadHello, Connection, Odd};
use crate::observed::Node;

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const SESSION: i64 = 77;
const TIMEOUT_MS: i32 = 4_000;

/// Nothing disturbs from 1 s to 100 s.
pub(crate) fn met() -> ClusterHistory {
    ClusterHistory { first_led_ns: Some(0), load_ends_ns: 100 * S, ..ClusterHistory::default() }
}

/// One client that does something every millisecond, from 10 s on.
struct Script {
    history: SubtreesHistory,
    now_ns: u64,
    xid: i32,
}

fn hello(session: i64) -> ConnectRequest {
    let password = Bytes::from(vec![u8::from(session != 0); 16]);
    let (session, read_only) = (SessionId(session), Some(true));
    ConnectRequest { protocol_version: 0, last_zxid_seen: Zxid(0), timeout_ms: 9, session, password, read_only }
}

fn granted(session: i64) -> ConnectResponse {
    let password = Bytes::from(vec![u8::from(session != 0); 16]);
    let timeout_ms = if session == 0 { 0 } else { TIMEOUT_MS };
    ConnectResponse { protocol_version: 0, timeout_ms, session: SessionId(session), password, read_only: Some(false) }
}

fn path(name: &str) -> Arc<str> {
    format!("/subtree-0-0{name}").into()
}

fn creation(name: &str, flags: i32) -> CreateRequest {
    CreateRequest { path: path(name), data: Some(Bytes::from_static(b"xy")), acl: Acl::open(), flags }
}

fn create(name: &str, flags: i32) -> Request {
    Request::Create(creation(name, flags))
}

fn get(name: &str, watch: bool) -> Request {
    Request::GetData { path: path(name), watch }
}

fn set(name: &str, version: i32) -> Request {
    Request::SetData { path: path(name), data: None, version }
}

/// The stat of a node that was created and not touched.
fn stat(zxid: i64) -> Stat {
    let (ctime_ms, mtime_ms) = (1_000 + zxid, 1_000 + zxid);
    Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, ctime_ms, mtime_ms, data_length: 2, ..Stat::default() }
}

impl Script {
    fn new() -> Self {
        let history =
            SubtreesHistory { roots: vec![path("").to_string()], bounds_ms: (4_000, 40_000), ..Default::default() };
        Script { history, now_ns: 10 * S, xid: 0 }
    }

    fn opened(mut self, purpose: Purpose, hello: Option<ConnectRequest>) -> Self {
        let opened_ns = self.now_ns;
        self.history.open(Connection { client: 0, purpose, opened_ns, hello, entries: Vec::new() });
        self
    }

    fn connected(self) -> Self {
        self.opened(Purpose::Work(0), Some(hello(0))).greeted(&granted(SESSION))
    }

    /// With a root, by zxid 1.
    fn rooted() -> Self {
        Script::new().connected().does(create("", 0), 1, Response::Path { path: path("") })
    }

    fn step(mut self, step: Step) -> Self {
        self.now_ns += MS;
        let last = self.history.connections.len() as ConnectionIndex - 1;
        self.history.push(last, self.now_ns, step);
        self
    }

    fn greeted(self, granted: &ConnectResponse) -> Self {
        let mut frame = Vec::new();
        granted.put(&mut frame);
        self.step(Step::Came(frame.into()))
    }

    fn sends(mut self, request: Request) -> Self {
        self.xid += 1;
        let xid = if matches!(request, Request::SetWatches(_)) { Xid::SET_WATCHES } else { Xid(self.xid) };
        self.step(Step::Sent(xid, request))
    }

    fn replied(self, xid: i32, zxid: i64, answer: Result<Response, ErrorCode>) -> Self {
        let mut frame = Vec::new();
        let error = answer.as_ref().err().copied().unwrap_or(ErrorCode::Ok);
        ReplyHeader { xid: Xid(xid), zxid: Zxid(zxid), error }.put(&mut frame);
        answer.unwrap_or(Response::Empty).put(&mut frame);
        self.step(Step::Came(frame.into()))
    }

    fn told(self, zxid: i64, kind: EventKind, name: &str) -> Self {
        let mut frame = Vec::new();
        WatchEvent { zxid: Zxid(zxid), kind, path: path(name) }.put(&mut frame);
        self.step(Step::Came(frame.into()))
    }

    fn does(self, request: Request, zxid: i64, response: Response) -> Self {
        let script = self.sends(request);
        let xid = script.xid;
        script.replied(xid, zxid, Ok(response))
    }

    fn asks_in_vain(self, request: Request, zxid: i64, error: ErrorCode) -> Self {
        let script = self.sends(request);
        let xid = script.xid;
        script.replied(xid, zxid, Err(error))
    }

    fn after(mut self, passed_ns: u64) -> Self {
        self.now_ns += passed_ns;
        self
    }

    fn violated(&self) -> u64 {
        let findings = check(&self.history, &met());
        assert!(findings.evaluations > 0 || findings.violated == 0);
        findings.violated
    }

    fn passes(self) {
        let findings = check(&self.history, &met());
        assert!(findings.passed(), "{:?}", findings.violations);
    }

    fn fails(self) {
        assert_eq!(self.violated(), 1);
    }
}

/// A session's work in which every kind of edit finds something.
pub(crate) fn good() -> SubtreesHistory {
    let data = |stat| Response::Data { data: Some(Bytes::from_static(b"xy")), stat };
    let root = Stat { cversion: 1, num_children: 1, pzxid: 2, ..stat(1) };
    let changed = Stat { mzxid: 3, mtime_ms: 1_003, version: 1, data_length: 0, ..stat(2) };
    Script::rooted()
        .does(create("/a", 0), 2, Response::Path { path: path("/a") })
        .does(get("", false), 2, data(root))
        .does(get("/a", true), 2, data(stat(2)))
        .sends(set("/a", 0))
        .told(3, EventKind::NodeDataChanged, "/a")
        .replied(5, 3, Ok(Response::Stat { stat: changed }))
        .asks_in_vain(set("/a", 0), 4, ErrorCode::BadVersion)
        .asks_in_vain(get("/b", false), 4, ErrorCode::NoNode)
        .history
}

#[test]
fn the_work_of_a_session_is_accepted() {
    let findings = check(&good(), &met());
    assert!(findings.passed() && findings.evaluations > 8, "{:?}", findings.violations);
}

#[test]
fn each_refusal_has_its_code_and_no_other() {
    let bad = |acl: Vec<Acl>| Request::Create(CreateRequest { acl, ..creation("/b", 0) });
    let other = Acl { permissions: Permissions::ALL, id: AuthId::new("auth", "") };
    let wrong_path = Request::Create(CreateRequest { path: "/subtree-0-0//a".into(), ..creation("/b", 0) });
    let delete = |name: &str, version| Request::Delete { path: path(name), version };
    let cases = [
        (create("", 0), ErrorCode::NodeExists),
        (create("/x/y", 0), ErrorCode::NoNode),
        (create("/e/y", 0), ErrorCode::NoChildrenForEphemerals),
        (create("/b", 9), ErrorCode::BadArguments),
        (wrong_path, ErrorCode::BadArguments),
        (bad(Vec::new()), ErrorCode::InvalidAcl),
        (bad(vec![other]), ErrorCode::InvalidAcl),
        (delete("", -1), ErrorCode::NotEmpty),
        (delete("/e", 3), ErrorCode::BadVersion),
        (delete("/x", -1), ErrorCode::NoNode),
        (set("/e", 1), ErrorCode::BadVersion),
        (get("/x", false), ErrorCode::NoNode),
    ];
    for (request, code) in cases {
        let start = || Script::rooted().does(create("/e", 1), 2, Response::Path { path: path("/e") });
        start().asks_in_vain(request.clone(), 3, code).passes();
        start().asks_in_vain(request, 3, ErrorCode::SystemError).fails();
    }
}

#[test]
fn every_field_of_a_stat_counts() {
    let due = Stat { ephemeral_owner: SESSION, ..stat(2) };
    let exists = |given: Stat| {
        Script::rooted()
            .does(create("/e", 1), 2, Response::Path { path: path("/e") })
            .does(Request::Exists { path: path("/e"), watch: false }, 2, Response::Stat { stat: due })
            .does(Request::Exists { path: path("/e"), watch: false }, 2, Response::Stat { stat: given })
    };
    exists(due).passes();
    let wrong: [fn(&mut Stat); 11] = [
        |stat| stat.czxid = 1,
        |stat| stat.mzxid = 1,
        |stat| stat.pzxid = 1,
        |stat| stat.ctime_ms += 1,
        |stat| stat.mtime_ms += 1,
        |stat| stat.version = 1,
        |stat| stat.cversion = 1,
        |stat| stat.aversion = 1,
        |stat| stat.ephemeral_owner = 0,
        |stat| stat.data_length = 1,
        |stat| stat.num_children = 1,
    ];
    for edit in wrong {
        let mut given = due;
        edit(&mut given);
        exists(given).fails();
    }
}

#[test]
fn sequential_names_count_the_children_that_came() {
    let start = || {
        Script::rooted()
            .does(create("/a", 0), 2, Response::Path { path: path("/a") })
            .does(Request::Delete { path: path("/a"), version: 0 }, 3, Response::Empty)
            .sends(create("/s", 2))
    };
    start().replied(4, 4, Ok(Response::Path { path: path("/s0000000001") })).passes();
    for name in ["/s0000000002", "/s0000000000", "/s1", "/s"] {
        start().replied(4, 4, Ok(Response::Path { path: path(name) })).fails();
    }
}

#[test]
fn a_multi_is_all_or_nothing_and_says_where_it_failed() {
    let check_of = |name: &str| MultiOp::Check { path: path(name), version: -1 };
    let ops = |last: MultiOp| Request::Multi(vec![MultiOp::Create(creation("/m", 0)), last, check_of("")]);
    let made = MultiResult::Create { path: path("/m") };
    let results = |results: Vec<MultiResult>| Response::Multi(results);
    let good = results(vec![made, MultiResult::Check, MultiResult::Check]);
    Script::rooted().does(ops(check_of("/m")), 2, good.clone()).passes();
    let codes = |codes: [ErrorCode; 3]| results(codes.map(MultiResult::Error).to_vec());
    let failed = codes([ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency]);
    Script::rooted().does(ops(check_of("/x")), 2, failed).asks_in_vain(get("/m", false), 2, ErrorCode::NoNode).passes();
    let wrong = [
        good,
        codes([ErrorCode::RuntimeInconsistency, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency]),
        codes([ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::Ok]),
        codes([ErrorCode::Ok, ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency]),
    ];
    for wrong in wrong {
        Script::rooted().does(ops(check_of("/x")), 2, wrong).fails();
    }
}

#[test]
fn what_the_list_does_not_permit_is_refused() {
    let read_only = vec![Acl::world(Permissions::READ)];
    let list = || Request::SetAcl { path: path(""), acl: read_only.clone(), version: 0 };
    let after = Stat { aversion: 1, ..stat(1) };
    let start = || Script::rooted().does(list(), 2, Response::Stat { stat: after });
    start().does(Request::GetAcl { path: path("") }, 2, Response::Acl { acl: read_only.clone(), stat: after }).passes();
    start().does(Request::GetAcl { path: path("") }, 2, Response::Acl { acl: Acl::open(), stat: after }).fails();
    for request in [create("/a", 0), set("", -1), list()] {
        start().asks_in_vain(request, 3, ErrorCode::NoAuth).passes();
    }
    start().does(create("/a", 0), 3, Response::Path { path: path("/a") }).fails();
}

#[test]
fn an_event_comes_once_before_the_answer_to_its_change_and_only_where_it_is_due() {
    let watching = |watch| {
        let data = Response::Data { data: Some(Bytes::from_static(b"xy")), stat: stat(1) };
        Script::rooted().does(get("", watch), 1, data).sends(set("", -1))
    };
    let done =
        || Ok(Response::Stat { stat: Stat { mzxid: 2, mtime_ms: 1_002, version: 1, data_length: 0, ..stat(1) } });
    let event = |script: Script| script.told(2, EventKind::NodeDataChanged, "");
    event(watching(true)).replied(3, 2, done()).passes();
    watching(false).replied(3, 2, done()).passes();
    watching(true).replied(3, 2, done()).fails();
    event(watching(false)).replied(3, 2, done()).fails();
    event(event(watching(true))).replied(3, 2, done()).fails();
    event(watching(true).replied(3, 2, done())).fails();
    watching(true).told(2, EventKind::NodeDeleted, "").replied(3, 2, done()).fails();
    watching(true).told(1, EventKind::NodeDataChanged, "").replied(3, 2, done()).fails();
}

#[test]
fn watches_that_are_left_again_tell_what_was_missed() {
    let again = |since| {
        let data = vec![path(""), path("/x")];
        Request::SetWatches(SetWatches { relative_zxid: Zxid(since), data, ..SetWatches::default() })
    };
    let deleted = |script: Script| script.told(1, EventKind::NodeDeleted, "/x");
    deleted(Script::rooted().sends(again(1))).replied(-8, 1, Ok(Response::Empty)).passes();
    deleted(Script::rooted().sends(again(0))).replied(-8, 1, Ok(Response::Empty)).fails();
    Script::rooted().sends(again(1)).replied(-8, 1, Ok(Response::Empty)).fails();
}

#[test]
fn zxids_never_fall_and_a_change_has_a_new_one() {
    for (zxid, is_right) in [(2, true), (1, false), (0, false)] {
        let script = Script::rooted().does(create("/a", 0), zxid, Response::Path { path: path("/a") });
        assert_eq!(script.violated(), u64::from(!is_right), "{zxid}");
    }
    let exists = Request::Exists { path: path(""), watch: false };
    Script::rooted().does(exists.clone(), 1, Response::Stat { stat: stat(1) }).passes();
    Script::rooted().does(exists, 0, Response::Stat { stat: stat(1) }).fails();
}

#[test]
fn replies_come_in_order_and_none_comes_unasked() {
    let both = || Script::rooted().sends(create("/a", 0)).sends(create("/b", 0));
    let made = |name: &str| Ok(Response::Path { path: path(name) });
    both().replied(2, 2, made("/a")).replied(3, 3, made("/b")).passes();
    both().replied(3, 2, made("/b")).fails();
    Script::rooted().replied(2, 2, made("/a")).fails();
}

#[test]
fn a_session_takes_its_ephemerals_with_it_and_ends_its_connection() {
    let closing = || {
        Script::rooted().does(create("/e", 1), 2, Response::Path { path: path("/e") }).does(
            Request::CloseSession,
            3,
            Response::Empty,
        )
    };
    let later = || closing().step(Step::Closed).opened(Purpose::Work(0), Some(hello(0))).greeted(&granted(SESSION + 1));
    let exists = || Request::Exists { path: path(""), watch: false };
    let root = Stat { cversion: 2, pzxid: 3, ..stat(1) };
    later().does(exists(), 4, Response::Stat { stat: root }).passes();
    later().does(exists(), 4, Response::Stat { stat: Stat { cversion: 1, num_children: 1, pzxid: 2, ..root } }).fails();
    closing().after(4 * S).step(Step::GaveUp).fails();
    closing().told(3, EventKind::NodeDeleted, "/e").fails();
}

#[test]
fn a_session_is_granted_what_was_asked_for_within_the_bounds() {
    let asked = |timeout_ms| ConnectRequest { timeout_ms, ..hello(0) };
    for (timeout_ms, due_ms) in [(-1, 4_000), (0, 4_000), (5_000, 5_000), (i32::MAX, 40_000)] {
        let open = || Script::new().opened(Purpose::Work(0), Some(asked(timeout_ms)));
        open().greeted(&ConnectResponse { timeout_ms: due_ms, ..granted(SESSION) }).passes();
        open().greeted(&ConnectResponse { timeout_ms: due_ms + 1, ..granted(SESSION) }).fails();
    }
    let open = || Script::new().opened(Purpose::Work(0), Some(hello(0)));
    open().greeted(&ConnectResponse { read_only: Some(true), ..granted(SESSION) }).fails();
    open().greeted(&ConnectResponse { read_only: None, ..granted(SESSION) }).fails();
    open().greeted(&granted(0)).fails();
    let again = || Script::new().opened(Purpose::Work(0), Some(hello(SESSION)));
    again().greeted(&granted(SESSION)).passes();
    again().greeted(&granted(SESSION + 1)).fails();
    again().greeted(&granted(0)).passes();
}

#[test]
fn silence_and_hanging_up_are_wrong_only_where_nothing_disturbs() {
    let silent = || Script::rooted().sends(set("", -1)).after(3 * S).step(Step::GaveUp);
    let hung_up = || Script::rooted().step(Step::Closed);
    let not_greeted = || Script::new().opened(Purpose::Work(0), Some(hello(0))).after(3 * S).step(Step::GaveUp);
    for script in [silent(), hung_up(), not_greeted()] {
        assert_eq!(script.violated(), 1);
        let mut met = met();
        met.disturbances.push(Disturbance { from_ns: 9 * S, to_ns: 14 * S, nodes: Vec::new() });
        assert_eq!(check(&script.history, &met).violated, 0);
    }
    assert_eq!(Script::rooted().sends(set("", -1)).step(Step::GaveUp).violated(), 0);
}

#[test]
fn what_was_asked_under_faults_is_answered_once_they_are_over_or_the_connection_ends() {
    let waits = |step: Step, cut: Vec<(u64, Node)>| {
        let mut met = ClusterHistory { ensemble: vec![Node(1)], cut, ..met() };
        met.disturbances.push(Disturbance { from_ns: 9 * S, to_ns: 14 * S, nodes: Vec::new() });
        check(&Script::rooted().sends(set("", -1)).after(8 * S).step(step).history, &met).violated
    };
    assert_eq!([waits(Step::GaveUp, Vec::new()), waits(Step::Closed, Vec::new())], [1, 0]);
    let cut = |node| waits(Step::GaveUp, vec![(13 * S, Node(node))]);
    assert_eq!([cut(1), cut(2)], [0, 1], "a server whose machine loses power tells nobody");
}

#[test]
fn after_an_unknown_outcome_a_subtree_is_judged_no_further() {
    let script = Script::rooted().sends(set("", -1)).step(Step::GaveUp);
    let again = script.opened(Purpose::Work(0), Some(hello(SESSION))).greeted(&granted(SESSION));
    assert_eq!(again.asks_in_vain(get("", false), 9, ErrorCode::NoNode).violated(), 0);
}

#[test]
fn what_is_odd_is_answered_or_ended_as_is_prescribed() {
    let odd = |odd| Script::new().opened(Purpose::Odd(odd), Some(hello(0))).greeted(&granted(SESSION));
    let asked = |kind| odd(kind).step(Step::SentOdd(Xid(5)));
    let failed = |script: Script, code| script.replied(5, 1, Err(code));
    failed(asked(Odd::Auth), ErrorCode::AuthFailed).step(Step::Closed).passes();
    failed(asked(Odd::Auth), ErrorCode::Unimplemented).step(Step::Closed).fails();
    failed(asked(Odd::Auth), ErrorCode::AuthFailed).after(4 * S).step(Step::GaveUp).fails();
    failed(asked(Odd::UnknownOperation), ErrorCode::Unimplemented).step(Step::GaveUp).passes();
    failed(asked(Odd::CheckAlone), ErrorCode::Ok).step(Step::GaveUp).fails();
    for closing in [Odd::NoHeader, Odd::NegativeLength, Odd::TooLong] {
        asked(closing).step(Step::Closed).passes();
        asked(closing).after(4 * S).step(Step::GaveUp).fails();
        failed(asked(closing), ErrorCode::Ok).step(Step::Closed).fails();
    }
    asked(Odd::Longest).step(Step::GaveUp).passes();
    asked(Odd::Longest).step(Step::Closed).fails();
    asked(Odd::LongBody).after(3 * S).step(Step::GaveUp).fails();
}

#[test]
fn what_begins_oddly_is_turned_away() {
    let open = |odd, hello| Script::new().opened(Purpose::Odd(odd), hello);
    for odd in [Odd::WrongPassword, Odd::UnknownSession] {
        open(odd, Some(hello(5))).greeted(&granted(0)).step(Step::Closed).passes();
        open(odd, Some(hello(5))).greeted(&granted(5)).fails();
    }
    for odd in [Odd::Ahead, Odd::ShortConnect] {
        open(odd, Some(hello(0))).step(Step::Closed).passes();
        open(odd, Some(hello(0))).greeted(&granted(SESSION)).step(Step::GaveUp).fails();
    }
    let peer = || open(Odd::Hello(BadHello::Magic), None).step(Step::SentOdd(Xid(0)));
    peer().step(Step::Closed).passes();
    peer().after(4 * S).step(Step::GaveUp).fails();
    peer().step(Step::Came(Bytes::from_static(b"welcome"))).step(Step::Closed).fails();
}

#[test]
fn nothing_goes_on_behind_a_body_and_a_refusal_has_none() {
    let exists = |name: &str| Request::Exists { path: path(name), watch: false };
    let replied = |name, error, body: &Response, more: &[u8]| {
        let mut frame = Vec::new();
        ReplyHeader { xid: Xid(2), zxid: Zxid(1), error }.put(&mut frame);
        body.put(&mut frame);
        frame.extend_from_slice(more);
        Script::rooted().sends(exists(name)).step(Step::Came(frame.into()))
    };
    let found = Response::Stat { stat: stat(1) };
    replied("", ErrorCode::Ok, &found, &[]).passes();
    replied("", ErrorCode::Ok, &found, &[0]).fails();
    replied("/x", ErrorCode::NoNode, &Response::Empty, &[]).passes();
    replied("/x", ErrorCode::NoNode, &found, &[]).fails();
}

#[test]
fn a_session_that_expires_may_be_told_of_what_goes_with_it_and_of_nothing_else() {
    let data =
        Response::Data { data: Some(Bytes::from_static(b"xy")), stat: Stat { ephemeral_owner: SESSION, ..stat(2) } };
    let watching = || {
        Script::rooted().does(create("/e", 1), 2, Response::Path { path: path("/e") }).does(
            get("/e", true),
            2,
            data.clone(),
        )
    };
    let told = || watching().told(3, EventKind::NodeDeleted, "/e");
    told().after(S).step(Step::GaveUp).passes();
    told().told(3, EventKind::NodeChildrenChanged, "").after(S).step(Step::GaveUp).passes();
    told().asks_in_vain(get("/x", false), 3, ErrorCode::NoNode).fails();
    watching().told(3, EventKind::NodeDataChanged, "/e").fails();
    watching().told(3, EventKind::NodeDeleted, "").fails();
}
