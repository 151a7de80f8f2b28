//! The admin client: topics and the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::connection::RequestFailed;
use super::metadata::{ClusterView, TopicView};
use crate::base::address::Address;
use crate::base::ids::{BrokerId, TopicId};
use crate::message;
use crate::runtime::Runtime;
use crate::wire::kafka::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use crate::wire::kafka::messages::delete_topics_request::DeleteTopicState;
use crate::wire::kafka::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, StrBytes, topic_id,
};
use crate::wire::kafka::{ApiKey, ErrorCode, Request, Response};

/// How often a request is sent again to a controller that is not one, or not yet.
const CONTROLLER_ATTEMPTS_MAX: u32 = 20;
/// DeleteTopics names topics one by one from this version on.
const DELETE_BY_STATE_FROM: i16 = 6;

/// A topic to create.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; none for the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; none for the broker's default.
    pub replication_factor: Option<i16>,
    /// The replicas of each partition, the preferred leader first, instead of the two above.
    pub assignment: BTreeMap<i32, Vec<BrokerId>>,
    /// Its configuration, by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// `partitions` partitions with `replication_factor` replicas each.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32, replication_factor: i16) -> Self {
        NewTopic {
            name: name.into(),
            partitions: Some(partitions),
            replication_factor: Some(replication_factor),
            assignment: BTreeMap::new(),
            configs: BTreeMap::new(),
        }
    }

    /// Sets a configuration.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }

    fn to_wire(&self) -> CreatableTopic {
        let assignment = |(index, brokers): (&i32, &Vec<BrokerId>)| {
            message!(CreatableReplicaAssignment {
                partition_index: *index,
                broker_ids: brokers.iter().map(|broker| broker.0).collect(),
            })
        };
        let config = |(name, value): (&String, &String)| {
            message!(CreatableTopicConfig {
                name: StrBytes::from(name.as_str()),
                value: Some(StrBytes::from(value.as_str())),
            })
        };
        let by_count = self.assignment.is_empty();
        message!(CreatableTopic {
            name: StrBytes::from(self.name.as_str()),
            num_partitions: self.partitions.filter(|_| by_count).unwrap_or(-1),
            replication_factor: self.replication_factor.filter(|_| by_count).unwrap_or(-1),
            assignments: self.assignment.iter().map(assignment).collect(),
            configs: self.configs.iter().map(config).collect(),
        })
    }
}

/// Why an admin request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The broker refused; nothing was done.
    #[error("{error}{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Broker {
        /// Why.
        error: ErrorCode,
        /// In the broker's words.
        message: Option<String>,
    },
    /// There is no answer.
    #[error(transparent)]
    Request(#[from] RequestFailed),
}

impl AdminError {
    fn of(error: ErrorCode) -> Self {
        AdminError::Broker { error, message: None }
    }

    /// Whether the request may have taken effect nevertheless.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            AdminError::Broker { error, .. } => {
                matches!(error, ErrorCode::RequestTimedOut | ErrorCode::UnknownServerError)
            }
            AdminError::Request(failed) => failed.is_unknown(),
        }
    }
}

/// The cluster as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The controller, if there is one.
    pub controller: Option<BrokerId>,
    /// The live brokers.
    pub brokers: BTreeMap<BrokerId, Address>,
}

/// Administers a cluster.
pub struct Admin<R: Runtime> {
    cluster: Cluster<R>,
    /// Whom it asks instead of the controller.
    via: Option<Address>,
}

impl<R: Runtime> Admin<R> {
    /// An admin over `cluster`.
    #[must_use]
    pub fn new(cluster: Cluster<R>) -> Self {
        Admin { cluster, via: None }
    }

    /// An admin that asks the broker at `address`, controller or not: any other sends the request on.
    #[must_use]
    pub fn via(cluster: Cluster<R>, address: Address) -> Self {
        Admin { cluster, via: Some(address) }
    }

    /// Creates topics; gives the id of each, or why it was not created. `wait` is how long the
    /// controller may take.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        wait: Duration,
    ) -> Result<BTreeMap<String, Result<TopicId, AdminError>>, AdminError> {
        let request = Request::CreateTopics(message!(CreateTopicsRequest {
            topics: topics.iter().map(NewTopic::to_wire).collect(),
            timeout_ms: millis(wait),
        }));
        let Response::CreateTopics(body) = self.ask_controller(&request).await? else {
            return Err(AdminError::of(ErrorCode::UnknownServerError));
        };
        let result = |code, message: &Option<StrBytes>, id| match ErrorCode::check(code) {
            Ok(()) => Ok(id),
            Err(error) => Err(AdminError::Broker { error, message: message.as_ref().map(|text| text.to_string()) }),
        };
        let result_of = |one: &crate::wire::kafka::messages::create_topics_response::CreatableTopicResult| {
            (one.name.as_str().to_owned(), result(one.error_code, &one.error_message, topic_id(one.topic_id)))
        };
        Ok(body.topics.iter().map(result_of).collect())
    }

    /// Deletes topics by name.
    pub async fn delete_topics(
        &self,
        names: &[String],
        wait: Duration,
    ) -> Result<BTreeMap<String, Result<(), AdminError>>, AdminError> {
        let name = |name: &String| StrBytes::from(name.as_str());
        let state = |topic: &String| message!(DeleteTopicState { name: Some(name(topic)) });
        let timeout_ms = millis(wait);
        let by_state = Request::DeleteTopics(message!(DeleteTopicsRequest {
            topics: names.iter().map(state).collect(),
            timeout_ms: timeout_ms,
        }));
        let by_name = Request::DeleteTopics(message!(DeleteTopicsRequest {
            topic_names: names.iter().map(name).collect(),
            timeout_ms: timeout_ms,
        }));
        let choose = |version: i16| if version >= DELETE_BY_STATE_FROM { &by_state } else { &by_name };
        let Response::DeleteTopics(body) = self.ask_controller_in(ApiKey::DeleteTopics, choose).await? else {
            return Err(AdminError::of(ErrorCode::UnknownServerError));
        };
        let result = |one: &crate::wire::kafka::messages::delete_topics_response::DeletableTopicResult| {
            let name = one.name.as_ref()?.as_str().to_owned();
            let message = one.error_message.as_ref().map(|text| text.to_string());
            Some((name, ErrorCode::check(one.error_code).map_err(|error| AdminError::Broker { error, message })))
        };
        Ok(body.responses.iter().filter_map(result).collect())
    }

    /// The names of all topics.
    pub async fn list_topics(&self) -> Result<Vec<Arc<str>>, AdminError> {
        let view = self.cluster.refresh(None).await?;
        Ok(view.topics.keys().cloned().collect())
    }

    /// Partitions, leaders and in-sync sets of topics, or why a topic cannot be described.
    pub async fn describe_topics(
        &self,
        names: &[Arc<str>],
    ) -> Result<BTreeMap<Arc<str>, Result<TopicView, ErrorCode>>, AdminError> {
        let view = self.cluster.refresh(Some(names)).await?;
        let describe = |name: &Arc<str>| {
            let unknown = || view.errors.get(name).copied().unwrap_or(ErrorCode::UnknownTopicOrPartition);
            (name.clone(), view.topics.get(name).cloned().ok_or_else(unknown))
        };
        Ok(names.iter().map(describe).collect())
    }

    /// The cluster's id, controller and brokers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, AdminError> {
        let request = Request::DescribeCluster(message!(DescribeClusterRequest { endpoint_type: 1 }));
        let Response::DescribeCluster(body) = self.cluster.ask_any(&request).await? else {
            return Err(AdminError::of(ErrorCode::UnknownServerError));
        };
        ErrorCode::check(body.error_code).map_err(AdminError::of)?;
        let address = |port: i32| u16::try_from(port).unwrap_or(0);
        Ok(ClusterDescription {
            cluster_id: body.cluster_id.as_str().to_owned(),
            controller: Some(BrokerId(body.controller_id)).filter(|broker| broker.0 >= 0),
            brokers: body
                .brokers
                .iter()
                .map(|one| (BrokerId(one.broker_id), Address::new(one.host.as_str(), address(one.port))))
                .collect(),
        })
    }

    async fn ask_controller(&self, request: &Request) -> Result<Response, AdminError> {
        self.ask_controller_in(request.api(), |_| request).await
    }

    /// Asks the controller, or any broker while none is known. Sent again only where it cannot
    /// have taken effect: when it was not sent, and when the broker is not the controller.
    async fn ask_controller_in<'a>(
        &self,
        api: ApiKey,
        request: impl Fn(i16) -> &'a Request,
    ) -> Result<Response, AdminError> {
        let mut attempt = 0;
        loop {
            let result = self.ask_controller_once(api, &request).await;
            let retry = match &result {
                Ok(response) => is_not_controller(response),
                Err(failed) => !failed.is_unknown(),
            };
            if !retry || attempt >= CONTROLLER_ATTEMPTS_MAX {
                return Ok(result?);
            }
            self.cluster.runtime().sleep(self.cluster.backoff(attempt)).await;
            attempt += 1;
            // A failure shows in the next attempt.
            let _ = self.cluster.refresh(Some(&[])).await;
        }
    }

    async fn ask_controller_once<'a>(
        &self,
        api: ApiKey,
        request: &impl Fn(i16) -> &'a Request,
    ) -> Result<Response, RequestFailed> {
        let connection = match &self.via {
            Some(address) => self.cluster.connection_to(address).await?,
            None => self.cluster.connection(self.controller().await?).await?,
        };
        let version = connection
            .version(api)
            .ok_or_else(|| RequestFailed::NotSent(format!("the broker does not speak our {api:?}")))?;
        connection.send_version(version, request(version)).await?.await
    }

    /// Who is said to be the controller, or any broker.
    async fn controller(&self) -> Result<BrokerId, RequestFailed> {
        if self.cluster.view().brokers.is_empty() {
            self.cluster.refresh(Some(&[])).await?;
        }
        let view: Arc<ClusterView> = self.cluster.view();
        let broker = view.controller.filter(|broker| view.brokers.contains_key(broker));
        let broker = broker.or_else(|| view.brokers.keys().next().copied());
        broker.ok_or_else(|| RequestFailed::NotSent("no broker is known".to_owned()))
    }
}

fn millis(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}

/// Whether nothing was done because the broker is not the controller.
fn is_not_controller(response: &Response) -> bool {
    let not_controller = ErrorCode::NotController.to_wire();
    match response {
        Response::CreateTopics(body) => body.topics.iter().any(|topic| topic.error_code == not_controller),
        Response::DeleteTopics(body) => body.responses.iter().any(|topic| topic.error_code == not_controller),
        _ => false,
    }
}
