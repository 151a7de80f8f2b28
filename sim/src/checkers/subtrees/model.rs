//! A subtree of ZooKeeper's tree, as its documentation says that it behaves: plain code of its own.
//!
//! All writes below the root come from one client, so that the zxid of each is that of its reply, and every
//! zxid in a stat is known. Times are not: they are those of transactions, so that each belongs to a zxid.
//!
//! - `version`, `aversion` count changes of data and of the list; `cversion` counts children that came and
//!   went. The number in a sequential name counts those that came (ZooKeeper's parent's `cversion` without the
//!   ones that went).
//! - The order in which a request is tried: the create mode, the path, the access control list, the parent,
//!   its permissions, the node, the version, children.
//! - A multi is all or nothing. Where it fails, what stood before the failure is answered with 0, what stands
//!   behind with RUNTIMEINCONSISTENCY.
//! - Watches fire once. Data and exists watches are one; a deletion is told once, whichever watches there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use wyrdlog::base::znode::{Acl, AuthId, ErrorCode, EventKind, Permissions, Stat};
use wyrdlog::wire::zookeeper::{CreateRequest, MultiOp, MultiResult, Request, Response, SetWatches};

/// An event that is due.
pub(super) type Due = (EventKind, String);

/// What a request is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The body, with times of 0; or the codes that are right.
    pub result: Result<Response, Vec<ErrorCode>>,
    /// The events that come before.
    pub events: Vec<Due>,
    /// Events that may: of what goes with a session that ends.
    pub perhaps: Vec<Due>,
}

/// A node.
#[derive(Clone, Debug)]
struct Node {
    data: Option<Bytes>,
    acl: Vec<Acl>,
    czxid: i64,
    mzxid: i64,
    pzxid: i64,
    version: i32,
    aversion: i32,
    came: i32,
    went: i32,
    owner: i64,
}

/// See the module's doc.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
    /// Paths whose data, or existence, is watched, and those whose children are.
    data: BTreeSet<String>,
    children: BTreeSet<String>,
}

/// Who asks, and with which change.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub zxid: i64,
    pub session: i64,
}

/// What a write did.
enum Done {
    Created(Arc<str>, Stat),
    Deleted,
    Changed(Stat),
    Checked,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// ZooKeeper's rules for a path.
fn is_valid(path: &str) -> bool {
    let is_odd = |one: char| matches!(one, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{f000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}');
    let is_name = |name: &str| !name.is_empty() && name != "." && name != "..";
    path == "/" || path.strip_prefix('/').is_some_and(|names| names.split('/').all(is_name)) && !path.contains(is_odd)
}

fn is_world(one: &Acl) -> bool {
    &*one.id.scheme == "world" && &*one.id.id == "anyone"
}

/// Whether it names somebody: all, who knows a password, or who is at an address. Nobody has authenticated, so that
/// `auth` is nobody.
fn is_somebody(one: &Acl) -> bool {
    let is_address = |text: &str| {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let parts: Vec<Option<u8>> = address.split('.').map(|part| part.parse().ok()).collect();
        parts.len() == 4 && parts.iter().all(Option::is_some) && bits.parse::<u8>().is_ok_and(|bits| bits <= 32)
    };
    match &*one.id.scheme {
        "digest" => one.id.id.split(':').count() == 2,
        "ip" => is_address(&one.id.id),
        _ => is_world(one),
    }
}

/// The list as it is kept, if it is one.
fn kept(acl: &[Acl]) -> Result<Vec<Acl>, ErrorCode> {
    if acl.is_empty() || !acl.iter().all(is_somebody) {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut kept: Vec<Acl> = Vec::new();
    for one in acl {
        if !kept.contains(one) {
            kept.push(one.clone());
        }
    }
    Ok(kept)
}

/// Whether it is the path that is refused. One that ends in a number is looked at as a whole.
fn is_malformed(create: &CreateRequest) -> bool {
    let is_good =
        || if create.flags & 2 == 0 { is_valid(&create.path) } else { is_valid(&format!("{}0", create.path)) };
    (0..=3).contains(&create.flags) && !is_good()
}

impl Node {
    fn stat(&self, children: usize) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime_ms: 0,
            mtime_ms: 0,
            version: self.version,
            cversion: self.came + self.went,
            aversion: self.aversion,
            ephemeral_owner: self.owner,
            data_length: self.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children: children as i32,
            pzxid: self.pzxid,
        }
    }

    /// Who may not change the list is not shown the hashes of passwords.
    fn shown(&self, one: &Acl) -> Acl {
        let mut shown = one.clone();
        if &*one.id.scheme == "digest" && self.permit(Permissions::ADMIN).is_err() {
            let user = one.id.id.split(':').next().unwrap_or_default();
            shown.id = AuthId::new("digest", format!("{user}:x"));
        }
        shown
    }

    fn permit(&self, wanted: Permissions) -> Result<(), ErrorCode> {
        // Clients have no passwords, and are nowhere in particular.
        let is_permitted = self.acl.iter().any(|one| is_world(one) && one.permissions.0 & wanted.0 != 0);
        if is_permitted { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }
}

fn expect(version: i32, wanted: i32) -> Result<(), ErrorCode> {
    if wanted == -1 || wanted == version { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

impl Tree {
    fn names_below<'t>(&'t self, path: &str) -> impl Iterator<Item = &'t str> + use<'t> {
        let prefix = format!("{path}/");
        let from = prefix.clone();
        let below = self.nodes.range(from..).take_while({
            let prefix = prefix.clone();
            move |(path, _)| path.starts_with(&prefix)
        });
        below.map(move |(path, _)| &path[prefix.len()..]).filter(|name| !name.contains('/'))
    }

    fn stat(&self, path: &str) -> Stat {
        self.nodes.get(path).map_or(Stat::default(), |node| node.stat(self.names_below(path).count()))
    }

    fn node(&self, path: &str) -> Result<&Node, ErrorCode> {
        self.nodes.get(path).ok_or(ErrorCode::NoNode)
    }

    /// What is above a root belongs to nobody: it is there, and open.
    fn is_root(path: &str) -> bool {
        parent(path).is_empty()
    }

    fn fire(&mut self, kind: EventKind, path: &str, events: &mut Vec<Due>) {
        let is_watched = match kind {
            EventKind::NodeCreated | EventKind::NodeDataChanged => self.data.remove(path),
            EventKind::NodeChildrenChanged => self.children.remove(path),
            EventKind::NodeDeleted => {
                let (data, children) = (self.data.remove(path), self.children.remove(path));
                data || children
            }
        };
        if is_watched {
            events.push((kind, path.to_owned()));
        }
    }

    fn create(&mut self, create: &CreateRequest, at: At, events: &mut Vec<Due>) -> Result<Done, ErrorCode> {
        let (is_ephemeral, is_sequential) = match create.flags {
            0..=3 => (create.flags & 1 != 0, create.flags & 2 != 0),
            4..=6 => return Err(ErrorCode::Unimplemented),
            _ => return Err(ErrorCode::BadArguments),
        };
        if is_malformed(create) {
            return Err(ErrorCode::BadArguments);
        }
        let acl = kept(&create.acl)?;
        let (mut path, above) = (create.path.to_string(), parent(&create.path).to_owned());
        if !Self::is_root(&path) {
            let above = self.node(&above)?;
            above.permit(Permissions::CREATE)?;
            if is_sequential {
                path = format!("{path}{:010}", above.came);
            }
        }
        if self.nodes.contains_key(&path) {
            return Err(ErrorCode::NodeExists);
        }
        if let Some(above) = self.nodes.get_mut(&above) {
            if above.owner != 0 {
                return Err(ErrorCode::NoChildrenForEphemerals);
            }
            above.came += 1;
            above.pzxid = at.zxid;
        }
        let owner = if is_ephemeral { at.session } else { 0 };
        let (czxid, mzxid, pzxid) = (at.zxid, at.zxid, at.zxid);
        let data = create.data.clone();
        let node = Node { data, acl, czxid, mzxid, pzxid, version: 0, aversion: 0, came: 0, went: 0, owner };
        self.nodes.insert(path.clone(), node);
        self.fire(EventKind::NodeCreated, &path, events);
        self.fire(EventKind::NodeChildrenChanged, &above, events);
        let stat = self.stat(&path);
        Ok(Done::Created(path.into(), stat))
    }

    fn delete(&mut self, path: &str, version: i32, at: At, events: &mut Vec<Due>) -> Result<Done, ErrorCode> {
        if !is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        if !Self::is_root(path) {
            self.node(parent(path))?.permit(Permissions::DELETE)?;
        }
        let node = self.node(path)?;
        expect(node.version, version)?;
        if self.names_below(path).next().is_some() {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(path, at.zxid, events);
        Ok(Done::Deleted)
    }

    fn remove(&mut self, path: &str, zxid: i64, events: &mut Vec<Due>) {
        self.nodes.remove(path);
        if let Some(above) = self.nodes.get_mut(parent(path)) {
            above.went += 1;
            above.pzxid = zxid;
        }
        self.fire(EventKind::NodeDeleted, path, events);
        self.fire(EventKind::NodeChildrenChanged, parent(path), events);
    }

    fn change(
        &mut self,
        path: &str,
        check: impl FnOnce(&Node) -> Result<(), ErrorCode>,
        change: impl FnOnce(&mut Node),
    ) -> Result<Done, ErrorCode> {
        let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
        check(node)?;
        change(node);
        Ok(Done::Changed(self.stat(path)))
    }

    fn set_data(
        &mut self,
        path: &str,
        data: Option<&Bytes>,
        version: i32,
        at: At,
        events: &mut Vec<Due>,
    ) -> Result<Done, ErrorCode> {
        if !is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let check = |node: &Node| node.permit(Permissions::WRITE).and_then(|()| expect(node.version, version));
        let done = self.change(path, check, |node| {
            node.data = data.cloned();
            node.version += 1;
            node.mzxid = at.zxid;
        })?;
        self.fire(EventKind::NodeDataChanged, path, events);
        Ok(done)
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Done, ErrorCode> {
        if !is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let acl = kept(acl)?;
        let check = |node: &Node| node.permit(Permissions::ADMIN).and_then(|()| expect(node.aversion, version));
        self.change(path, check, |node| {
            node.acl = acl;
            node.aversion += 1;
        })
    }

    fn check(&self, path: &str, version: i32) -> Result<Done, ErrorCode> {
        if !is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.node(path)?;
        node.permit(Permissions::READ)?;
        expect(node.version, version).map(|()| Done::Checked)
    }

    fn operation(&mut self, op: &MultiOp, at: At, events: &mut Vec<Due>) -> Result<MultiResult, ErrorCode> {
        let done = match op {
            MultiOp::Create(create) | MultiOp::Create2(create) => self.create(create, at, events),
            MultiOp::Delete { path, version } => self.delete(path, *version, at, events),
            MultiOp::SetData { path, data, version } => self.set_data(path, data.as_ref(), *version, at, events),
            MultiOp::Check { path, version } => self.check(path, *version),
        }?;
        Ok(match (done, op) {
            (Done::Created(path, stat), MultiOp::Create2(_)) => MultiResult::Create2 { path, stat },
            (Done::Created(path, _), _) => MultiResult::Create { path },
            (Done::Changed(stat), _) => MultiResult::SetData { stat },
            (Done::Deleted, _) => MultiResult::Delete,
            (Done::Checked, _) => MultiResult::Check,
        })
    }

    fn multi(&mut self, ops: &[MultiOp], at: At, events: &mut Vec<Due>) -> Response {
        let before = self.clone();
        let mut results = Vec::new();
        for op in ops {
            match self.operation(op, at, events) {
                Ok(result) => results.push(result),
                Err(error) => {
                    *self = before;
                    events.clear();
                    let failed = results.len();
                    let code = |index: usize| match index.cmp(&failed) {
                        std::cmp::Ordering::Less => ErrorCode::Ok,
                        std::cmp::Ordering::Equal => error,
                        std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
                    };
                    return Response::Multi((0..ops.len()).map(|index| MultiResult::Error(code(index))).collect());
                }
            }
        }
        Response::Multi(results)
    }

    /// What of a read's path is known to be wrong: a server may look it up, or see that it can be none.
    fn read<T>(&self, path: &str, read: impl FnOnce(&Node) -> Result<T, ErrorCode>) -> Result<T, Vec<ErrorCode>> {
        match self.nodes.get(path) {
            Some(node) => read(node).map_err(|error| vec![error]),
            None if is_valid(path) => Err(vec![ErrorCode::NoNode]),
            None => Err(vec![ErrorCode::NoNode, ErrorCode::BadArguments]),
        }
    }

    fn children_of(&self, path: &str) -> Vec<Arc<str>> {
        self.names_below(path).map(Arc::from).collect()
    }

    fn get_children(&mut self, path: &str, watch: bool, with_stat: bool) -> Result<Response, Vec<ErrorCode>> {
        self.read(path, |node| node.permit(Permissions::READ))?;
        if watch {
            self.children.insert(path.to_owned());
        }
        let children = self.children_of(path);
        let stat = self.stat(path);
        Ok(if with_stat { Response::Children2 { children, stat } } else { Response::Children { children } })
    }

    fn get_data(&mut self, path: &str, watch: bool) -> Result<Response, Vec<ErrorCode>> {
        let data = self.read(path, |node| node.permit(Permissions::READ).map(|()| node.data.clone()))?;
        if watch {
            self.data.insert(path.to_owned());
        }
        Ok(Response::Data { data, stat: self.stat(path) })
    }

    fn exists(&mut self, path: &str, watch: bool) -> Result<Response, Vec<ErrorCode>> {
        let found = self.read(path, |_| Ok(()));
        if watch && is_valid(path) {
            self.data.insert(path.to_owned());
        }
        found.map(|()| Response::Stat { stat: self.stat(path) })
    }

    fn get_acl(&self, path: &str) -> Result<Response, Vec<ErrorCode>> {
        let either = Permissions(Permissions::READ.0 | Permissions::ADMIN.0);
        let shown = |node: &Node| node.acl.iter().map(|one| node.shown(one)).collect();
        let acl = self.read(path, |node| node.permit(either).map(|()| shown(node)))?;
        Ok(Response::Acl { acl, stat: self.stat(path) })
    }

    fn set_watches(&mut self, again: &SetWatches) -> Vec<Due> {
        let mut events = Vec::new();
        let since = again.relative_zxid.0;
        let mut leave = |kind: Option<EventKind>, path: &Arc<str>, kept: &mut BTreeSet<String>| match kind {
            Some(kind) => events.push((kind, path.to_string())),
            None => drop(kept.insert(path.to_string())),
        };
        let nodes = &self.nodes;
        for path in &again.data {
            let kind = match nodes.get(&**path) {
                None => Some(EventKind::NodeDeleted),
                Some(node) => (node.mzxid > since).then_some(EventKind::NodeDataChanged),
            };
            leave(kind, path, &mut self.data);
        }
        for path in &again.exist {
            leave(nodes.get(&**path).map(|_| EventKind::NodeCreated), path, &mut self.data);
        }
        for path in &again.children {
            let kind = match nodes.get(&**path) {
                None => Some(EventKind::NodeDeleted),
                Some(node) => (node.pzxid > since).then_some(EventKind::NodeChildrenChanged),
            };
            leave(kind, path, &mut self.children);
        }
        events
    }

    /// The connection is gone, and its watches with it.
    pub(super) fn forget_watches(&mut self) {
        self.data.clear();
        self.children.clear();
    }

    /// How the creation of what can be no node is refused: for the path, or for what a server that goes by
    /// the parent's path finds before.
    fn of_malformed(&self, create: &CreateRequest) -> Vec<ErrorCode> {
        let mut codes = vec![ErrorCode::BadArguments];
        if create.path.contains('/') && !create.path.contains('\0') {
            let above = || match self.nodes.get(parent(&create.path)) {
                Some(above) => above.permit(Permissions::CREATE),
                None if Self::is_root(&create.path) => Ok(()),
                None => Err(ErrorCode::NoNode),
            };
            codes.extend(kept(&create.acl).map(drop).and_then(|()| above()).err());
        }
        codes
    }

    fn of_malformed_deletion(&self, path: &str) -> Vec<ErrorCode> {
        let above = self.nodes.get(parent(path)).map_or(Ok(()), |above| above.permit(Permissions::DELETE));
        vec![ErrorCode::BadArguments, above.err().unwrap_or(ErrorCode::NoNode)]
    }

    /// The ephemerals of a session.
    pub(super) fn owned(&self, session: i64) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(move |(_, node)| node.owner == session).map(|(path, _)| path.as_str())
    }

    fn close(&mut self, at: At) -> Vec<Due> {
        let owned: Vec<String> = self.owned(at.session).map(str::to_owned).collect();
        let mut events = Vec::new();
        for path in owned {
            self.remove(&path, at.zxid, &mut events);
        }
        events
    }

    /// What `request` is answered, and what it does. A write is tried with the zxid of its reply.
    pub(super) fn answer(&mut self, request: &Request, at: At) -> Answer {
        let (mut events, mut perhaps) = (Vec::new(), Vec::new());
        let one = |done: Result<Done, ErrorCode>| done.map_err(|error| vec![error]);
        let of_write = |done: Result<Done, ErrorCode>| {
            one(done).map(|done| match done {
                Done::Created(path, _) => Response::Path { path },
                Done::Changed(stat) => Response::Stat { stat },
                Done::Deleted | Done::Checked => Response::Empty,
            })
        };
        let result = match request {
            Request::Create(create) | Request::Create2(create) if is_malformed(create) => {
                Err(self.of_malformed(create))
            }
            Request::Delete { path, .. } if !is_valid(path) => Err(self.of_malformed_deletion(path)),
            Request::Create(create) => of_write(self.create(create, at, &mut events)),
            Request::Create2(create) => one(self.create(create, at, &mut events)).map(|done| match done {
                Done::Created(path, stat) => Response::Created { path, stat },
                _ => Response::Empty,
            }),
            Request::Delete { path, version } => of_write(self.delete(path, *version, at, &mut events)),
            Request::SetData { path, data, version } => {
                of_write(self.set_data(path, data.as_ref(), *version, at, &mut events))
            }
            Request::SetAcl { path, acl, version } => of_write(self.set_acl(path, acl, *version)),
            Request::Multi(ops) => Ok(self.multi(ops, at, &mut events)),
            Request::Exists { path, watch } => self.exists(path, *watch),
            Request::GetData { path, watch } => self.get_data(path, *watch),
            Request::GetAcl { path } => self.get_acl(path),
            Request::GetChildren { path, watch } => self.get_children(path, *watch, false),
            Request::GetChildren2 { path, watch } => self.get_children(path, *watch, true),
            Request::Sync { path } => Ok(Response::Path { path: path.clone() }),
            Request::SetWatches(again) => {
                events = self.set_watches(again);
                Ok(Response::Empty)
            }
            Request::CloseSession => {
                perhaps = self.close(at);
                Ok(Response::Empty)
            }
            Request::Check { .. } => Err(vec![ErrorCode::Unimplemented]),
            Request::Auth(_) => Err(vec![ErrorCode::AuthFailed]),
            Request::Ping => Ok(Response::Empty),
        };
        Answer { result, events, perhaps }
    }
}
