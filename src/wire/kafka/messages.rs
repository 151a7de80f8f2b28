//! The bodies of requests and responses, under the names of Kafka's own schemas.
//!
//! Top-level messages are here by name; the structs inside one are in the module of that message,
//! such as [`metadata_response::MetadataResponsePartition`]. The structs may grow with the
//! protocol, so they are built by [`message!`](crate::message) instead of a struct literal:
//! fields that are not given have the schema's defaults.

pub use kafka_wire::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeClusterRequest, DescribeClusterResponse, FetchRequest, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse,
};
pub use kafka_wire::{
    api_versions_request, api_versions_response, create_topics_request, create_topics_response, delete_topics_request,
    delete_topics_response, describe_cluster_request, describe_cluster_response, fetch_request,
    find_coordinator_request, find_coordinator_response, init_producer_id_request, init_producer_id_response,
    list_offsets_request, list_offsets_response, metadata_request, metadata_response, offset_for_leader_epoch_request,
    offset_for_leader_epoch_response, produce_request, produce_response,
};
pub use kafka_wire_core::{StrBytes, Uuid};

use crate::base::ids::TopicId;

/// Builds a message with the given fields and the schema's defaults for the others:
/// `message!(MetadataRequest { topics: None, allow_auto_topic_creation: true })`.
#[macro_export]
macro_rules! message {
    ($message:ty { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        #[allow(unused_mut, clippy::field_reassign_with_default)]
        let message = {
            let mut message = <$message>::default();
            $(message.$field = $crate::message!(@value $field $($value)?);)*
            message
        };
        message
    }};
    (@value $field:ident $value:expr) => { $value };
    (@value $field:ident) => { $field };
}

/// A topic id as messages carry it.
#[must_use]
pub fn uuid(topic: TopicId) -> Uuid {
    Uuid::from_bytes(topic.0)
}

/// A topic id as the rest of the project knows it.
#[must_use]
pub fn topic_id(uuid: Uuid) -> TopicId {
    TopicId(uuid.to_bytes())
}
