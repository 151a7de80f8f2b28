//! A server of the coordinators that a test plays: a tree, one session, and a note of all that it was asked. It
//! sends no watch events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::world::World;
use crate::base::address::Address;
use crate::base::ids::{SessionId, Zxid};
use crate::base::limits::JUTE_BYTES_MAX;
use crate::base::znode::{ErrorCode, Stat};
use crate::broker::shared::lock;
use crate::wire::zookeeper::{
    ConnectRequest, ConnectResponse, CreateRequest, MultiOp, MultiResult, ReplyHeader, Request, RequestHeader,
    Response, put_frame, take_frame,
};

/// The session of every client.
pub const SESSION: i64 = 77;

type Nodes = BTreeMap<Arc<str>, (Bytes, Stat)>;

/// The server. Clones are the same one.
#[derive(Clone, Default)]
pub struct Ensemble(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    nodes: Nodes,
    zxid: i64,
    heard: Vec<String>,
    /// What is refused, and how often.
    refused: Option<(&'static str, usize, ErrorCode)>,
}

impl Ensemble {
    /// One that is reached at `address` of `world`, with an empty tree.
    pub fn start(world: &World, address: Address) -> Self {
        let ensemble = Ensemble::default();
        let server = ensemble.clone();
        world.serve(address, move |stream| server.clone().serve(stream));
        ensemble
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Puts a node into the tree, of the session `owner` or of nobody, 0. Gives its zxid.
    pub fn put(&self, path: &str, data: impl Into<Bytes>, owner: i64) -> i64 {
        let mut state = self.state();
        state.zxid += 1;
        let stat = Stat { czxid: state.zxid, mzxid: state.zxid, ephemeral_owner: owner, ..Stat::default() };
        state.nodes.insert(path.into(), (data.into(), stat));
        state.zxid
    }

    /// Refuses the next request that begins with `what`.
    pub fn refuse_once(&self, what: &'static str, error: ErrorCode) {
        self.state().refused = Some((what, 1, error));
    }

    /// Refuses every request that begins with `what`.
    pub fn refuse_always(&self, what: &'static str, error: ErrorCode) {
        self.state().refused = Some((what, usize::MAX, error));
    }

    /// What it was asked, in order.
    pub fn heard(&self) -> Vec<String> {
        self.state().heard.clone()
    }

    /// Whether it was asked anything that begins with `what`.
    pub fn has_heard(&self, what: &str) -> bool {
        self.state().heard.iter().any(|heard| heard.starts_with(what))
    }

    async fn serve(self, mut stream: DuplexStream) {
        let (mut received, mut is_greeted) = (BytesMut::new(), false);
        while stream.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
            let mut out = Vec::new();
            while let Some(frame) = take_frame(&mut received, JUTE_BYTES_MAX).expect("a frame") {
                if is_greeted {
                    self.answer(frame, &mut out);
                } else {
                    greet(&ConnectRequest::decode(frame).expect("a greeting"), &mut out);
                    is_greeted = true;
                }
            }
            // A client that has gone needs no answer.
            let _ = stream.write_all(&out).await;
        }
    }

    fn answer(&self, mut frame: Bytes, out: &mut Vec<u8>) {
        let header = RequestHeader::take(&mut frame).expect("a header");
        let request = Request::decode(header.op_code, frame).expect("a request");
        let mut state = self.state();
        let result = state.take(&request);
        let (error, zxid) = (result.as_ref().err().copied().unwrap_or(ErrorCode::Ok), Zxid(state.zxid));
        put_frame(out, |out| {
            ReplyHeader { xid: header.xid, zxid, error }.put(out);
            if let Ok(response) = result {
                response.put(out);
            }
        });
    }
}

fn greet(request: &ConnectRequest, out: &mut Vec<u8>) {
    let response = ConnectResponse {
        protocol_version: 0,
        timeout_ms: request.timeout_ms,
        session: SessionId(SESSION),
        password: request.password.clone(),
        read_only: request.read_only,
    };
    put_frame(out, |out| response.put(out));
}

impl State {
    fn take(&mut self, request: &Request) -> Result<Response, ErrorCode> {
        let told = told(request);
        let refused = self.refusal(&told);
        self.heard.push(told);
        match (refused, request) {
            (Some(error), Request::Multi(ops)) => return Ok(Response::Multi(failed(ops.len(), 0, error))),
            (Some(error), _) => return Err(error),
            (None, _) => {}
        }
        let node = |path: &Arc<str>| self.nodes.get(path).cloned().ok_or(ErrorCode::NoNode);
        match request {
            Request::Exists { path, .. } => node(path).map(|(_, stat)| Response::Stat { stat }),
            Request::GetData { path, .. } => node(path).map(|(data, stat)| Response::Data { data: Some(data), stat }),
            Request::GetChildren2 { path, .. } => {
                let name = |node: &Arc<str>| node.strip_prefix(&format!("{path}/")).map(Arc::from);
                let children = self.nodes.keys().filter_map(name).filter(|name: &Arc<str>| !name.contains('/'));
                Ok(Response::Children2 { children: children.collect(), stat: Stat::default() })
            }
            Request::Sync { path } => Ok(Response::Path { path: path.clone() }),
            Request::Ping | Request::CloseSession => Ok(Response::Empty),
            Request::Create(create) => match self.change(&MultiOp::Create(create.clone()))? {
                MultiResult::Create { path } => Ok(Response::Path { path }),
                other => panic!("{other:?}"),
            },
            Request::Delete { path, version } => {
                self.change(&MultiOp::Delete { path: path.clone(), version: *version }).map(|_| Response::Empty)
            }
            Request::SetData { path, data, version } => {
                let set = MultiOp::SetData { path: path.clone(), data: data.clone(), version: *version };
                match self.change(&set)? {
                    MultiResult::SetData { stat } => Ok(Response::Stat { stat }),
                    other => panic!("{other:?}"),
                }
            }
            Request::Multi(ops) => Ok(Response::Multi(self.multi(ops))),
            other => panic!("nobody asks for {other:?}"),
        }
    }

    fn refusal(&mut self, told: &str) -> Option<ErrorCode> {
        let (_, left, error) = self.refused.as_mut().filter(|(what, left, _)| *left > 0 && told.starts_with(what))?;
        *left -= 1;
        Some(*error)
    }

    fn multi(&mut self, ops: &[MultiOp]) -> Vec<MultiResult> {
        let before = self.nodes.clone();
        let mut results = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            match self.change(op) {
                Ok(result) => results.push(result),
                Err(error) => {
                    self.nodes = before;
                    return failed(ops.len(), at, error);
                }
            }
        }
        results
    }

    fn change(&mut self, op: &MultiOp) -> Result<MultiResult, ErrorCode> {
        self.zxid += 1;
        let zxid = self.zxid;
        match op {
            MultiOp::Create(create) => self.create(create).map(|_| MultiResult::Create { path: create.path.clone() }),
            MultiOp::Create2(create) => {
                self.create(create).map(|stat| MultiResult::Create2 { path: create.path.clone(), stat })
            }
            MultiOp::Check { path, version } => self.at(path, *version).map(|_| MultiResult::Check),
            MultiOp::Delete { path, version } => {
                self.at(path, *version)?;
                self.nodes.remove(path);
                Ok(MultiResult::Delete)
            }
            MultiOp::SetData { path, data, version } => {
                let node = self.at(path, *version)?;
                let stat = Stat { mzxid: zxid, version: node.1.version + 1, ..node.1 };
                *node = (data.clone().unwrap_or_default(), stat);
                Ok(MultiResult::SetData { stat })
            }
        }
    }

    fn create(&mut self, create: &CreateRequest) -> Result<Stat, ErrorCode> {
        if self.nodes.contains_key(&create.path) {
            return Err(ErrorCode::NodeExists);
        }
        let owner = if create.flags == 0 { 0 } else { SESSION };
        let stat = Stat { czxid: self.zxid, mzxid: self.zxid, ephemeral_owner: owner, ..Stat::default() };
        self.nodes.insert(create.path.clone(), (create.data.clone().unwrap_or_default(), stat));
        Ok(stat)
    }

    /// The node, if it has this version; -1 is any.
    fn at(&mut self, path: &Arc<str>, version: i32) -> Result<&mut (Bytes, Stat), ErrorCode> {
        let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
        if version == -1 || node.1.version == version { Ok(node) } else { Err(ErrorCode::BadVersion) }
    }
}

/// What a multi of `count` operations gives whose operation `at` failed.
fn failed(count: usize, at: usize, error: ErrorCode) -> Vec<MultiResult> {
    let code = |index: usize| match index.cmp(&at) {
        std::cmp::Ordering::Less => ErrorCode::Ok,
        std::cmp::Ordering::Equal => error,
        std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
    };
    (0..count).map(|index| MultiResult::Error(code(index))).collect()
}

/// A request in words.
fn told(request: &Request) -> String {
    let watched = |what: &str, path: &str, watch: bool| format!("{what} {path}{}", if watch { " watch" } else { "" });
    match request {
        Request::Exists { path, watch } => watched("exists", path, *watch),
        Request::GetData { path, watch } => watched("get", path, *watch),
        Request::GetChildren2 { path, watch } => watched("children", path, *watch),
        Request::Sync { path } => format!("sync {path}"),
        Request::Create(create) => format!("create {}", create.path),
        Request::Delete { path, .. } => format!("delete {path}"),
        Request::SetData { path, .. } => format!("set {path}"),
        Request::Multi(_) => "multi".to_owned(),
        Request::CloseSession => "close".to_owned(),
        other => format!("{:?}", other.op_code()),
    }
}
