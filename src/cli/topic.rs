//! `wyrd topic`: topics of a cluster. Works with any cluster that speaks Kafka's protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::logging::LogArgs;
use super::node;
use super::output::{self, OutputArgs};
use crate::base::address::Address;
use crate::base::ids::BrokerId;
use crate::client::admin::AdminError;
use crate::client::metadata::{PartitionView, TopicView};
use crate::client::{Admin, ClientConfig, Cluster, NewTopic};
use crate::runtime::timeout;
use crate::runtime::tokio_runtime::TokioRuntime;

/// How long connecting to one broker may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the controller may take to create or delete.
const CONTROLLER_WAIT: Duration = Duration::from_secs(15);
/// How long a whole command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// Creates a topic
    Create(CreateArgs),
    /// Lists the names of all topics
    List(ListArgs),
    /// Shows partitions, leaders and in-sync replicas
    Describe(DescribeArgs),
    /// Deletes topics and their records
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
struct ClusterArgs {
    /// Any broker of the cluster, or several
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    bootstrap: Vec<Address>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// The topic's name
    name: String,
    /// How many partitions; the broker's default unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each; the broker's default unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the topic, such as min.insync.replicas=2
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = setting)]
    configs: Vec<(String, String)>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Args, Debug)]
pub(super) struct DescribeArgs {
    /// Which topics; all of them unless given
    names: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Args, Debug)]
pub(super) struct DeleteArgs {
    /// Which topics
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Does it.
pub(super) fn execute(command: &TopicCommand, log: &LogArgs) -> Result<(), Failure> {
    log.start("warn")?;
    node::block_on(async {
        let runtime = node::client()?;
        let late =
            |_| Failure::failed(format!("not done within {} s; it may still take effect", COMMAND_TIMEOUT.as_secs()));
        timeout(&runtime, COMMAND_TIMEOUT, execute_on(&runtime, command)).await.map_err(late)?
    })
}

async fn execute_on(runtime: &TokioRuntime, command: &TopicCommand) -> Result<(), Failure> {
    match command {
        TopicCommand::Create(args) => create(&args.cluster.connect(runtime).await?, args).await,
        TopicCommand::List(args) => list(&args.cluster.connect(runtime).await?, args).await,
        TopicCommand::Describe(args) => describe(&args.cluster.connect(runtime).await?, args).await,
        TopicCommand::Delete(args) => delete(&args.cluster.connect(runtime).await?, args).await,
    }
}

impl ClusterArgs {
    async fn connect(&self, runtime: &TokioRuntime) -> Result<Admin<TokioRuntime>, Failure> {
        let config = ClientConfig { connect_timeout: CONNECT_TIMEOUT, ..ClientConfig::default() };
        let cluster = Cluster::new(runtime.clone(), self.bootstrap.clone(), config);
        let tried = self.bootstrap.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let silent = |error| Failure::unusable(format!("no broker answers at {tried}: {error}"));
        cluster.refresh(Some(&[])).await.map_err(silent)?;
        Ok(Admin::new(cluster))
    }
}

#[derive(Serialize)]
struct Created<'a> {
    name: &'a str,
    id: String,
}

async fn create(admin: &Admin<TokioRuntime>, args: &CreateArgs) -> Result<(), Failure> {
    let topic = NewTopic {
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        configs: args.configs.iter().cloned().collect(),
        assignment: BTreeMap::new(),
        name: args.name.clone(),
    };
    let mut results =
        admin.create_topics(&[topic], CONTROLLER_WAIT).await.map_err(|error| about(&args.name, &error))?;
    let result = results.remove(&args.name).ok_or_else(|| Failure::failed(format!("{}: no answer", args.name)))?;
    let id = result.map_err(|error| about(&args.name, &error))?.to_string();
    let created = Created { name: &args.name, id };
    args.cluster.output.print(&created, |created| format!("created {} with id {}", created.name, created.id))
}

async fn list(admin: &Admin<TokioRuntime>, args: &ListArgs) -> Result<(), Failure> {
    let names = admin.list_topics().await.map_err(Failure::failed)?;
    args.cluster.output.print(&names, |names| names.iter().map(|name| format!("{name}\n")).collect())
}

#[derive(Serialize)]
struct Deleted<'a> {
    deleted: &'a [String],
}

async fn delete(admin: &Admin<TokioRuntime>, args: &DeleteArgs) -> Result<(), Failure> {
    let results = admin.delete_topics(&args.names, CONTROLLER_WAIT).await.map_err(Failure::failed)?;
    let refused = results.iter().filter_map(|(name, result)| Some(format!("{name}: {}", result.as_ref().err()?)));
    let refused: Vec<String> = refused.collect();
    if !refused.is_empty() {
        return Err(Failure::failed(refused.join("; ")));
    }
    let text = |deleted: &Deleted<'_>| deleted.deleted.iter().map(|name| format!("deleted {name}\n")).collect();
    args.cluster.output.print(&Deleted { deleted: &args.names }, text)
}

#[derive(Serialize)]
struct Topic {
    name: Arc<str>,
    id: String,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct Partition {
    partition: i32,
    leader: Option<BrokerId>,
    leader_epoch: i32,
    replicas: Vec<BrokerId>,
    in_sync: Vec<BrokerId>,
}

async fn describe(admin: &Admin<TokioRuntime>, args: &DescribeArgs) -> Result<(), Failure> {
    let names: Vec<Arc<str>> = if args.names.is_empty() {
        admin.list_topics().await.map_err(Failure::failed)?
    } else {
        args.names.iter().map(|name| name.as_str().into()).collect()
    };
    let mut topics = Vec::new();
    for (name, described) in admin.describe_topics(&names).await.map_err(Failure::failed)? {
        let view = described.map_err(|error| Failure::failed(format!("{name}: {error}")))?;
        topics.push(topic(name, &view));
    }
    args.cluster.output.print(&topics, |topics| text(topics))
}

fn topic(name: Arc<str>, view: &TopicView) -> Topic {
    let partition = |(&partition, view): (&i32, &PartitionView)| Partition {
        partition,
        leader: view.leader,
        leader_epoch: view.leader_epoch.0,
        replicas: view.replicas.clone(),
        in_sync: view.in_sync.clone(),
    };
    Topic { name, id: view.id.to_string(), partitions: view.partitions.iter().map(partition).collect() }
}

fn text(topics: &[Topic]) -> String {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let heads = ["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for topic in topics {
        rows.extend(topic.partitions.iter().map(|partition| {
            vec![
                topic.name.to_string(),
                partition.partition.to_string(),
                partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
                partition.leader_epoch.to_string(),
                ids(&partition.replicas),
                ids(&partition.in_sync),
            ]
        }));
    }
    output::table(&rows)
}

fn about(name: &str, error: &AdminError) -> Failure {
    let unknown = if error.is_unknown() { "; it may have taken effect nevertheless" } else { "" };
    Failure::failed(format!("{name}: {error}{unknown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_leader_is_shown_as_such() {
        let partition = Partition {
            partition: 0,
            leader: None,
            leader_epoch: 3,
            replicas: vec![BrokerId(1), BrokerId(2)],
            in_sync: vec![BrokerId(2)],
        };
        let topic = Topic { name: "t".into(), id: String::new(), partitions: vec![partition] };
        let expected =
            "TOPIC  PARTITION  LEADER  EPOCH  REPLICAS  IN SYNC\nt      0          none    3      1,2       2\n";
        assert_eq!(text(&[topic]), expected);
    }

    #[test]
    fn a_setting_needs_a_value() {
        assert_eq!(setting("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(setting("a").is_err());
    }
}
