//! Claims about snapshots.

use proptest::prelude::*;

use super::*;
use crate::coordinator::tree::tests::Bench;

fn encode(tree: &Tree) -> Bytes {
    tree.snapshot().collect::<Vec<_>>().concat().into()
}

fn small() -> Tree {
    let mut bench = Bench::new();
    bench.create("/a");
    bench.create_ephemeral("/a/e");
    bench.set("/a", b"data");
    bench.tree
}

#[test]
fn a_snapshot_gives_back_the_very_state() {
    let tree = small();
    let decoded = decode(encode(&tree)).expect("good");
    assert_eq!(decoded, tree);
    assert_eq!(decoded.state_digest(), tree.state_digest());
    assert_eq!((decoded.data_bytes(), decoded.ephemeral_count()), (tree.data_bytes(), 1));
    assert_eq!(decode(encode(&Tree::new())), Ok(Tree::new()));
}

#[test]
fn a_large_state_makes_many_chunks_of_bounded_size() {
    let mut bench = Bench::new();
    for number in 0..3000 {
        bench.create(&format!("/n{number:04}"));
    }
    let chunks: Vec<_> = bench.tree.snapshot().collect();
    assert!(chunks.len() > 5, "{}", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.len() < 2 * CHUNK_BYTES));
    assert_eq!(decode(chunks.concat().into()), Ok(bench.tree));
}

#[test]
fn a_snapshot_is_not_touched_by_later_writes() {
    let mut bench = Bench::new();
    bench.create("/a");
    let (before, snapshot) = (bench.tree.clone(), bench.tree.snapshot());
    bench.set("/a", b"later");
    bench.create("/b");
    assert_eq!(decode(snapshot.collect::<Vec<_>>().concat().into()), Ok(before));
}

#[test]
fn the_format_of_version_1_is_this() {
    const GENESIS_BYTES: usize = 451;
    const GENESIS_CRC: u32 = 0xA198_A7D5;
    let chunks: Vec<_> = Tree::new().snapshot().collect();
    let sessions: Vec<_> = Bench::new().tree.snapshot().collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let header = |kind: &str, index: &str, length: &str| ["57797254", "01", kind, index, length].concat();
    let unchecked = |chunk: &Bytes| hex(&chunk[..chunk.len() - CHECKSUM_BYTES]);
    assert_eq!(unchecked(&chunks[0]), header("00", "00000000", "00000008") + "0000000000000000");
    let session = ["0000000000000077", "07070707070707070707070707070707", "00001770", "0000000000000001"].concat();
    let session = header("01", "00000001", "0000002c") + &session + "0000000000000000";
    assert_eq!(unchecked(&sessions[1]), session);
    // The root: path, data, open list, owner, three zxids, two times, three counters.
    let root = "000000012f".to_owned() + "00000000" + "00" + &"00".repeat(8 * 6 + 4 * 3);
    assert!(hex(&chunks[2][HEADER_BYTES..]).starts_with(&root), "{}", hex(&chunks[2]));
    let tail = ["0000000000000000", "0000000000000004", &format!("{:016x}", Tree::new().state_digest())].concat();
    assert_eq!(unchecked(&chunks[3]), header("03", "00000003", "00000018") + &tail);
    assert_eq!(hex(&chunks.concat()).len(), 2 * GENESIS_BYTES);
    assert_eq!(crc32c(&chunks.concat()), GENESIS_CRC);
}

#[test]
fn missing_swapped_and_doubled_chunks_are_refused() {
    let chunks: Vec<_> = small().snapshot().collect();
    let decode = |chunks: &[Bytes]| super::decode(chunks.concat().into());
    for without in 0..chunks.len() {
        let mut fewer = chunks.clone();
        fewer.remove(without);
        assert!(decode(&fewer).is_err(), "without {without}");
        let mut more = chunks.clone();
        more.insert(without, chunks[without].clone());
        assert!(decode(&more).is_err(), "twice {without}");
    }
    assert_eq!(decode(&[]), Err(BadSnapshot::Unfinished { chunks: 0 }));
}

/// Its checksum is right, and so is what a reader wants of it; there is more.
#[test]
fn a_chunk_that_goes_on_behind_what_it_is_to_hold_is_refused() {
    let mut writer = small().snapshot();
    let head = writer.next().expect("the first chunk");
    let payload = [&head[HEADER_BYTES..head.len() - CHECKSUM_BYTES], &[0]].concat();
    let mut forger = writer.clone();
    forger.index -= 1;
    let mut reader = SnapshotReader::default();
    assert!(reader.push(forger.chunk(Kind::Head, &payload)).is_err());
    assert_eq!(reader.push(head), Ok(()));
}

/// A session takes 44 bytes, so these take more than one chunk.
#[test]
fn sessions_that_fill_more_than_one_chunk_are_all_there_again() {
    let mut tree = Tree::new();
    for id in 1..=4000 {
        tree.replace_session(SessionId(id), Some(Arc::new(Session::new(Password([3; 16]), 6000))));
    }
    let chunks: Vec<_> = tree.snapshot().collect();
    assert_eq!(chunks.iter().filter(|chunk| chunk[5] == Kind::Sessions as u8).count(), 3);
    assert_eq!(decode(chunks.concat().into()), Ok(tree));
}

/// Kinds come in order, and so each is read with what stands before it.
#[test]
fn bytes_that_are_left_over_are_told_by_where_they_are() {
    let mut writer = small().snapshot();
    let mut reader = SnapshotReader::default();
    let head = writer.next().expect("the first chunk");
    let longer = Bytes::from([&head[..], &[0]].concat());
    assert_eq!(reader.push(longer), Err(BadSnapshot::Encoding { chunk: 0, error: BadEncoding::TooLong(1) }));
    reader.push(head).expect("good");
    reader.push(writer.next().expect("the sessions")).expect("good");
    let nodes = writer.next().expect("the nodes");
    let payload = [&nodes[HEADER_BYTES..nodes.len() - CHECKSUM_BYTES], &[0]].concat();
    let mut forger = writer.clone();
    forger.index -= 1;
    let cut_short = BadSnapshot::Encoding { chunk: 2, error: BadEncoding::Short };
    assert_eq!(reader.push(forger.chunk(Kind::Nodes, &payload)), Err(cut_short), "the beginning of another node");
}

proptest! {
    #[test]
    fn any_flipped_bit_and_any_cut_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let good = encode(&small());
        let at = at.index(good.len());
        let mut bad = good.to_vec();
        bad[at] ^= 1 << bit;
        prop_assert!(decode(bad.into()).is_err());
        prop_assert!(decode(good.slice(..at)).is_err());
    }

    #[test]
    fn random_payloads_under_a_right_checksum_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut writer = small().snapshot();
        let mut reader = SnapshotReader::default();
        for kind in [Kind::Head, Kind::Sessions, Kind::Nodes] {
            let good = writer.next().expect("three more chunks");
            let mut forger = writer.clone();
            forger.index -= 1;
            let mut copy = SnapshotReader { tree: reader.tree.clone(), children: reader.children.clone(), ..reader };
            let _ = copy.push(forger.chunk(kind, &payload));
            reader.push(good).expect("good");
        }
    }
}
