//! `wyrd broker --config FILE`: runs a broker until it is told to stop.

mod config;
mod meta_properties;
mod serve;

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::logging::LogArgs;
use super::settings::Settings;
use super::{node, stop};
use crate::runtime::{Listener, Network};
use config::BrokerSettings;

pub(super) use serve::serve;

/// How it is configured.
#[derive(Args, Debug)]
pub(super) struct BrokerArgs {
    /// A properties file with Kafka's names: broker.id, listeners, log.dirs, zookeeper.connect, …
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, which counts more than the file's
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs a broker.
pub(super) fn execute(args: &BrokerArgs, log: &LogArgs) -> Result<(), Failure> {
    log.start("info")?;
    if args.config.is_none() && args.set.is_empty() {
        let what = "a broker needs a configuration: --config FILE, or --set broker.id=…, log.dirs, listeners and zookeeper.connect";
        return Err(Failure::unusable(what));
    }
    let settings = BrokerSettings::from(&Settings::read(args.config.as_deref(), &args.set)?)?;
    node::block_on(run(settings))
}

async fn run(settings: BrokerSettings) -> Result<(), Failure> {
    let BrokerSettings { config, data_directory } = settings;
    let runtime = node::open(format!("broker-{}", config.id), &data_directory, None)?;
    let foreign = |problem| Failure::unusable(format!("{}: {problem}", data_directory.display()));
    meta_properties::claim(&runtime, config.id).await.map_err(foreign)?;
    let busy = |error| Failure::unusable(format!("cannot listen on {} for clients: {error}", config.listen_address));
    let listener = runtime.listen(&config.listen_address).await.map_err(busy)?;
    let stop = stop::on_signal(&runtime)?;
    tracing::info!(broker = %config.id, clients = %listener.local_address(), "starting");
    serve(runtime, config, listener, stop).await?;
    tracing::info!("stopped");
    Ok(())
}
