//! What a broker does from time to time for its partitions: in-sync checks, checkpoints of high
//! watermarks, retention.

use crate::base::event::Event;
use crate::base::plants::Plant;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint;
use super::partitions::Partitions;
use super::shared::Shared;
use crate::base::ids::TopicPartition;
use crate::log::LogError;
use crate::replication::Input;
use crate::runtime::Runtime;

/// Has leaders look for followers that lag, twice in `replica.lag.time.max.ms`, and say unanswered
/// proposals again.
pub(super) async fn check_in_sync<R: Runtime>(shared: Arc<Shared<R>>, partitions: Partitions<R>) {
    loop {
        shared.runtime.sleep(shared.config.replica_lag_max / 2).await;
        let index = partitions.index();
        index.all().filter(|one| one.view(|core| core.replica.leads())).for_each(|one| one.tell(Input::InSyncCheck));
    }
}

/// Writes down the high watermarks when they have changed.
pub(super) async fn checkpoint_high_watermarks<R: Runtime>(shared: Arc<Shared<R>>, partitions: Partitions<R>) {
    let mut written = None;
    loop {
        shared.runtime.sleep(shared.config.checkpoint_interval).await;
        let high_watermarks = high_watermarks(&partitions);
        if written.as_ref() == Some(&high_watermarks) {
            continue;
        }
        let done = checkpoint::write(&shared.runtime, &shared.config.log_directory, &high_watermarks).await;
        if let Err(error) = done {
            return shared.fail_for_log(error.to_string(), &error);
        }
        written = Some(high_watermarks);
    }
}

/// Writes down the high watermarks as they are.
pub(super) async fn checkpoint_now<R: Runtime>(shared: &Shared<R>, partitions: &Partitions<R>) -> Result<(), LogError> {
    checkpoint::write(&shared.runtime, &shared.config.log_directory, &high_watermarks(partitions)).await
}

fn high_watermarks<R: Runtime>(partitions: &Partitions<R>) -> BTreeMap<TopicPartition, i64> {
    let mut high_watermarks = partitions.disk_logs().unadopted_high_watermarks();
    let index = partitions.index();
    let of =
        |one: &Arc<super::partition::Partition<R>>| (one.name.clone(), one.view(|core| core.replica.high_watermark()));
    high_watermarks.extend(index.all().map(of));
    high_watermarks
}

/// Has leaders remove what retention no longer keeps; followers follow their leader's log start.
pub(super) async fn retain<R: Runtime>(shared: Arc<Shared<R>>, partitions: Partitions<R>) {
    loop {
        shared.runtime.sleep(shared.config.retention_interval).await;
        for partition in partitions.index().all() {
            partition.section(|section| {
                let core = &mut *section.core;
                let start = core.log.retention_start(core.replica.high_watermark());
                if let Some(start) = start.filter(|_| core.replica.leads()) {
                    if start > core.replica.high_watermark() {
                        shared.runtime.observe(|| Event::PlantTaken(Plant::Kafka5634));
                    }
                    core.work.order_advance(start);
                }
            });
        }
    }
}
