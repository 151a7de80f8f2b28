//! What holds for all records: they are read as they were written, and no bytes whatever panic a
//! decoder or make it reserve more than a small multiple of what was received.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::base::ids::{SessionId, Zxid};
use crate::base::znode::{Acl, AuthId, ErrorCode, EventKind, Permissions, Stat};

fn text() -> impl Strategy<Value = Arc<str>> {
    "[a-z/é漢]{0,12}".prop_map(Arc::from)
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn acls() -> impl Strategy<Value = Vec<Acl>> {
    let acl = (any::<i32>(), text(), text())
        .prop_map(|(bits, scheme, id)| Acl { permissions: Permissions(bits), id: AuthId { scheme, id } });
    vec(acl, 0..3)
}

fn create() -> impl Strategy<Value = CreateRequest> {
    (text(), data(), acls(), any::<i32>()).prop_map(|(path, data, acl, flags)| CreateRequest { path, data, acl, flags })
}

fn versioned() -> impl Strategy<Value = (Arc<str>, i32)> {
    (text(), any::<i32>())
}

fn multi_op() -> impl Strategy<Value = MultiOp> {
    prop_oneof![
        create().prop_map(MultiOp::Create),
        create().prop_map(MultiOp::Create2),
        versioned().prop_map(|(path, version)| MultiOp::Delete { path, version }),
        (versioned(), data()).prop_map(|((path, version), data)| MultiOp::SetData { path, data, version }),
        versioned().prop_map(|(path, version)| MultiOp::Check { path, version }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let watched = || (text(), any::<bool>());
    let paths = || vec(text(), 0..4);
    prop_oneof![
        create().prop_map(Request::Create),
        create().prop_map(Request::Create2),
        versioned().prop_map(|(path, version)| Request::Delete { path, version }),
        versioned().prop_map(|(path, version)| Request::Check { path, version }),
        (versioned(), data()).prop_map(|((path, version), data)| Request::SetData { path, data, version }),
        (versioned(), acls()).prop_map(|((path, version), acl)| Request::SetAcl { path, acl, version }),
        watched().prop_map(|(path, watch)| Request::Exists { path, watch }),
        watched().prop_map(|(path, watch)| Request::GetData { path, watch }),
        watched().prop_map(|(path, watch)| Request::GetChildren { path, watch }),
        watched().prop_map(|(path, watch)| Request::GetChildren2 { path, watch }),
        text().prop_map(|path| Request::GetAcl { path }),
        text().prop_map(|path| Request::Sync { path }),
        vec(multi_op(), 0..5).prop_map(Request::Multi),
        (any::<i32>(), text(), data()).prop_map(|(kind, scheme, auth)| Request::Auth(AuthPacket {
            kind,
            scheme,
            auth
        })),
        (any::<i64>(), paths(), paths(), paths()).prop_map(|(zxid, data, exist, children)| {
            Request::SetWatches(SetWatches { relative_zxid: Zxid(zxid), data, exist, children })
        }),
        Just(Request::Ping),
        Just(Request::CloseSession),
    ]
}

prop_compose! {
    fn stat()(
        (czxid, mzxid, pzxid, ctime_ms, mtime_ms, ephemeral_owner) in any::<(i64, i64, i64, i64, i64, i64)>(),
        (version, cversion, aversion, data_length, num_children) in any::<(i32, i32, i32, i32, i32)>(),
    ) -> Stat {
        Stat {
            czxid, mzxid, pzxid, ctime_ms, mtime_ms, ephemeral_owner,
            version, cversion, aversion, data_length, num_children,
        }
    }
}

fn multi_result() -> impl Strategy<Value = MultiResult> {
    prop_oneof![
        text().prop_map(|path| MultiResult::Create { path }),
        (text(), stat()).prop_map(|(path, stat)| MultiResult::Create2 { path, stat }),
        Just(MultiResult::Delete),
        stat().prop_map(|stat| MultiResult::SetData { stat }),
        Just(MultiResult::Check),
        any::<i32>().prop_map(|code| MultiResult::Error(ErrorCode::from_code(code))),
    ]
}

fn response() -> impl Strategy<Value = (OpCode, Response)> {
    let names = || vec(text(), 0..5);
    prop_oneof![
        text().prop_map(|path| (OpCode::Create, Response::Path { path })),
        (text(), stat()).prop_map(|(path, stat)| (OpCode::Create2, Response::Created { path, stat })),
        stat().prop_map(|stat| (OpCode::Exists, Response::Stat { stat })),
        (data(), stat()).prop_map(|(data, stat)| (OpCode::GetData, Response::Data { data, stat })),
        (acls(), stat()).prop_map(|(acl, stat)| (OpCode::GetAcl, Response::Acl { acl, stat })),
        names().prop_map(|children| (OpCode::GetChildren, Response::Children { children })),
        (names(), stat()).prop_map(|(children, stat)| (OpCode::GetChildren2, Response::Children2 { children, stat })),
        vec(multi_result(), 0..5).prop_map(|results| (OpCode::Multi, Response::Multi(results))),
    ]
}

fn body(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

/// Feeds `bytes` to every decoder there is.
fn decode_all(bytes: &Bytes) {
    let _ = ConnectRequest::decode(bytes.clone());
    let _ = ConnectResponse::decode(bytes.clone());
    let _ = ServerMessage::decode(bytes.clone());
    let _ = RequestHeader::take(&mut bytes.clone());
    let _ = take_frame(&mut BytesMut::from(&bytes[..]), 1000);
    for op_code in OpCode::ALL {
        let _ = Request::decode(*op_code as i32, bytes.clone());
        let _ = Response::decode(*op_code, bytes.clone());
    }
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in request(), xid in any::<i32>()) {
        let mut frame = Bytes::from(body(|out| request.put(Xid(xid), out)));
        let header = RequestHeader::take(&mut frame).expect("whole");
        prop_assert_eq!(header.xid, Xid(xid));
        prop_assert_eq!(Request::decode(header.op_code, frame), Ok(request));
    }

    #[test]
    fn a_response_is_read_as_it_was_written((op_code, response) in response()) {
        prop_assert_eq!(Response::decode(op_code, body(|out| response.put(out)).into()), Ok(response));
    }

    #[test]
    fn headers_events_and_connections_are_read_as_they_were_written(
        (xid, zxid, error, timeout_ms, session) in any::<(i32, i64, i32, i32, i64)>(),
        (kind, path) in (1i32..5, text()),
        password in vec(any::<u8>(), 0..20),
        read_only in any::<Option<bool>>(),
    ) {
        prop_assume!(xid != -1);
        let header = ReplyHeader { xid: Xid(xid), zxid: Zxid(zxid), error: ErrorCode::from_code(error) };
        let message = ServerMessage::decode(body(|out| header.put(out)).into());
        prop_assert_eq!(message, Ok(ServerMessage::Reply(header, Bytes::new())));
        let event = WatchEvent { zxid: Zxid(zxid), kind: EventKind::from_code(kind).expect("a kind"), path };
        prop_assert_eq!(ServerMessage::decode(body(|out| event.put(out)).into()), Ok(ServerMessage::Event(event)));
        let (session, password) = (SessionId(session), Bytes::from(password));
        let response =
            ConnectResponse { protocol_version: 0, timeout_ms, session, password: password.clone(), read_only };
        prop_assert_eq!(ConnectResponse::decode(body(|out| response.put(out)).into()), Ok(response));
        let last_zxid_seen = Zxid(zxid);
        let request =
            ConnectRequest { protocol_version: 0, last_zxid_seen, timeout_ms, session, password, read_only };
        prop_assert_eq!(ConnectRequest::decode(body(|out| request.put(out)).into()), Ok(request));
    }

    #[test]
    fn random_and_damaged_bytes_never_panic(
        random in vec(any::<u8>(), 0..200),
        request in request(),
        (_, response) in response(),
        at in any::<prop::sample::Index>(),
        value in prop_oneof![Just(0xff), Just(0x7f), any::<u8>()],
    ) {
        decode_all(&random.into());
        for mut bytes in [body(|out| request.put(Xid(1), out)), body(|out| response.put(out))] {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
                let bytes = Bytes::from(bytes);
                decode_all(&bytes);
                decode_all(&bytes.slice(at..));
                decode_all(&bytes.slice(..at));
            }
        }
    }

    #[test]
    fn a_cut_request_is_an_error(request in request(), cut in any::<prop::sample::Index>()) {
        let whole = Bytes::from(body(|out| request.put(Xid(1), out)));
        let cut = cut.index(whole.len());
        let mut frame = whole.slice(..cut);
        let decoded = RequestHeader::take(&mut frame).and_then(|header| Request::decode(header.op_code, frame));
        prop_assert!(decoded.is_err());
    }
}

#[test]
fn data_is_a_slice_of_its_frame_and_not_a_copy() {
    let data = Some(Bytes::from(vec![7; 100]));
    let request = Request::SetData { path: "/a".into(), data, version: 0 };
    let frame = Bytes::from(body(|out| request.put(Xid(1), out)));
    let Ok(Request::SetData { data: Some(data), .. }) = Request::decode(5, frame.slice(8..)) else {
        panic!("not as written");
    };
    assert!(frame.as_ptr_range().contains(&data.as_ptr()));
}
