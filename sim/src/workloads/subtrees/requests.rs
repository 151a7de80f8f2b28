//! Which requests a client sends within its subtree: mostly sound ones, some that have to be refused.
//!
//! The client need not know what there is: few names, small versions and chance make every answer frequent.

use std::sync::Arc;

use bytes::Bytes;
use wyrdlog::base::znode::{Acl, AuthId, Permissions};
use wyrdlog::wire::zookeeper::{CreateRequest, MultiOp, Request};

/// The names of nodes.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// How deep a subtree is below its root.
const DEPTH_MAX: u64 = 3;
/// The most bytes of data.
const DATA_BYTES_MAX: u64 = 40;
/// The most operations of a multi.
const OPERATIONS_MAX: u64 = 5;
/// Of the nodes with a number in their name so many are remembered.
const REMEMBERED_MAX: usize = 4;

/// A subtree's names.
pub(super) struct Names {
    root: String,
    /// Nodes whose names the servers made.
    numbered: Vec<Arc<str>>,
}

/// Draws below a bound.
type Below<'d> = &'d dyn Fn(u64) -> u64;

impl Names {
    pub(super) fn new(root: String) -> Self {
        Names { root, numbered: Vec::new() }
    }

    /// What makes the root, whose own statistics come with the answer.
    pub(super) fn root_creation(&self) -> Request {
        let path = self.root.as_str().into();
        Request::Create2(CreateRequest { path, data: None, acl: Acl::open(), flags: 0 })
    }

    /// Takes paths that servers made.
    pub(super) fn learn(&mut self, paths: &[Arc<str>]) {
        for path in paths {
            let is_numbered = path.ends_with(|end: char| end.is_ascii_digit()) && **path != *self.root;
            if is_numbered && !self.numbered.contains(path) {
                self.numbered.push(path.clone());
            }
        }
        let old = self.numbered.len().saturating_sub(REMEMBERED_MAX);
        self.numbered.drain(..old);
    }

    /// The root, and what may be just below.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        let below = NAMES.iter().map(|name| format!("{}/{name}", self.root).into());
        std::iter::once(self.root.as_str().into()).chain(below).chain(self.numbered.iter().cloned()).collect()
    }

    fn path(&self, below: Below<'_>) -> Arc<str> {
        if below(6) == 0 && !self.numbered.is_empty() {
            return self.numbered[below(self.numbered.len() as u64) as usize].clone();
        }
        let mut path = self.root.clone();
        for _ in 0..[0, 1, 1, 1, 2, 2, DEPTH_MAX][below(7) as usize] {
            path.push('/');
            path.push_str(NAMES[below(NAMES.len() as u64) as usize]);
        }
        path.into()
    }

    /// A path; now and then one that no node can have.
    fn path_or_none(&self, below: Below<'_>) -> Arc<str> {
        let path = self.path(below);
        if below(25) > 0 {
            return path;
        }
        match below(8) {
            0 => path[1..].into(),
            1 => format!("{path}/").into(),
            2 => format!("{path}//a").into(),
            3 => format!("{path}/./a").into(),
            4 => format!("{path}/..").into(),
            5 => format!("{path}/a\0b").into(),
            6 => format!("{path}/\u{7}").into(),
            _ => "".into(),
        }
    }

    /// Draws a request.
    pub(super) fn draw(&self, below: impl Fn(u64) -> u64) -> Request {
        let below: Below<'_> = &below;
        let watch = below(3) == 0;
        let path = self.path_or_none(below);
        match below(40) {
            0..=7 => Request::Create(self.creation(below)),
            8..=11 => Request::Create2(self.creation(below)),
            12..=14 => Request::Delete { path, version: version(below) },
            15..=18 => Request::SetData { path, data: data(below), version: version(below) },
            19..=20 => Request::SetAcl { path, acl: acl(below), version: version(below) },
            21..=24 => Request::Multi((0..below(OPERATIONS_MAX + 1)).map(|_| self.operation(below)).collect()),
            25..=27 => Request::Exists { path, watch },
            28..=30 => Request::GetData { path, watch },
            31..=32 => Request::GetAcl { path },
            33..=34 => Request::GetChildren { path, watch },
            35..=37 => Request::GetChildren2 { path, watch },
            38 => Request::Sync { path: self.path(below) },
            _ => Request::Ping,
        }
    }

    fn creation(&self, below: Below<'_>) -> CreateRequest {
        let flags = match below(30) {
            0 => 7 + below(100) as i32,
            1 => -1 - below(100) as i32,
            2..=6 => 1,
            7..=11 => 2,
            12..=14 => 3,
            _ => 0,
        };
        let acl = if below(4) == 0 { acl(below) } else { Acl::open() };
        self.own(CreateRequest { path: self.path_or_none(below), data: data(below), acl, flags })
    }

    /// How many nodes came beside the root, nobody knows: it has no number in its name.
    fn own(&self, create: CreateRequest) -> CreateRequest {
        let is_root = *create.path == *self.root && (0..=3).contains(&create.flags);
        CreateRequest { flags: if is_root { create.flags & 1 } else { create.flags }, ..create }
    }

    /// Part of a multi. What is malformed there is refused in other ways by different servers.
    fn operation(&self, below: Below<'_>) -> MultiOp {
        let (path, version) = (self.path(below), version(below));
        let create = CreateRequest { flags: below(4) as i32, path: path.clone(), ..self.creation(below) };
        let create = self.own(create);
        match below(6) {
            0 => MultiOp::Create(create),
            1 => MultiOp::Create2(create),
            2 => MultiOp::Delete { path, version },
            3 => MultiOp::Check { path, version },
            _ => MultiOp::SetData { path, data: data(below), version },
        }
    }
}

fn version(below: Below<'_>) -> i32 {
    if below(2) == 0 { -1 } else { below(4) as i32 }
}

fn data(below: Below<'_>) -> Option<Bytes> {
    match below(6) {
        0 => None,
        1 => Some(Bytes::new()),
        _ => Some((0..=below(DATA_BYTES_MAX)).map(|_| below(256) as u8).collect()),
    }
}

fn acl(below: Below<'_>) -> Vec<Acl> {
    let of = |scheme: &str, id: &str| Acl { permissions: Permissions::ALL, id: AuthId::new(scheme, id) };
    match below(15) {
        0 => Vec::new(),
        1 => vec![of("world", "somebody")],
        2 => vec![of("auth", "")],
        3 => vec![Acl::world(Permissions(1 + below(31) as i32))],
        4 => vec![Acl::world(Permissions(31 - (1 << below(5))))],
        5 => vec![Acl::world(Permissions::READ), Acl::world(Permissions(30))],
        6 => vec![of("nobodys-scheme", "x")],
        7 => vec![Acl::world(Permissions::READ), of("digest", "user:hash")],
        8 => vec![of("digest", "user:hash"), Acl::world(Permissions(30))],
        9 => vec![of("digest", ["user", "a:b:c", "user:hash"][below(3) as usize])],
        10 => vec![Acl::world(Permissions(15)), of("ip", ["203.0.113.0/24", "203.0.113.7"][below(2) as usize])],
        11 => vec![Acl::open()[0].clone(), of("ip", ["203.0.113.0/33", "203.0.113"][below(2) as usize])],
        _ => Acl::open(),
    }
}
