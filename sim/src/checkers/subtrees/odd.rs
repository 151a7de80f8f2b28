//! What becomes of what no sound client sends.

use wyrdlog::base::ids::SessionId;
use wyrdlog::base::znode::ErrorCode;
use wyrdlog::wire::zookeeper::{OpCode, ReplyHeader, Response, Xid};

use super::{ANSWERS_NS, Judge};
use crate::history::subtrees::{Connection, ConnectionIndex, Odd, Step};

/// Whether there is a first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// One that grants a new session.
    Granted,
    /// One that says that there is no such session.
    Expired,
    /// None.
    None,
    /// One that grants a new session, or none.
    Either,
}

/// How the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Stays,
    Either,
}

/// What is prescribed: a first frame, a reply with one of some codes, an end. No reply where there are no
/// codes; where the connection may be closed, the reply may be missing.
fn prescribed(odd: Odd) -> (First, &'static [ErrorCode], End) {
    match odd {
        Odd::Auth => (First::Granted, &[ErrorCode::AuthFailed], End::Closed),
        // ZooKeeper goes on to end the connection; here the client decides.
        Odd::UnknownOperation => (First::Granted, &[ErrorCode::Unimplemented], End::Either),
        // As documented in OPERATIONS.md. ZooKeeper answers as if it were alone in a multi.
        Odd::CheckAlone => (First::Granted, &[ErrorCode::Unimplemented], End::Stays),
        // ZooKeeper goes on; a client that cannot count is not to be believed in what follows.
        Odd::ShortBody => (First::Granted, &[ErrorCode::MarshallingError], End::Either),
        Odd::LongBody | Odd::Bystander => (First::Granted, &[ErrorCode::Ok], End::Stays),
        Odd::NoHeader | Odd::NegativeLength | Odd::TooLong => (First::Granted, &[], End::Closed),
        Odd::Longest => (First::Granted, &[], End::Stays),
        Odd::Ahead | Odd::ShortConnect | Odd::Hello(_) => (First::None, &[], End::Closed),
        Odd::WrongPassword | Odd::UnknownSession => (First::Expired, &[], End::Closed),
        // ZooKeeper serves it. Here the server hangs up, unless the session was attached before the request came.
        Odd::EarlyRequest => (First::Either, &[ErrorCode::Ok], End::Either),
    }
}

/// Judges a connection that did something odd.
pub(super) fn check(judge: &mut Judge<'_>, index: ConnectionIndex, odd: Odd) {
    let connection = &judge.history.connections[index as usize];
    let (first, codes, end) = prescribed(odd);
    let mut came = connection.entries.iter().filter_map(|entry| match &entry.step {
        Step::Came(frame) => Some((entry.time_ns, frame)),
        _ => None,
    });
    let greeting = if connection.hello.is_some() { came.next() } else { None };
    if let (Some((time_ns, frame)), Some(hello)) = (greeting, &connection.hello) {
        let Some(granted) = judge.greets(index, time_ns, hello, frame) else { return };
        let is_granted = granted.session != SessionId(0);
        let is_right = match first {
            First::Granted | First::Either => is_granted,
            First::Expired => !is_granted,
            First::None => false,
        };
        judge.holds(index, time_ns, is_right, || format!("{odd:?} was answered {granted:?}"));
    }
    let mut is_answered = false;
    for (time_ns, frame) in came {
        let mut body = frame.clone();
        let header = ReplyHeader::take(&mut body);
        let xid = asked(connection).map(|(_, xid)| xid);
        let is_right = header.is_ok_and(|header| {
            let is_body = header.error != ErrorCode::Ok || Response::decode(OpCode::Exists, body).is_ok();
            xid == Some(header.xid) && codes.contains(&header.error) && is_body
        });
        let is_first = !std::mem::replace(&mut is_answered, true);
        let holds = is_right && is_first;
        judge.holds(index, time_ns, holds, || format!("{odd:?} was answered {header:?} where one of {codes:?} is due"));
    }
    is_missing(judge, index, odd, (first, greeting.is_some()), is_answered);
    ends(judge, index, odd, end, asked_ns(connection));
}

/// The odd request, or the one that is asked as odd things go on.
fn asked(connection: &Connection) -> Option<(u64, Xid)> {
    connection.entries.iter().find_map(|entry| match &entry.step {
        Step::Sent(xid, _) | Step::SentOdd(xid) => Some((entry.time_ns, *xid)),
        _ => None,
    })
}

fn asked_ns(connection: &Connection) -> u64 {
    asked(connection).map_or(connection.opened_ns, |(at_ns, _)| at_ns)
}

/// A frame that did not come, in a calm.
fn is_missing(judge: &mut Judge<'_>, index: ConnectionIndex, odd: Odd, greeted: (First, bool), is_answered: bool) {
    let connection = &judge.history.connections[index as usize];
    let (_, codes, end) = prescribed(odd);
    match (greeted, &connection.hello) {
        ((First::Granted | First::Expired, false), Some(hello)) => judge.not_greeted(index, hello),
        ((First::Granted, true), _) if !codes.is_empty() && end != End::Either && !is_answered => {
            let Some((since_ns, _)) = asked(connection) else { return };
            judge.misses(index, since_ns, None, || format!("{odd:?} was not answered"));
        }
        _ => {}
    }
}

/// Whether the connection ended as is prescribed, as far as it was waited for.
fn ends(judge: &mut Judge<'_>, index: ConnectionIndex, odd: Odd, end: End, since_ns: u64) {
    let connection = &judge.history.connections[index as usize];
    let Some(last) = connection.entries.last() else { return };
    let has_asked = asked(connection).is_some() || prescribed(odd).0 != First::Granted;
    match (end, &last.step) {
        (End::Stays, Step::Closed) => {
            let closed_ns = last.time_ns;
            judge.misses(index, closed_ns, Some(closed_ns), || format!("the server ended it for {odd:?}"));
        }
        (End::Closed, Step::GaveUp) if last.time_ns >= since_ns + ANSWERS_NS && has_asked => {
            judge.misses(index, since_ns, Some(last.time_ns), || format!("the server did not end it for {odd:?}"));
        }
        (End::Closed, Step::Closed) => {
            judge.holds(index, last.time_ns, true, String::new);
        }
        _ => {}
    }
}
