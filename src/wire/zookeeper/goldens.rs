//! The bytes of every record, written out from jute's definitions.

use bytes::Bytes;

use super::*;
use crate::base::ids::{SessionId, Zxid};
use crate::base::znode::{Acl, AuthId, ErrorCode, EventKind, Permissions, Stat};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().into()
}

fn encoded(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    put(&mut out);
    hex(&out)
}

/// The request and its bytes after the header, both ways.
fn request(request: Request, op_code: &str, body: &[&str]) {
    let body = body.concat();
    assert_eq!(encoded(|out| request.put(Xid(5), out)), format!("00000005{op_code}{body}"), "{request:?}");
    let code = i32::from_be_bytes(bytes(op_code)[..].try_into().expect("four bytes"));
    assert_eq!(Request::decode(code, bytes(&body)), Ok(request.clone()));
    let padded = bytes(&(body + "0badcafe"));
    assert_eq!(Request::decode(code, padded), Ok(request), "trailing bytes are ignored");
}

fn response(op_code: OpCode, response: Response, body: &[&str]) {
    let body = body.concat();
    assert_eq!(encoded(|out| response.put(out)), body, "{response:?}");
    assert_eq!(Response::decode(op_code, bytes(&body)), Ok(response));
}

const A: &str = "000000022f61"; // "/a"
const DATA: &str = "000000026869"; // "hi"
const NULL: &str = "ffffffff";
const OPEN: &str = "000000010000001f00000005776f726c6400000006616e796f6e65";
const STAT: &str = "0000000000000001000000000000000200000000000000030000000000000004\
                    000000050000000600000007000000000000000800000009\
                    0000000a000000000000000b";

fn stat() -> Stat {
    Stat {
        czxid: 1,
        mzxid: 2,
        ctime_ms: 3,
        mtime_ms: 4,
        version: 5,
        cversion: 6,
        aversion: 7,
        ephemeral_owner: 8,
        data_length: 9,
        num_children: 10,
        pzxid: 11,
    }
}

fn create(flags: i32) -> CreateRequest {
    CreateRequest { path: "/a".into(), data: Some(Bytes::from_static(b"hi")), acl: Acl::open(), flags }
}

#[test]
fn a_connect_request_with_and_without_the_read_only_flag() {
    let old = ["00000000", "0000000100000002", "00007530", "0000000000000000", "00000003", "010203"].concat();
    let mut connect = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0x1_0000_0002),
        timeout_ms: 30_000,
        session: SessionId(0),
        password: Bytes::from_static(&[1, 2, 3]),
        read_only: None,
    };
    assert_eq!(encoded(|out| connect.put(out)), old);
    assert_eq!(ConnectRequest::decode(bytes(&old)), Ok(connect.clone()));
    connect.read_only = Some(true);
    assert_eq!(encoded(|out| connect.put(out)), old.clone() + "01");
    assert_eq!(ConnectRequest::decode(bytes(&(old + "01"))), Ok(connect));
}

#[test]
fn a_connect_response_with_and_without_the_read_only_flag() {
    let old = ["00000000", "00007530", "0100000000000009", "00000002", "0aff"].concat();
    let mut connect = ConnectResponse {
        protocol_version: 0,
        timeout_ms: 30_000,
        session: SessionId(0x0100_0000_0000_0009),
        password: Bytes::from_static(&[10, 255]),
        read_only: None,
    };
    assert_eq!(encoded(|out| connect.put(out)), old);
    assert_eq!(ConnectResponse::decode(bytes(&old)), Ok(connect.clone()));
    connect.read_only = Some(false);
    assert_eq!(ConnectResponse::decode(bytes(&(old + "00"))), Ok(connect));
    let expired = encoded(|out| ConnectResponse::expired(Some(false)).put(out));
    assert_eq!(expired, ["00000000", "00000000", "0000000000000000", "00000010", &"00".repeat(16), "00"].concat());
}

#[test]
fn creates_deletes_and_checks() {
    request(Request::Create(create(3)), "00000001", &[A, DATA, OPEN, "00000003"]);
    request(Request::Create2(create(0)), "0000000f", &[A, DATA, OPEN, "00000000"]);
    let bare = CreateRequest { data: None, acl: vec![], ..create(1) };
    request(Request::Create(bare.clone()), "00000001", &[A, NULL, "00000000", "00000001"]);
    let null_acl = bytes(&[A, NULL, NULL, "00000001"].concat());
    assert_eq!(Request::decode(1, null_acl), Ok(Request::Create(bare)), "a null vector reads as an empty one");
    request(Request::Delete { path: "/a".into(), version: -1 }, "00000002", &[A, NULL]);
    request(Request::Check { path: "/a".into(), version: 7 }, "0000000d", &[A, "00000007"]);
}

#[test]
fn reads() {
    let path = || "/a".into();
    request(Request::Exists { path: path(), watch: true }, "00000003", &[A, "01"]);
    request(Request::GetData { path: path(), watch: false }, "00000004", &[A, "00"]);
    request(Request::GetAcl { path: path() }, "00000006", &[A]);
    request(Request::GetChildren { path: path(), watch: true }, "00000008", &[A, "01"]);
    request(Request::GetChildren2 { path: path(), watch: false }, "0000000c", &[A, "00"]);
    request(Request::Sync { path: path() }, "00000009", &[A]);
    request(Request::Ping, "0000000b", &[]);
}

#[test]
fn sets() {
    let data = Some(Bytes::from_static(b"hi"));
    request(Request::SetData { path: "/a".into(), data, version: 2 }, "00000005", &[A, DATA, "00000002"]);
    let acl = vec![Acl { permissions: Permissions(3), id: AuthId::new("ip", "::1") }];
    let expected = [A, "00000001", "00000003", "000000026970", "000000033a3a31", "00000004"];
    request(Request::SetAcl { path: "/a".into(), acl, version: 4 }, "00000007", &expected);
}

#[test]
fn authentication_watches_and_the_end() {
    let auth = AuthPacket { kind: 0, scheme: "digest".into(), auth: Some(Bytes::from_static(b"u:p")) };
    request(Request::Auth(auth), "00000064", &["00000000", "00000006646967657374", "00000003753a70"]);
    let watches = SetWatches {
        relative_zxid: Zxid(9),
        data: vec!["/a".into()],
        exist: vec![],
        children: vec!["/a".into(), "/a".into()],
    };
    let expected = ["0000000000000009", "00000001", A, "00000000", "00000002", A, A];
    request(Request::SetWatches(watches), "00000065", &expected);
    request(Request::CloseSession, "fffffff5", &[]);
}

#[test]
fn a_multi_and_its_results() {
    let ops = vec![
        MultiOp::Create(create(2)),
        MultiOp::Create2(create(0)),
        MultiOp::Delete { path: "/a".into(), version: 1 },
        MultiOp::SetData { path: "/a".into(), data: None, version: -1 },
        MultiOp::Check { path: "/a".into(), version: 3 },
    ];
    let header = |op: &str| [op, "00", "ffffffff"].concat();
    let expected = [
        &*header("00000001"),
        &[A, DATA, OPEN, "00000002"].concat(),
        &header("0000000f"),
        &[A, DATA, OPEN, "00000000"].concat(),
        &header("00000002"),
        &[A, "00000001"].concat(),
        &header("00000005"),
        &[A, NULL, NULL].concat(),
        &header("0000000d"),
        &[A, "00000003"].concat(),
        "ffffffff01ffffffff",
    ];
    request(Request::Multi(ops), "0000000e", &expected);
    let results = vec![
        MultiResult::Create { path: "/a".into() },
        MultiResult::Create2 { path: "/a".into(), stat: stat() },
        MultiResult::Delete,
        MultiResult::SetData { stat: stat() },
        MultiResult::Check,
        MultiResult::Error(ErrorCode::NoNode),
    ];
    let header = |op: &str| [op, "00", "00000000"].concat();
    let expected = [
        &*header("00000001"),
        A,
        &header("0000000f"),
        A,
        STAT,
        &header("00000002"),
        &header("00000005"),
        STAT,
        &header("0000000d"),
        "ffffffff00ffffff9bffffff9b",
        "ffffffff01ffffffff",
    ];
    response(OpCode::Multi, Response::Multi(results), &expected);
}

#[test]
fn responses() {
    let (path, stat) = (|| "/a".into(), stat());
    response(OpCode::Create, Response::Path { path: path() }, &[A]);
    response(OpCode::Sync, Response::Path { path: path() }, &[A]);
    response(OpCode::Create2, Response::Created { path: path(), stat }, &[A, STAT]);
    for op_code in [OpCode::Exists, OpCode::SetData, OpCode::SetAcl] {
        response(op_code, Response::Stat { stat }, &[STAT]);
    }
    let data = Some(Bytes::from_static(b"hi"));
    response(OpCode::GetData, Response::Data { data, stat }, &[DATA, STAT]);
    response(OpCode::GetData, Response::Data { data: None, stat }, &[NULL, STAT]);
    response(OpCode::GetAcl, Response::Acl { acl: Acl::open(), stat }, &[OPEN, STAT]);
    let children = vec!["x".into(), "y".into()];
    let names = "00000002000000017800000001 79".replace(' ', "");
    response(OpCode::GetChildren, Response::Children { children: children.clone() }, &[&names]);
    response(OpCode::GetChildren2, Response::Children2 { children, stat }, &[&names, STAT]);
    for op_code in [OpCode::Delete, OpCode::Ping, OpCode::Check, OpCode::Auth, OpCode::SetWatches] {
        response(op_code, Response::Empty, &[]);
    }
}

#[test]
fn headers_of_replies_and_watch_events() {
    let header = ReplyHeader { xid: Xid(5), zxid: Zxid(0x1_0000_0002), error: ErrorCode::NodeExists };
    let reply = "00000005".to_owned() + "0000000100000002" + "ffffff92";
    assert_eq!(encoded(|out| header.put(out)), reply);
    let message = ServerMessage::decode(bytes(&(reply + "abcd")));
    assert_eq!(message, Ok(ServerMessage::Reply(header, Bytes::from_static(&[0xab, 0xcd]))));
    let event = WatchEvent { zxid: Zxid(7), kind: EventKind::NodeChildrenChanged, path: "/a".into() };
    let expected = ["ffffffff", "0000000000000007", "00000000", "00000004", "00000003", A].concat();
    assert_eq!(encoded(|out| event.put(out)), expected);
    assert_eq!(ServerMessage::decode(bytes(&expected)), Ok(ServerMessage::Event(event)));
}

#[test]
fn what_is_impossible_is_named() {
    let decode = |op_code, hex: &str| Request::decode(op_code, bytes(hex));
    assert_eq!(decode(999, ""), Err(DecodeError::UnknownOperation(999)));
    assert_eq!(decode(2, A), Err(DecodeError::Short));
    assert_eq!(decode(9, NULL), Err(DecodeError::Missing("the path")));
    assert_eq!(decode(9, "fffffffe"), Err(DecodeError::Length(-2)));
    assert_eq!(decode(9, "7fffffff2f"), Err(DecodeError::Short));
    assert_eq!(decode(14, "00000004000000000000"), Err(DecodeError::NotInMulti(4)));
    assert_eq!(decode(101, &("0".repeat(16) + "7fffffff")), Err(DecodeError::Short));
    let event = bytes(&["ffffffff", "0000000000000007", "00000000", "00000009", "00000003", A].concat());
    assert_eq!(ServerMessage::decode(event), Err(DecodeError::Value { what: "an event", value: 9 }));
}

#[test]
fn text_that_is_not_utf_8_gets_replacement_characters() {
    let path = "/\u{fffd}".into();
    assert_eq!(Request::decode(9, bytes("000000022fff")), Ok(Request::Sync { path }));
}
