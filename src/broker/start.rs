//! From a directory and a configuration to a serving broker, and back.
//!
//! Starting: the disk is locked, the clean shutdown's marker taken, every log opened; then the
//! cluster plane registers and clients are served. Stopping: the cluster plane moves leadership
//! away, then nothing is appended any more, every log is made durable, and the marker is written
//! last. A broker that fails leaves no marker. Both a stop and a failure are heard at any time, also
//! while the broker waits to be registered.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::boot;
use super::config::Config;
use super::connection;
use super::disk_logs::{DiskLogs, io_error};
use super::partitions::Partitions;
use super::server::{ClusterApi, Server};
use super::shared::{Failure, PartitionProposal, Shared};
use super::ticks;
use crate::base::address::Address;
use crate::base::event::Event;
use crate::base::plants::Plant;
use crate::base::stop_cause::StopCause;
use crate::log::{LogError, clean_shutdown};
use crate::runtime::{Either, Listener, Runtime, Task, select, timeout, watch};

/// How long moving leadership away may take before the broker stops without.
const CONTROLLED_SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// Why a broker did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Another process uses the directory.
    #[error("the data directory is in use by another process: stop that one, or choose another directory")]
    Locked(#[source] io::Error),
    /// A log or its disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The cluster plane could not start.
    #[error("cannot join the cluster: {0}")]
    Cluster(String),
    /// Going on could have lost what was promised.
    #[error("stopped: {reason}")]
    Failed {
        /// For the operator.
        reason: String,
        /// The same as a type.
        cause: StopCause,
    },
}

impl BrokerError {
    /// What made the broker stop.
    #[must_use]
    pub fn stop_cause(&self) -> StopCause {
        match self {
            BrokerError::Log(error) => error.stop_cause(),
            BrokerError::Failed { cause, .. } => cause.clone(),
            // All that can keep it from joining is what its disk says of it.
            BrokerError::Cluster(_) => StopCause::Disk,
            BrokerError::Locked(_) => StopCause::Other,
        }
    }
}

/// The cluster plane of a running broker.
pub trait ClusterPlane: ClusterApi {
    /// Moves leadership away from this broker and ends its registration.
    fn stop(&self) -> impl Future<Output = ()> + Send;
}

/// What the cluster plane starts from.
pub struct Foundation<R: Runtime> {
    /// What all tasks share.
    pub shared: Arc<Shared<R>>,
    /// Where metadata goes.
    pub partitions: Partitions<R>,
    /// Proposals of leaders, to be carried to the controller.
    pub proposals: mpsc::Receiver<PartitionProposal>,
    /// Whether everything that this broker had written is there.
    pub clean: bool,
    /// Where others reach this broker.
    pub advertised: Address,
}

/// Runs a broker on `listener` until `stop` becomes true or it fails. `join` starts its cluster
/// plane once all logs are open.
pub async fn run_with<R, C, J>(
    runtime: R,
    config: Config,
    listener: R::Listener,
    mut stop: watch::Receiver<bool>,
    join: impl FnOnce(Foundation<R>) -> J + Send,
) -> Result<(), BrokerError>
where
    R: Runtime,
    C: ClusterPlane,
    J: Future<Output = Result<C, String>> + Send,
{
    runtime.lock().map_err(BrokerError::Locked)?;
    let (shared, proposals, mut failed) = Shared::new(runtime, config);
    let opening = open_logs(&shared).await;
    if opening.as_ref().is_err_and(LogError::may_have_lost_writes) {
        boot::forget(&shared.runtime, &shared.config.log_directory).await;
    }
    let partitions = opening?;
    let clean = partitions.disk_logs().is_clean();
    let advertised = advertised(&shared.config, listener.local_address());
    let foundation =
        Foundation { shared: shared.clone(), partitions: partitions.clone(), proposals, clean, advertised };
    let joined = {
        let ends = select(failed.recv(), asked_to_stop(&mut stop));
        select(ends, join(foundation)).await
    };
    match joined {
        Either::First(Either::First(failure)) => Err(fail(&shared, failure).await),
        Either::First(Either::Second(())) => give_up(&shared, &partitions, clean).await,
        Either::Second(cluster) => {
            let cluster = cluster.map_err(BrokerError::Cluster)?;
            Broker { shared, partitions, cluster }.serve(listener, stop, failed).await
        }
    }
}

/// A stop that can no longer be asked for never comes.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The broker must stop. Where writes may be lost for it, the next start must not take what it
/// finds for whole.
async fn fail<R: Runtime>(shared: &Shared<R>, failure: Option<Failure>) -> BrokerError {
    let Failure { reason, lost_writes, cause } = failure.unwrap_or_default();
    if lost_writes {
        boot::forget(&shared.runtime, &shared.config.log_directory).await;
    }
    BrokerError::Failed { reason, cause }
}

/// Stops before it has joined. It says that it stopped cleanly if it was found so, or if it was
/// registered: then everybody has heard how it was found.
async fn give_up<R: Runtime>(
    shared: &Shared<R>,
    partitions: &Partitions<R>,
    found_clean: bool,
) -> Result<(), BrokerError> {
    partitions.close().await;
    if found_clean || shared.broker_epoch.borrow().is_some() {
        shut_down(shared, partitions).await?;
    }
    Ok(())
}

/// Leaves nothing to do for the next start; the marker comes last.
async fn shut_down<R: Runtime>(shared: &Shared<R>, partitions: &Partitions<R>) -> Result<(), BrokerError> {
    for partition in partitions.index().all() {
        partition.shut_down().await?;
    }
    ticks::checkpoint_now(shared, partitions).await?;
    clean_shutdown::write_marker(&shared.runtime, &shared.config.log_directory).await?;
    Ok(())
}

/// As configured; else the host it was told to listen on, with the port that was chosen.
fn advertised(config: &Config, listening: &Address) -> Address {
    let chosen = || Address::new(config.listen_address.host.clone(), listening.port);
    config.advertised_address.clone().unwrap_or_else(chosen)
}

async fn open_logs<R: Runtime>(shared: &Arc<Shared<R>>) -> Result<Partitions<R>, LogError> {
    let root = &shared.config.log_directory;
    shared.runtime.create_directories(root).map_err(io_error(root, "create"))?;
    let stopped_cleanly = clean_shutdown::take_marker(&shared.runtime, root).await?;
    if stopped_cleanly && shared.plants.is(Plant::Kafka10471) {
        shared.runtime.observe(|| Event::PlantTaken(Plant::Kafka10471));
        clean_shutdown::write_marker(&shared.runtime, root).await?;
    }
    let same_boot = boot::is_same(&shared.runtime, root).await.map_err(io_error(root, "read the boot in"))?;
    let disk_logs = DiskLogs::open(shared.clone(), stopped_cleanly, same_boot).await?;
    if same_boot && !disk_logs.is_clean() {
        // What was cut is not found again: should this life end before it is registered, the next one
        // would take what is left for whole.
        boot::forget(&shared.runtime, root).await;
    }
    Ok(Partitions::new(shared.clone(), disk_logs))
}

struct Broker<R: Runtime, C> {
    shared: Arc<Shared<R>>,
    partitions: Partitions<R>,
    cluster: C,
}

impl<R: Runtime, C: ClusterPlane> Broker<R, C> {
    async fn serve(
        self,
        listener: R::Listener,
        mut stop: watch::Receiver<bool>,
        mut failed: mpsc::Receiver<Failure>,
    ) -> Result<(), BrokerError> {
        let (shared, partitions) = (&self.shared, &self.partitions);
        let closing = watch::Sender::new(false);
        let (cluster, to_server) = (self.cluster.clone(), partitions.clone());
        let server = Arc::new(Server { shared: shared.clone(), partitions: to_server, cluster });
        let ticks = [
            shared.runtime.spawn("in-sync checks", ticks::check_in_sync(shared.clone(), partitions.clone())),
            shared.runtime.spawn("retention", ticks::retain(shared.clone(), partitions.clone())),
        ];
        let checkpoints = ticks::checkpoint_high_watermarks(shared.clone(), partitions.clone());
        let checkpoints = shared.runtime.spawn("checkpoints", checkpoints);
        let clients = connection::accept_all(server, listener, connection::CONNECTIONS_MAX, closing.subscribe());
        let clients = shared.runtime.spawn("accept clients", clients);
        let orderly = async {
            asked_to_stop(&mut stop).await;
            self.leave(&closing).await?;
            ticks.iter().for_each(Task::cancel);
            checkpoints.cancel();
            checkpoints.await;
            shut_down(&self.shared, &self.partitions).await
        };
        let ended = match select(failed.recv(), orderly).await {
            Either::First(failure) => Err(fail(shared, failure).await),
            Either::Second(ended) => ended,
        };
        closing.send_replace(true);
        clients.cancel();
        ended
    }

    /// Leaves the cluster while clients are still served, then takes nothing in any more.
    async fn leave(&self, closing: &watch::Sender<bool>) -> Result<(), BrokerError> {
        if timeout(&self.shared.runtime, CONTROLLED_SHUTDOWN_MAX, self.cluster.stop()).await.is_err() {
            tracing::warn!("leadership could not be moved away in time");
        }
        closing.send_replace(true);
        self.partitions.close().await;
        Ok(())
    }
}
