//! A server driven by hand: its inputs come one by one, its disk is in memory, and its clock stands still unless
//! a test moves it.

use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::clients::Pending;
use super::*;
use crate::base::address::Address;
use crate::base::ids::{Term, Zxid};
use crate::base::znode::ErrorCode;
use crate::consensus::{Entry, EntryKind, Message};
use crate::coordinator::config::Member;
use crate::coordinator::peers::{Peer, keep_linked};
use crate::coordinator::storage::{Format, Storage};
use crate::coordinator::test_runtime::TestRuntime;
use crate::coordinator::tree::{Op, Origin, Password, Txn};
use crate::runtime::test_disk::now;
use crate::runtime::{Clock, Task, Tasks};
use crate::wire::frame::FrameDecoder;
use crate::wire::zookeeper::{ConnectRequest, ReplyHeader, Request, SetWatches, Xid};

const SECOND: Duration = Duration::from_secs(1);
const SESSION: SessionId = SessionId(7);
const OWN: ServerId = ServerId(2);

struct Bench {
    runtime: TestRuntime,
    server: Server<TestRuntime>,
    batches: mpsc::Receiver<Vec<StorageOp>>,
    last_connection: u64,
}

/// A client as its connection's task knows it.
struct TestClient {
    connection: ConnectionId,
    frames: mpsc::Receiver<Bytes>,
    permits: Arc<Semaphore>,
}

impl Bench {
    /// Server 2 of an ensemble of these.
    fn new(ensemble: &[u32]) -> Self {
        let runtime = TestRuntime::default();
        let member = |id: &u32| {
            let address = Address::new(format!("server-{id}"), 1);
            Member { id: ServerId(*id), peer_address: address.clone(), client_address: address }
        };
        let config = Config::new(OWN, ensemble.iter().map(member).collect());
        now(Format::write(&runtime, OWN, false)).expect("formats");
        let format = now(Format::read(&runtime, OWN)).expect("is formatted");
        let opened = now(Storage::open(runtime.clone(), config.log_roll_bytes)).expect("opens");
        let (mut server, _storage, batches) = start::recover(&runtime, config, format, opened).expect("a blank disk");
        for other in ensemble.iter().filter(|id| **id != OWN.0) {
            server.links.insert(ServerId(*other), Arc::default());
        }
        server.step(consensus::Input::Start);
        Bench { runtime, server, batches, last_connection: 0 }
    }

    /// It follows server 1 in term 1.
    fn follower() -> Self {
        let mut bench = Bench::new(&[1, 2, 3]);
        bench.follow(1, 1);
        bench
    }

    /// An ensemble of its own.
    fn leader() -> Self {
        let mut bench = Bench::new(&[OWN.0]);
        bench.server.step(consensus::Input::Elapsed(Timer::Election));
        bench.end_turn();
        assert!(bench.server.leadership.as_ref().is_some_and(|leadership| leadership.ready));
        bench
    }

    /// Ends the turn, and all that it hands to the storage is durable.
    fn end_turn(&mut self) {
        self.server.end_turn();
        while let Ok(batch) = self.batches.try_recv() {
            let persisted = batch.into_iter().filter_map(|op| match op {
                StorageOp::Persist(op) => Some(Stored::Persisted(op.id)),
                _ => None,
            });
            self.server.handle(Input::Stored(Ok(persisted.collect())));
            self.server.end_turn();
        }
    }

    fn turn(&mut self, input: Input) {
        self.server.handle(input);
        self.end_turn();
    }

    fn receive(&mut self, from: u32, message: PeerMessage) {
        self.turn(Input::Peer { from: ServerId(from), message });
    }

    fn follow(&mut self, leader: u32, term: u32) {
        let (term, prev, entries) = (Term(term), Position::ZERO, Vec::new());
        self.receive(leader, PeerMessage::Consensus(Message::Append { term, prev, commit: 0, round: 0, entries }));
        assert_eq!(self.server.consensus.leader(), Some(ServerId(leader)));
    }

    /// Applies the next entry, as if it had been committed.
    fn apply(&mut self, txn: &Txn) {
        let index = self.server.applied.index + 1;
        let payload = [&0_i64.to_be_bytes()[..], &txn.encode()].concat().into();
        self.server.apply(&entry(index, payload));
    }

    /// A client that has sent nothing yet.
    fn client(&mut self) -> TestClient {
        self.last_connection += 1;
        let connection = ConnectionId(self.last_connection);
        let ((outgoing, frames), permits) = (mpsc::channel(4), Arc::new(Semaphore::new(1)));
        self.turn(Input::Connected { connection, outgoing, permits: permits.clone() });
        TestClient { connection, frames, permits }
    }

    /// A client that has asked for a session and has no answer yet.
    fn waiting_client(&mut self) -> TestClient {
        let client = self.client();
        self.frame(&client, |out| {
            let (session, password) = (SessionId(0), Bytes::new());
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid(0),
                timeout_ms: 6000,
                session,
                password,
                read_only: None,
            };
            request.put(out);
        });
        client
    }

    /// A client whose session is attached here.
    fn attached_client(&mut self) -> TestClient {
        let client = self.client();
        self.server.clients.attach(client.connection, SESSION, 1);
        client
    }

    fn frame(&mut self, client: &TestClient, put: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::new();
        put(&mut frame);
        client.permits.try_acquire().expect("a client waits for its permit").forget();
        self.turn(Input::Frame { connection: client.connection, frame: frame.into() });
    }

    fn request(&mut self, client: &TestClient, request: &Request) {
        self.frame(client, |out| request.put(Xid(1), out));
    }

    fn is_open(&self, client: &TestClient) -> bool {
        self.server.clients.get(client.connection).is_some()
    }

    /// From now on messages to `peer` come out of what this gives, for as long as the inputs are held that follow.
    fn link(&mut self, peer: ServerId) -> (DuplexStream, mpsc::Receiver<Input>) {
        let (ours, theirs) = duplex(64 * 1024);
        self.runtime.connect_next(Ok(ours));
        let link = self.server.links[&peer].clone();
        let peer = Peer { own: OWN, id: peer, address: Address::new("peer", 1) };
        let (inbox, inputs) = mpsc::channel(1);
        let linking = keep_linked(self.runtime.clone(), peer, link, inbox);
        self.runtime.spawn("peer writer", linking).detach();
        self.runtime.run();
        (theirs, inputs)
    }
}

impl TestClient {
    fn replies(&mut self) -> Vec<ReplyHeader> {
        let frames = std::iter::from_fn(|| self.frames.try_recv().ok());
        frames.map(|frame| ReplyHeader::take(&mut frame.slice(4..)).expect("a reply")).collect()
    }
}

fn entry(index: u64, payload: Bytes) -> Entry {
    Entry { index, zxid: Zxid::new(Term(1), index as u32), kind: EntryKind::Data, payload }
}

fn txn(origin: Origin, attachment: u64, sequence: u64, op: Op) -> Txn {
    Txn { origin, session: SESSION, attachment, sequence, ids: Vec::new(), op }
}

fn elsewhere() -> Origin {
    Origin { server: ServerId(3), request: 1 }
}

fn create_session() -> Txn {
    txn(elsewhere(), 0, 0, Op::CreateSession { password: Password([7; 16]), timeout_ms: 6000 })
}

fn delete() -> Request {
    Request::Delete { path: "/a".into(), version: -1 }
}

#[test]
fn nothing_is_applied_after_an_entry_that_cannot_be_understood() {
    let mut bench = Bench::follower();
    bench.server.apply(&entry(1, Bytes::new()));
    bench.apply(&create_session());
    assert!(bench.server.tree.session(SESSION).is_none());
    assert!(matches!(bench.server.failure, Some(CoordinatorError::Entry { index: 1, .. })));
}

#[test]
fn a_session_that_is_attached_elsewhere_leaves_its_connection_here() {
    let mut bench = Bench::follower();
    bench.apply(&create_session());
    let client = bench.attached_client();
    bench.apply(&txn(elsewhere(), 0, 0, Op::AttachSession { password: Password([7; 16]), timeout_ms: 6000 }));
    assert!(!bench.is_open(&client));
}

#[test]
fn what_a_client_sent_before_its_connection_was_closed_still_shows_that_it_lives() {
    let mut bench = Bench::follower();
    let client = bench.attached_client();
    bench.server.close_client(client.connection);
    bench.request(&client, &Request::Ping);
    assert_eq!(bench.server.touched, [SESSION].into());
}

#[test]
fn a_frame_that_is_dealt_with_gives_its_permit_back() {
    let mut bench = Bench::follower();
    let client = bench.waiting_client();
    assert_eq!(client.permits.available_permits(), 1);
    let mut client = bench.attached_client();
    bench.request(&client, &Request::Ping);
    assert_eq!(client.permits.available_permits(), 1);
    assert_eq!(client.replies()[0].xid, Xid::PING);
}

#[test]
fn a_write_that_no_leader_can_be_given_ends_its_connection() {
    let mut bench = Bench::new(&[1, 2, 3]);
    let client = bench.attached_client();
    bench.request(&client, &delete());
    assert!(!bench.is_open(&client));
}

#[test]
fn a_write_that_the_leader_refuses_ends_its_connection() {
    let mut bench = Bench::follower();
    let client = bench.attached_client();
    bench.request(&client, &delete());
    assert!(bench.is_open(&client));
    let request = *bench.server.waiting.keys().next().expect("it is under way");
    bench.receive(1, PeerMessage::Refused { request });
    assert!(!bench.is_open(&client));
}

/// One write of the session was lost on its way.
#[test]
fn a_write_that_follows_a_gap_ends_its_connection_and_is_not_answered() {
    let mut bench = Bench::follower();
    bench.apply(&create_session());
    let mut client = bench.attached_client();
    bench.request(&client, &delete());
    let request = *bench.server.waiting.keys().next().expect("it is under way");
    bench.apply(&txn(Origin { server: OWN, request }, 1, 2, Op::CloseSession));
    assert_eq!((bench.is_open(&client), client.replies()), (false, vec![]));
}

#[test]
fn a_request_that_needs_no_leader_neither_waits_for_one_nor_is_stuck() {
    let mut bench = Bench::follower();
    let client = bench.attached_client();
    let refused = Pending::Refused { xid: Xid(1), error: ErrorCode::Unimplemented };
    bench.server.clients.get_mut(client.connection).expect("open").queue.push_back(refused);
    bench.server.close_waiting_clients();
    bench.runtime.advance(60 * SECOND);
    bench.server.close_stuck_clients(bench.runtime.now());
    assert!(bench.is_open(&client));
}

#[test]
fn a_connection_that_asks_for_no_session_is_closed_after_a_while() {
    let mut bench = Bench::follower();
    let client = bench.client();
    for (passes, is_open) in [(10, true), (1, false)] {
        bench.runtime.advance(passes * SECOND);
        bench.server.keep_house(bench.runtime.now());
        assert_eq!(bench.is_open(&client), is_open);
    }
}

#[test]
fn who_waits_for_a_leader_is_closed_where_another_is_known() {
    let mut bench = Bench::follower();
    let client = bench.waiting_client();
    bench.follow(1, 1);
    assert!(bench.is_open(&client));
    bench.follow(3, 2);
    assert!(!bench.is_open(&client));
}

#[test]
fn who_waits_for_a_leader_is_closed_where_this_server_leads_instead() {
    let mut bench = Bench::follower();
    let client = bench.waiting_client();
    bench.receive(1, PeerMessage::Consensus(Message::TimeoutNow { term: Term(1) }));
    assert!(bench.is_open(&client));
    bench.receive(3, PeerMessage::Consensus(Message::VoteResponse { term: Term(2), granted: true }));
    assert!(bench.server.consensus.is_leader());
    assert!(!bench.is_open(&client));
}

#[test]
fn who_waits_for_the_leader_is_closed_where_messages_to_it_are_lost_and_not_those_to_others() {
    let mut bench = Bench::follower();
    let client = bench.waiting_client();
    bench.turn(Input::MessagesLost(ServerId(3)));
    assert!(bench.is_open(&client));
    bench.turn(Input::MessagesLost(ServerId(1)));
    assert!(!bench.is_open(&client));
}

#[test]
fn a_write_that_another_server_forwards_shows_that_its_session_lives() {
    let mut bench = Bench::leader();
    let leadership = bench.server.leadership.as_mut().expect("it leads");
    leadership.expiry.restart(SESSION, 6 * SECOND, bench.runtime.now());
    bench.runtime.advance(4 * SECOND);
    bench.receive(3, PeerMessage::Forward { request: 1, txn: txn(elsewhere(), 1, 1, Op::CloseSession) });
    let leadership = bench.server.leadership.as_ref().expect("it leads");
    assert_eq!(leadership.expiry.next_deadline(), Some(bench.runtime.now() + 6 * SECOND));
}

#[test]
fn the_leader_is_told_of_the_sessions_that_were_heard_of_and_of_nothing_if_there_were_none() {
    let mut bench = Bench::follower();
    let (mut leader, _inputs) = bench.link(ServerId(1));
    bench.server.keep_house(bench.runtime.now());
    bench.server.touched.insert(SESSION);
    bench.server.keep_house(bench.runtime.now());
    bench.server.keep_house(bench.runtime.now());
    bench.end_turn();
    // The connection ends, so that whatever was sent is followed by the end of the stream.
    bench.server.links.clear();
    bench.runtime.end_tasks();
    let mut received = FrameDecoder::new(1 << 20);
    while now(leader.read_buf(received.room())).expect("reads") > 0 {}
    let _hello = received.next_frame().expect("whole");
    let frames = std::iter::from_fn(|| received.next_frame().expect("whole"));
    let messages: Vec<_> = frames.map(|frame| PeerMessage::decode(frame).expect("a message")).collect();
    assert_eq!(messages, [PeerMessage::Touched(vec![SESSION])]);
}

#[test]
fn a_client_may_restore_as_many_watches_as_it_may_leave() {
    for (count, error) in [(100_000, ErrorCode::Ok), (100_001, ErrorCode::ThrottledOp)] {
        let mut bench = Bench::follower();
        let mut client = bench.attached_client();
        let exist = vec!["/a".into(); count];
        bench.request(&client, &Request::SetWatches(SetWatches { exist, ..SetWatches::default() }));
        assert_eq!(client.replies().iter().map(|reply| reply.error).collect::<Vec<_>>(), [error], "{count}");
    }
}
