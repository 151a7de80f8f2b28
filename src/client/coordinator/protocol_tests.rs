//! Claims about the protocol, against a scripted server.

use bytes::BytesMut;

use super::*;
use crate::base::znode::{EventKind, Stat};
use crate::wire::zookeeper::{RequestHeader, SetWatches, take_frame};

const SESSION: SessionId = SessionId(0x42);

/// The protocol, the bytes that it wrote, and what it wants done.
struct Bench {
    protocol: Protocol<u32>,
    out: Vec<u8>,
    effects: Vec<Effect<u32>>,
}

impl Bench {
    fn new() -> Self {
        Bench { protocol: Protocol::new(6000), out: Vec::new(), effects: Vec::new() }
    }

    fn connected() -> Self {
        let mut bench = Bench::new();
        bench.greet(4000);
        bench.sent();
        bench.effects.clear();
        bench
    }

    /// Connects, and the server answers for the session. Gives what was asked for.
    fn greet(&mut self, timeout_ms: i32) -> ConnectRequest {
        // What was not written goes with its connection.
        self.out.clear();
        self.protocol.connected(&mut self.out);
        let request = ConnectRequest::decode(self.frames().remove(0)).expect("a connect request");
        let password = Bytes::from_static(b"secret");
        let response =
            ConnectResponse { protocol_version: 0, timeout_ms, session: SESSION, password, read_only: Some(false) };
        self.receive(|out| response.put(out)).expect("good");
        request
    }

    fn frames(&mut self) -> Vec<Bytes> {
        let mut bytes = BytesMut::from(&std::mem::take(&mut self.out)[..]);
        std::iter::from_fn(|| take_frame(&mut bytes, JUTE_BYTES_MAX).expect("bounded")).collect()
    }

    fn sent(&mut self) -> Vec<(i32, Request)> {
        let decode = |mut frame: Bytes| {
            let header = RequestHeader::take(&mut frame).expect("a header");
            (header.xid.0, Request::decode(header.op_code, frame).expect("a request"))
        };
        self.frames().into_iter().map(decode).collect()
    }

    fn receive(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Broken> {
        let mut frame = Vec::new();
        put(&mut frame);
        self.protocol.receive(frame.into(), &mut self.out, &mut self.effects)
    }

    fn request(&mut self, token: u32, request: &Request) {
        self.protocol.request(token, request, &mut self.out, &mut self.effects);
    }

    fn reply(&mut self, xid: i32, zxid: i64, error: ErrorCode, response: &Response) -> Result<(), Broken> {
        self.receive(|out| {
            ReplyHeader { xid: Xid(xid), zxid: Zxid(zxid), error }.put(out);
            response.put(out);
        })
    }

    fn event(&mut self, zxid: i64, kind: EventKind, path: &str) {
        let event = WatchEvent { zxid: Zxid(zxid), kind, path: path.into() };
        self.receive(|out| event.put(out)).expect("good");
    }

    fn effects(&mut self) -> Vec<String> {
        let name = |effect| match effect {
            Effect::Complete(token, Ok(_)) => format!("{token} ok"),
            Effect::Complete(token, Err(error)) => format!("{token} {error:?}"),
            Effect::Event(event) => format!("{:?} {}", event.kind, event.path),
            Effect::State(state) => format!("{state:?}"),
        };
        self.effects.drain(..).map(name).collect()
    }
}

fn get(path: &str, watch: bool) -> Request {
    Request::GetData { path: path.into(), watch }
}

fn data() -> Response {
    Response::Data { data: None, stat: Stat::default() }
}

#[test]
fn a_new_session_is_asked_for_and_the_negotiated_time_out_holds() {
    let mut bench = Bench::new();
    assert!(!bench.protocol.accepts());
    let request = bench.greet(4000);
    assert_eq!((request.session, request.timeout_ms, request.last_zxid_seen), (SessionId(0), 6000, Zxid(0)));
    assert_eq!(bench.effects(), ["Connected { session: SessionId(66) }"]);
    assert_eq!(bench.protocol.timeout_ms(), 4000);
    assert!(bench.protocol.accepts());
}

#[test]
fn replies_are_matched_in_order_and_pings_stand_beside_them() {
    let mut bench = Bench::connected();
    bench.request(10, &get("/a", false));
    bench.request(11, &get("/b", false));
    bench.protocol.ping(&mut bench.out);
    let xids: Vec<_> = bench.sent().into_iter().map(|(xid, _)| xid).collect();
    assert_eq!(xids, [1, 2, -2]);
    bench.reply(-2, 9, ErrorCode::Ok, &Response::Empty).expect("good");
    bench.reply(1, 5, ErrorCode::Ok, &data()).expect("good");
    bench.reply(2, 5, ErrorCode::NoNode, &Response::Empty).expect("good");
    assert_eq!(bench.effects(), ["10 ok", "11 Refused(NoNode)"]);
}

#[test]
fn a_reply_out_of_order_or_damaged_breaks_the_connection_and_leaves_the_outcome_unknown() {
    for (xid, response) in [(2, data()), (1, Response::Empty)] {
        let mut bench = Bench::connected();
        bench.request(10, &get("/a", false));
        assert!(bench.reply(xid, 5, ErrorCode::Ok, &response).is_err());
        bench.protocol.disconnected(&mut bench.effects);
        assert_eq!(bench.effects(), ["10 ConnectionLoss", "Disconnected"]);
    }
    assert!(Bench::connected().reply(1, 5, ErrorCode::Ok, &Response::Empty).is_err(), "nothing was asked");
}

#[test]
fn a_lost_session_is_restored_elsewhere_with_what_was_seen() {
    let mut bench = Bench::connected();
    bench.request(10, &get("/a", false));
    bench.reply(1, 77, ErrorCode::Ok, &data()).expect("good");
    bench.protocol.disconnected(&mut bench.effects);
    assert!(!bench.protocol.accepts());
    let request = bench.greet(4000);
    assert_eq!((request.session, request.last_zxid_seen), (SESSION, Zxid(77)));
    assert_eq!(&request.password[..], b"secret");
}

#[test]
fn an_expired_session_is_final() {
    let mut bench = Bench::connected();
    bench.protocol.disconnected(&mut bench.effects);
    bench.effects.clear();
    bench.protocol.connected(&mut bench.out);
    bench.receive(|out| ConnectResponse::expired(Some(false)).put(out)).expect("good");
    bench.protocol.disconnected(&mut bench.effects);
    assert_eq!(bench.effects(), ["Expired"]);
    assert!(bench.protocol.is_ended() && !bench.protocol.accepts());
}

#[test]
fn events_come_before_the_replies_that_follow_them() {
    let mut bench = Bench::connected();
    bench.request(10, &get("/a", true));
    bench.reply(1, 5, ErrorCode::Ok, &data()).expect("good");
    bench.request(11, &get("/a", false));
    bench.event(6, EventKind::NodeDataChanged, "/a");
    bench.reply(2, 6, ErrorCode::Ok, &data()).expect("good");
    assert_eq!(bench.effects(), ["10 ok", "NodeDataChanged /a", "11 ok"]);
}

#[test]
fn watches_that_have_not_fired_are_left_again_before_anything_else() {
    let mut bench = Bench::connected();
    bench.request(1, &get("/data", true));
    bench.request(2, &Request::Exists { path: "/absent".into(), watch: true });
    bench.request(3, &Request::GetChildren2 { path: "/list".into(), watch: true });
    bench.request(4, &get("/fired", true));
    bench.request(5, &get("/refused", true));
    bench.reply(1, 5, ErrorCode::Ok, &data()).expect("good");
    bench.reply(2, 5, ErrorCode::NoNode, &Response::Empty).expect("good");
    let list = Response::Children2 { children: vec![], stat: Stat::default() };
    bench.reply(3, 5, ErrorCode::Ok, &list).expect("good");
    bench.reply(4, 5, ErrorCode::Ok, &data()).expect("good");
    bench.reply(5, 5, ErrorCode::NoNode, &Response::Empty).expect("good");
    bench.event(6, EventKind::NodeDeleted, "/fired");
    bench.sent();
    bench.protocol.disconnected(&mut bench.effects);
    assert_eq!(bench.greet(4000).last_zxid_seen, Zxid(6), "an event was seen too");
    let watches = SetWatches {
        relative_zxid: Zxid(5),
        data: vec!["/data".into()],
        exist: vec!["/absent".into()],
        children: vec!["/list".into()],
    };
    assert_eq!(bench.sent(), [(-8, Request::SetWatches(watches))], "a change may owe further events");
    bench.request(6, &get("/x", false));
    bench.effects.clear();
    bench.reply(-8, 9, ErrorCode::Ok, &Response::Empty).expect("good");
    bench.reply(6, 9, ErrorCode::Ok, &data()).expect("good");
    assert_eq!(bench.effects(), ["6 ok"]);
}

#[test]
fn a_restoration_that_was_cut_short_begins_again_from_the_same_zxid() {
    let mut bench = Bench::connected();
    let long = |name: &str| format!("/{}{name}", "x".repeat(100_000));
    for (xid, name) in [(1, "a"), (2, "b"), (3, "c")] {
        bench.request(0, &get(&long(name), true));
        bench.reply(xid, 5, ErrorCode::Ok, &data()).expect("good");
    }
    bench.protocol.disconnected(&mut bench.effects);
    bench.greet(4000);
    bench.reply(-8, 9, ErrorCode::Ok, &Response::Empty).expect("the first of two batches");
    bench.protocol.disconnected(&mut bench.effects);
    assert_eq!(bench.greet(4000).last_zxid_seen, Zxid(9));
    let relative: Vec<_> = bench
        .sent()
        .into_iter()
        .map(|(_, request)| match request {
            Request::SetWatches(watches) => watches.relative_zxid,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(relative, [Zxid(5), Zxid(5)]);
}

#[test]
fn a_refused_multi_tells_which_operation_failed() {
    let mut bench = Bench::connected();
    bench.request(1, &Request::Multi(vec![]));
    let results = [ErrorCode::Ok, ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency];
    let response = Response::Multi(results.into_iter().map(MultiResult::Error).collect());
    bench.reply(1, 5, ErrorCode::Ok, &response).expect("good");
    let Some(Effect::Complete(1, Err(error))) = bench.effects.pop() else { panic!("no outcome") };
    assert_eq!(error.failed_operation(), Some((1, ErrorCode::BadVersion)));
    assert!(!error.is_ambiguous());
}

#[test]
fn a_request_that_is_too_large_is_never_sent_and_the_next_one_is() {
    let mut bench = Bench::connected();
    let data = Some(Bytes::from(vec![0; JUTE_BYTES_MAX]));
    bench.request(1, &Request::SetData { path: "/a".into(), data, version: -1 });
    assert!(bench.effects().remove(0).starts_with("1 TooLarge"));
    assert!(bench.out.is_empty());
    bench.request(2, &get("/a", false));
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn no_more_requests_are_taken_than_may_be_in_flight() {
    let mut bench = Bench::connected();
    for token in 0..IN_FLIGHT_MAX {
        bench.request(token as u32, &get("/a", false));
    }
    assert!(!bench.protocol.accepts());
    bench.reply(1, 5, ErrorCode::Ok, &data()).expect("good");
    assert!(bench.protocol.accepts());
}

#[test]
fn numbers_of_requests_go_on_at_one_after_the_largest() {
    let mut bench = Bench::connected();
    bench.protocol.last_xid = i32::MAX - 1;
    bench.request(1, &get("/a", false));
    bench.request(2, &get("/a", false));
    assert_eq!(bench.sent().into_iter().map(|(xid, _)| xid).collect::<Vec<_>>(), [i32::MAX, 1]);
}

#[test]
fn closing_ends_the_session_when_the_server_has_confirmed_it() {
    let mut bench = Bench::connected();
    bench.request(1, &Request::CloseSession);
    bench.reply(1, 5, ErrorCode::Ok, &Response::Empty).expect("good");
    bench.protocol.disconnected(&mut bench.effects);
    assert_eq!(bench.effects(), ["1 ok", "Closed"]);
}
