//! What no sound client does, each on a connection of its own.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::runtime::Random;
use wyrdlog::wire::zookeeper::{AuthPacket, ConnectRequest, OpCode, Request, RequestHeader, Xid, put_frame};

use super::wire::{Greeted, Wire};
use super::{PATIENCE, Worker};
use crate::history::subtrees::{BadHello, FAR_AHEAD, FRAME_BYTES_MAX, Odd, Purpose};

/// How long a connection is watched that is to stay.
const STAYS: Duration = Duration::from_millis(500);
/// No session of theirs ends while they wait.
const TIMEOUT_MS_MIN: i32 = 12_000;
/// An operation that ZooKeeper does not have.
const UNKNOWN_OPERATION: i32 = 77;

const KINDS: [Odd; 20] = [
    Odd::Auth,
    Odd::UnknownOperation,
    Odd::ShortBody,
    Odd::LongBody,
    Odd::NoHeader,
    Odd::NegativeLength,
    Odd::TooLong,
    Odd::Longest,
    Odd::CheckAlone,
    Odd::Ahead,
    Odd::ShortConnect,
    Odd::UnknownSession,
    Odd::EarlyRequest,
    Odd::Bystander,
    Odd::Bystander,
    Odd::Hello(BadHello::Magic),
    Odd::Hello(BadHello::Version),
    Odd::Hello(BadHello::OtherServer),
    Odd::Hello(BadHello::Short),
    Odd::Hello(BadHello::Long),
];

/// What is asked where anything does.
fn harmless() -> Request {
    Request::Exists { path: "/".into(), watch: false }
}

impl Worker {
    /// Does something odd, and takes what comes of it.
    pub(super) async fn do_something_odd(&self) {
        let odd = KINDS[self.below(KINDS.len() as u64) as usize];
        match odd {
            Odd::Hello(bad) => self.greet_badly(bad).await,
            Odd::Ahead | Odd::ShortConnect | Odd::UnknownSession | Odd::EarlyRequest => self.begin_oddly(odd).await,
            Odd::Bystander => self.stand_by().await,
            _ => self.ask_oddly(odd).await,
        }
    }

    fn fresh(&self) -> ConnectRequest {
        let timeout_ms = TIMEOUT_MS_MIN + self.below(10_000) as i32;
        ConnectRequest { last_zxid_seen: Zxid(0), timeout_ms, ..self.hello(None) }
    }

    async fn open(&self, odd: Odd, hello: ConnectRequest) -> Option<Wire> {
        Wire::connect(self, Purpose::Odd(odd), self.a_server(), Some(hello)).await
    }

    async fn ask_oddly(&self, odd: Odd) {
        let Some(mut wire) = self.open(odd, self.fresh()).await else { return };
        let Greeted::Granted(_) = wire.greeted(PATIENCE).await else { return };
        match odd {
            Odd::Auth => {
                let auth =
                    AuthPacket { kind: 0, scheme: "nobodys-scheme".into(), auth: Some(Bytes::from_static(b"x")) };
                wire.send(Request::Auth(auth)).await;
            }
            Odd::CheckAlone => wire.send(Request::Check { path: "/".into(), version: -1 }).await,
            Odd::LongBody => {
                let xid = wire.next_xid(OpCode::Exists);
                let longer = frame(|out| {
                    harmless().put(xid, out);
                    out.put_slice(b"and more");
                });
                wire.send_odd(xid, &longer).await;
            }
            _ => {
                let xid = wire.next_xid(OpCode::Exists);
                wire.send_odd(xid, &malformed(odd, xid)).await;
            }
        }
        let stays = matches!(odd, Odd::CheckAlone | Odd::LongBody | Odd::Longest | Odd::UnknownOperation);
        wire.ends(if stays { STAYS } else { PATIENCE }).await;
        wire.give_up();
    }

    async fn begin_oddly(&self, odd: Odd) {
        let fresh = self.fresh();
        let unknown = SessionId((self.runtime.random_u64("unknown session") >> 2) as i64 + 1);
        let Some(mut wire) = (match odd {
            Odd::Ahead => self.open(odd, ConnectRequest { last_zxid_seen: FAR_AHEAD, ..fresh }).await,
            Odd::UnknownSession => self.open(odd, ConnectRequest { session: unknown, ..fresh }).await,
            _ => self.open(odd, fresh).await,
        }) else {
            return;
        };
        if odd == Odd::EarlyRequest {
            wire.send(harmless()).await;
        }
        if let Greeted::Granted(_) = wire.greeted(PATIENCE).await {
            wire.answered(PATIENCE).await;
        }
        wire.give_up();
    }

    /// One connection's session is asked for on another, with a wrong password.
    async fn stand_by(&self) {
        let Some(mut wire) = self.open(Odd::Bystander, self.fresh()).await else { return };
        let Greeted::Granted(granted) = wire.greeted(PATIENCE).await else { return };
        let password = match self.below(4) {
            0 => Bytes::new(),
            1 => Bytes::from_static(&[0; 16]),
            2 => granted.password.slice(..granted.password.len().saturating_sub(1)),
            _ => granted.password.iter().map(|byte| byte ^ 1).collect(),
        };
        let stranger = ConnectRequest { session: granted.session, password, ..self.fresh() };
        if let Some(mut other) = self.open(Odd::WrongPassword, stranger).await {
            other.greeted(PATIENCE / 2).await;
            other.give_up();
        }
        wire.send(harmless()).await;
        wire.answered(PATIENCE).await;
        wire.give_up();
    }

    async fn greet_badly(&self, bad: BadHello) {
        let server = self.a_server();
        let Some(mut wire) = Wire::connect(self, Purpose::Odd(Odd::Hello(bad)), server, None).await else { return };
        let own = server as u32 + 1;
        let (magic, version) = match bad {
            BadHello::Magic => (b"WYRDPEAR", 1_u16),
            BadHello::Version => (b"WYRDPEER", 2),
            _ => (b"WYRDPEER", 1),
        };
        let to = if bad == BadHello::OtherServer { own + 1 } else { own };
        let hello = frame(|out| {
            out.put_slice(magic);
            out.put_u16(version);
            out.put_u32(own % 3 + 1);
            out.put_u32(to);
            match bad {
                BadHello::Short => out.truncate(out.len() - 1),
                BadHello::Long => out.put_u8(0),
                _ => {}
            }
        });
        wire.send_odd(Xid(0), &hello).await;
        wire.ends(PATIENCE).await;
        wire.give_up();
    }
}

fn frame(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, put);
    out
}

/// Bytes that are no request.
fn malformed(odd: Odd, xid: Xid) -> Vec<u8> {
    match odd {
        Odd::UnknownOperation => frame(|out| RequestHeader { xid, op_code: UNKNOWN_OPERATION }.put(out)),
        Odd::ShortBody => frame(|out| {
            harmless().put(xid, out);
            out.truncate(out.len() - 2);
        }),
        Odd::NoHeader => frame(|out| out.put_slice(&[0; 7])),
        Odd::NegativeLength => (-1_i32).to_be_bytes().to_vec(),
        Odd::TooLong => (FRAME_BYTES_MAX + 1).to_be_bytes().to_vec(),
        _ => FRAME_BYTES_MAX.to_be_bytes().to_vec(),
    }
}
