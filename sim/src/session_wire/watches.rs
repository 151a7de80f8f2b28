//! Which watches the client of a connection has left, by its own requests and their replies.
//!
//! A read leaves its watch with its reply, and none if it is refused (but `exists` does, for a node that is
//! not there). What a returning client leaves again counts from its request on: what it missed is told before
//! the reply.

use std::collections::BTreeSet;

use bytes::Bytes;
use wyrdlog::base::znode::{ErrorCode, EventKind};
use wyrdlog::wire::zookeeper::{OpCode, Request};

/// What of a node is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Data,
    Children,
}

/// A watch that a request leaves if it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    of: Of,
    path: String,
    also_of_nothing: bool,
}

/// The watches of one connection.
#[derive(Debug, Default)]
pub(super) struct Left(BTreeSet<(Of, String)>);

impl Left {
    /// The watch that a request asks for. What is left again is left at once.
    pub fn ask(&mut self, op_code: i32, body: Bytes) -> Option<Wanted> {
        let watching = [OpCode::Exists, OpCode::GetData, OpCode::GetChildren, OpCode::GetChildren2, OpCode::SetWatches];
        if !watching.iter().any(|op| *op as i32 == op_code) {
            return None;
        }
        let wanted = |of, path: &str, also_of_nothing| Some(Wanted { of, path: path.to_owned(), also_of_nothing });
        match Request::decode(op_code, body).ok()? {
            Request::Exists { path, watch: true } => wanted(Of::Data, &path, true),
            Request::GetData { path, watch: true } => wanted(Of::Data, &path, false),
            Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true } => {
                wanted(Of::Children, &path, false)
            }
            Request::SetWatches(again) => {
                let data = again.data.iter().chain(&again.exist).map(|path| (Of::Data, path.to_string()));
                self.0.extend(data.chain(again.children.iter().map(|path| (Of::Children, path.to_string()))));
                None
            }
            _ => None,
        }
    }

    /// The request that asked for it was answered.
    pub fn answered(&mut self, wanted: Wanted, error: ErrorCode) {
        if error == ErrorCode::Ok || error == ErrorCode::NoNode && wanted.also_of_nothing {
            self.0.insert((wanted.of, wanted.path));
        }
    }

    /// The client is told of a change. Says whether it had left a watch for that, which is gone now.
    pub fn told(&mut self, kind: EventKind, path: &str) -> bool {
        let mut take = |of| self.0.remove(&(of, path.to_owned()));
        match kind {
            EventKind::NodeCreated | EventKind::NodeDataChanged => take(Of::Data),
            EventKind::NodeDeleted => take(Of::Data) || take(Of::Children),
            EventKind::NodeChildrenChanged => take(Of::Children),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyrdlog::base::ids::Zxid;
    use wyrdlog::wire::zookeeper::{RequestHeader, SetWatches, Xid};

    fn ask(left: &mut Left, request: &Request) -> Option<Wanted> {
        let mut frame = Vec::new();
        request.put(Xid(1), &mut frame);
        let mut body = Bytes::from(frame);
        let header = RequestHeader::take(&mut body).expect("it has one");
        left.ask(header.op_code, body)
    }

    fn read(left: &mut Left, request: &Request, error: ErrorCode) {
        if let Some(wanted) = ask(left, request) {
            left.answered(wanted, error);
        }
    }

    #[test]
    fn a_watch_is_there_for_one_event_from_the_answer_on() {
        let mut left = Left::default();
        let wanted = ask(&mut left, &Request::GetData { path: "/a".into(), watch: true });
        assert!(!left.told(EventKind::NodeDataChanged, "/a"), "it is not answered yet");
        left.answered(wanted.expect("it asks for one"), ErrorCode::Ok);
        assert!(!left.told(EventKind::NodeChildrenChanged, "/a") && !left.told(EventKind::NodeDataChanged, "/b"));
        assert!(left.told(EventKind::NodeDataChanged, "/a"));
        assert!(!left.told(EventKind::NodeDataChanged, "/a"), "it fires once");
    }

    #[test]
    fn nothing_is_left_by_a_read_that_asks_for_nothing_or_is_refused() {
        let mut left = Left::default();
        read(&mut left, &Request::GetData { path: "/a".into(), watch: false }, ErrorCode::Ok);
        read(&mut left, &Request::GetChildren { path: "/a".into(), watch: true }, ErrorCode::NoNode);
        assert!(!left.told(EventKind::NodeDeleted, "/a"));
        read(&mut left, &Request::Exists { path: "/a".into(), watch: true }, ErrorCode::NoNode);
        assert!(left.told(EventKind::NodeCreated, "/a"));
    }

    #[test]
    fn what_is_left_again_counts_before_it_is_answered() {
        let mut left = Left::default();
        let (data, exist, children) = (vec!["/d".into()], vec!["/e".into()], vec!["/c".into()]);
        let again = SetWatches { relative_zxid: Zxid(7), data, exist, children };
        assert_eq!(ask(&mut left, &Request::SetWatches(again)), None);
        assert!(left.told(EventKind::NodeDeleted, "/d") && left.told(EventKind::NodeCreated, "/e"));
        assert!(left.told(EventKind::NodeDeleted, "/c") && !left.told(EventKind::NodeChildrenChanged, "/c"));
    }
}
