//! From a directory and a configuration to a running server.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::clients::Clients;
use super::connection;
use super::{INBOX_INPUTS_MAX, Inbox, Input, Server};
use crate::base::address::Address;
use crate::base::ids::ServerId;
use crate::base::stop_cause::StopCause;
use crate::consensus::{self, BadRecovery, Consensus, Fault, Position, Recovered, Standing, Voters};
use crate::coordinator::config::Config;
use crate::coordinator::peers::{self, Link, Peer};
use crate::coordinator::storage::{self, Format, Opened, Storage, StorageError};
use crate::coordinator::tree::{Tree, Watches, snapshot};
use crate::runtime::{Runtime, watch};

/// Why a coordinator server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// Another process uses the directory.
    #[error("the data directory is in use by another process: stop that one, or choose another directory")]
    Locked(#[source] io::Error),
    /// Its disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A snapshot that was durable cannot be read.
    #[error("the snapshot is damaged: {0}; remove this server's data directory and let it catch up from the others")]
    Snapshot(#[from] snapshot::BadSnapshot),
    /// What the disk holds is no state that a server can be in.
    #[error(transparent)]
    Recovery(#[from] BadRecovery),
    /// A port cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: Address,
        /// What the operating system said.
        error: io::Error,
    },
    /// The server is not in its own ensemble.
    #[error("server {0} is not a member of its own ensemble")]
    NotAMember(ServerId),
    /// Consensus saw what must never happen.
    #[error("stopped: {0}")]
    Fault(Fault),
    /// An entry that was committed cannot be understood.
    #[error(
        "stopped: the committed entry {index} cannot be decoded: {problem}; is this version older than the others?"
    )]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl CoordinatorError {
    /// What made the server stop.
    #[must_use]
    pub fn stop_cause(&self) -> StopCause {
        match self {
            CoordinatorError::Storage(error) => error.stop_cause(),
            CoordinatorError::Snapshot(_) | CoordinatorError::Recovery(_) => StopCause::Damage { path: None },
            _ => StopCause::Other,
        }
    }
}

/// The sockets of a server. Bound before it starts, so that ports can be chosen freely.
pub struct Listeners<R: Runtime> {
    /// For the other servers.
    pub peers: R::Listener,
    /// For clients.
    pub clients: R::Listener,
}

impl<R: Runtime> Listeners<R> {
    /// Binds the addresses that the ensemble names for this server.
    pub async fn bind(runtime: &R, config: &Config) -> Result<Self, CoordinatorError> {
        let own = config.own().ok_or(CoordinatorError::NotAMember(config.id))?;
        let peers = listen(runtime, &own.peer_address).await?;
        let clients = listen(runtime, &own.client_address).await?;
        Ok(Listeners { peers, clients })
    }
}

async fn listen<R: Runtime>(runtime: &R, address: &Address) -> Result<R::Listener, CoordinatorError> {
    let failed = |error| CoordinatorError::Listen { address: address.clone(), error };
    runtime.listen(address).await.map_err(failed)
}

/// Formats an empty directory for `server`: once, when the ensemble is made, or as a replacement
/// for a lost disk. A replacement catches up and serves, but never votes.
pub async fn format<R: Runtime>(runtime: &R, server: ServerId, replacement: bool) -> Result<(), CoordinatorError> {
    runtime.lock().map_err(CoordinatorError::Locked)?;
    Ok(Format::write(runtime, server, replacement).await.map_err(StorageError::from)?)
}

/// Whether the directory is `server`'s own and no other process uses it. [`run`] checks the same;
/// this says it before a port is taken.
pub async fn check<R: Runtime>(runtime: &R, server: ServerId) -> Result<(), CoordinatorError> {
    runtime.lock().map_err(CoordinatorError::Locked)?;
    Format::read(runtime, server).await.map_err(StorageError::from)?;
    Ok(())
}

/// Runs a server until `stop` becomes true or it fails.
pub async fn run<R: Runtime>(
    runtime: R,
    config: Config,
    listeners: Listeners<R>,
    stop: watch::Receiver<bool>,
) -> Result<(), CoordinatorError> {
    runtime.lock().map_err(CoordinatorError::Locked)?;
    let format = Format::read(&runtime, config.id).await.map_err(StorageError::from)?;
    let opened = Storage::open(runtime.clone(), config.log_roll_bytes).await?;
    let (inbox, inputs) = mpsc::channel(INBOX_INPUTS_MAX);
    let (mut server, storage, batches) = recover(&runtime, config, format, opened)?;
    let mut tasks = vec![
        runtime.spawn("storage", storage::work(storage, batches, inbox.clone())),
        runtime.spawn("stop", forward_stop(stop, inbox.clone())),
        runtime.spawn("accept clients", connection::accept_all(runtime.clone(), listeners.clients, inbox.clone())),
        runtime.spawn(
            "accept peers",
            peers::accept_all(runtime.clone(), server.config.id, listeners.peers, inbox.clone()),
        ),
    ];
    tasks.extend(link_peers(&mut server, inbox));
    // The tasks are cancelled with their handles, which are dropped when the server has ended.
    server.serve(inputs).await
}

async fn forward_stop(mut stop: watch::Receiver<bool>, inbox: Inbox) {
    if stop.wait_for(|stop| *stop).await.is_ok() {
        // If the server is gone already, there is nothing left to stop.
        let _ = inbox.send(Input::Stop).await;
    }
}

/// Takes the last handle of the inbox but those of the tasks.
fn link_peers<R: Runtime>(server: &mut Server<R>, inbox: Inbox) -> Vec<R::Task> {
    let own = server.config.id;
    let others: Vec<_> = server.config.ensemble.iter().filter(|member| member.id != own).cloned().collect();
    let link = |member: crate::coordinator::config::Member| {
        let link = Arc::new(Link::default());
        server.links.insert(member.id, link.clone());
        let peer = Peer { own, id: member.id, address: member.peer_address };
        server.runtime.spawn("peer writer", peers::keep_linked(server.runtime.clone(), peer, link, inbox.clone()))
    };
    others.into_iter().map(link).collect()
}

pub(super) type Recovery<R> = (Server<R>, Storage<R>, mpsc::Receiver<Vec<storage::StorageOp>>);

pub(super) fn recover<R: Runtime>(
    runtime: &R,
    config: Config,
    format: Format,
    opened: Opened<R>,
) -> Result<Recovery<R>, CoordinatorError> {
    let (position, tree) = match opened.snapshot {
        Some((position, bytes)) => (position, snapshot::decode(bytes)?),
        None => (Position::ZERO, Tree::new()),
    };
    if opened.torn_bytes > 0 {
        tracing::info!(bytes = opened.torn_bytes, "cut a torn tail of the log");
    }
    let recovered = Recovered {
        hard_state: opened.log.hard_state,
        snapshot: position,
        log_base: opened.log.base,
        entries: opened.log.entries.into(),
    };
    let standing = if format.is_replacement() { Standing::Blank } else { Standing::Member };
    let plants = config.plants.for_runtime(R::PLANTS);
    let consensus = Consensus::recover(consensus_config(runtime, &config, plants)?, standing, recovered)?;
    let (storage, batches) = mpsc::channel(1);
    let server = Server {
        runtime: runtime.clone(),
        plants,
        config,
        consensus,
        effects: Vec::new(),
        timers: BTreeMap::new(),
        tree,
        applied: position,
        snapshot_index: position.index,
        bytes_since_snapshot: 0,
        links: BTreeMap::new(),
        storage,
        storage_ops: Vec::new(),
        storage_busy: false,
        clients: Clients::default(),
        watches: Watches::default(),
        next_number: runtime.random_u64("request numbers"),
        waiting: BTreeMap::new(),
        reads: BTreeMap::new(),
        proposals: Vec::new(),
        proposers: BTreeMap::new(),
        leadership: None,
        touched: BTreeSet::new(),
        next_housekeeping: runtime.now(),
        failure: None,
        stopping: false,
    };
    Ok((server, opened.storage, batches))
}

fn consensus_config<R: Runtime>(
    runtime: &R,
    config: &Config,
    plants: crate::base::plants::Plants,
) -> Result<consensus::Config, BadRecovery> {
    let voters = Voters::new(config.ensemble.iter().map(|member| member.id))?;
    let incarnation = runtime.random_u64("consensus incarnation");
    let mut own = consensus::Config::new(config.id, voters, incarnation);
    own.timing = config.timing;
    own.limits = config.limits;
    own.plants = plants;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::plants::Plants;
    use crate::consensus::{Limits, Timing};
    use crate::coordinator::config::Member;
    use crate::coordinator::storage::FormatError;
    use crate::coordinator::test_runtime::TestRuntime;
    use crate::runtime::test_disk::now;

    #[test]
    fn a_directory_that_is_not_the_server_s_own_or_is_in_use_is_found_by_the_check() {
        let (runtime, server) = (TestRuntime::default(), ServerId(1));
        let missing = now(check(&runtime, server));
        assert!(matches!(missing, Err(CoordinatorError::Storage(StorageError::Format(FormatError::Missing)))));
        now(format(&runtime, server, false)).expect("formats");
        assert!(now(check(&runtime, server)).is_ok());
        runtime.lock_for_another();
        assert!(matches!(now(check(&runtime, server)), Err(CoordinatorError::Locked(_))));
    }

    #[test]
    fn consensus_waits_and_holds_as_long_and_as_much_as_the_configuration_says() {
        let address = Address::new("here", 1);
        let own = Member { id: ServerId(1), peer_address: address.clone(), client_address: address };
        let mut config = Config::new(ServerId(1), vec![own]);
        config.timing = Timing { heartbeat: Duration::from_millis(7), ..config.timing };
        config.limits = Limits { trailing_entries: 7, ..config.limits };
        let own = consensus_config(&TestRuntime::default(), &config, Plants::NONE).expect("a valid ensemble");
        assert_eq!((own.timing, own.limits), (config.timing, config.limits));
    }
}
