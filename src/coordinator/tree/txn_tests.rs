//! Claims about the entries' bytes.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Arc<str>> {
    "[a-z/é:]{0,12}".prop_map(Arc::from)
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn id() -> impl Strategy<Value = AuthId> {
    (text(), text()).prop_map(|(scheme, id)| AuthId { scheme, id })
}

fn acls() -> impl Strategy<Value = Vec<Acl>> {
    vec((any::<i32>(), id()).prop_map(|(bits, id)| Acl { permissions: Permissions(bits), id }), 0..3)
}

fn mode() -> impl Strategy<Value = CreateMode> {
    (0..4).prop_map(|flags| CreateMode::from_flags(flags).expect("0 to 3 are modes"))
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (text(), data(), acls(), mode()).prop_map(|(path, data, acl, mode)| Write::Create { path, data, acl, mode }),
        (text(), any::<i32>()).prop_map(|(path, version)| Write::Delete { path, version }),
        (text(), data(), any::<i32>()).prop_map(|(path, data, version)| Write::SetData { path, data, version }),
        (text(), acls(), any::<i32>()).prop_map(|(path, acl, version)| Write::SetAcl { path, acl, version }),
        (text(), any::<i32>()).prop_map(|(path, version)| Write::Check { path, version }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let credentials = || (any::<[u8; 16]>().prop_map(Password), any::<u32>());
    prop_oneof![
        Just(Op::Noop),
        Just(Op::CloseSession),
        Just(Op::ExpireSession),
        credentials().prop_map(|(password, timeout_ms)| Op::CreateSession { password, timeout_ms }),
        credentials().prop_map(|(password, timeout_ms)| Op::AttachSession { password, timeout_ms }),
        vec(any::<u8>(), 0..40).prop_map(|data| Op::SetConfig { data: data.into() }),
        write().prop_map(Op::Write),
        vec(write(), 0..4).prop_map(Op::Multi),
    ]
}

prop_compose! {
    fn txn()(
        session in any::<i64>(),
        (server, request, attachment, sequence) in any::<(u32, u64, u64, u64)>(),
        ids in vec(id(), 0..3),
        op in op(),
    ) -> Txn {
        let origin = Origin { server: ServerId(server), request };
        Txn { origin, session: SessionId(session), attachment, sequence, ids, op }
    }
}

proptest! {
    #[test]
    fn a_proposal_is_read_as_it_was_written(txn in txn()) {
        prop_assert_eq!(Txn::decode(txn.encode().into()), Ok(txn));
    }

    #[test]
    fn a_damaged_proposal_is_an_error_or_another_one_and_never_a_panic(
        txn in txn(), at in any::<prop::sample::Index>(), bits in 1u8.., cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = txn.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let _ = Txn::decode(bytes.clone().into());
        bytes[at] ^= bits;
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(Txn::decode(bytes.into()).is_err());
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Txn::decode(bytes.into());
    }
}

#[test]
fn the_format_of_version_1_is_this() {
    let txn = Txn {
        origin: Origin { server: ServerId(2), request: 3 },
        session: SessionId(4),
        attachment: 5,
        sequence: 6,
        ids: vec![AuthId::new("ip", "::1")],
        op: Op::Multi(vec![
            Write::Create { path: "/a".into(), data: None, acl: Acl::open(), mode: CreateMode::EphemeralSequential },
            Write::Check { path: "/b".into(), version: -1 },
        ]),
    };
    let hex: String = txn.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "01",
        "00000002",
        "0000000000000003",
        "0000000000000004",
        "0000000000000005",
        "0000000000000006",
        "00000001000000026970000000033a3a31",
        "0900000002",
        "00000000022f61ffffffff000000010000001f00000005776f726c6400000006616e796f6e6503",
        "04000000022f62ffffffff",
    ];
    assert_eq!(hex, expected.concat());
}

#[test]
fn bytes_behind_a_proposal_are_an_error() {
    let mut bytes = Txn::of_ensemble(Origin::default(), Op::Noop).encode();
    bytes.push(0);
    assert!(Txn::decode(bytes.into()).is_err());
}

#[test]
fn an_announced_count_reserves_no_memory() {
    let mut bytes = Txn::of_ensemble(Origin::default(), Op::Multi(vec![])).encode();
    let length = bytes.len();
    bytes[length - 4..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Txn::decode(bytes.into()), Err(BadEncoding::Short));
}

#[test]
fn an_unknown_version_is_named() {
    assert_eq!(Txn::decode(Bytes::from_static(&[2, 0, 0])), Err(BadEncoding::Version(2)));
}
