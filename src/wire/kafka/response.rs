//! Responses as a server sends them: a typed response in, frame parts out.
//!
//! A Fetch response gives its records as the slices that were put into it (see [`super::fetch`]);
//! every other response is one slice.

use bytes::{BufMut, BytesMut};
use kafka_wire_core::{ApiVersion, EncodeError, KafkaEncode};

use super::api::ApiKey;
use super::error::ErrorCode;
use super::fetch::FetchResponse;
use super::header::encode_response_header;
use super::messages::api_versions_response::ApiVersion as ApiVersionEntry;
use super::messages::*;
use crate::message;
use crate::wire::frame::{FrameQueue, PREFIX_BYTES};
use crate::wire::private::PrivateResponse;

/// Most frames are no longer, so that their buffer is made once.
pub(crate) const FRAME_BYTES_USUAL: usize = 512;

/// Why a message of ours cannot be put on the wire: a field that its version cannot carry, or a
/// length beyond what a prefix can say. Our own mistake, or a response that grew too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} version {version} cannot be encoded: {reason}")]
pub struct CannotEncode {
    /// Which message.
    pub what: &'static str,
    /// In which version.
    pub version: i16,
    /// Why not.
    pub reason: String,
}

impl CannotEncode {
    pub(crate) fn new(what: &'static str, version: i16, error: &EncodeError) -> Self {
        CannotEncode { what, version, reason: error.to_string() }
    }
}

macro_rules! responses {
    ($($api:ident($message:ident)),* $(,)?) => {
        /// The body of a response.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // Each variant is the API of its name, see `ApiKey`.
        pub enum Response {
            Fetch(FetchResponse),
            $($api($message),)*
            Private(PrivateResponse),
        }

        impl Response {
            /// Which API it belongs to.
            #[must_use]
            pub fn api(&self) -> ApiKey {
                match self {
                    Response::Fetch(_) => ApiKey::Fetch,
                    $(Response::$api(_) => ApiKey::$api,)*
                    Response::Private(_) => ApiKey::Private,
                }
            }

            fn encode_body(&self, version: i16, buffer: &mut BytesMut) -> Result<(), CannotEncode> {
                match self {
                    Response::Fetch(_) => unreachable!("Fetch is encoded around its records"),
                    $(Response::$api(message) => encode_message(ApiKey::$api.name(), message, version, buffer),)*
                    Response::Private(message) => {
                        message.encode(buffer);
                        Ok(())
                    }
                }
            }
        }

        $(impl From<$message> for Response {
            fn from(message: $message) -> Self {
                Response::$api(message)
            }
        })*
    };
}

responses! {
    Produce(ProduceResponse),
    ListOffsets(ListOffsetsResponse),
    Metadata(MetadataResponse),
    FindCoordinator(FindCoordinatorResponse),
    ApiVersions(ApiVersionsResponse),
    CreateTopics(CreateTopicsResponse),
    DeleteTopics(DeleteTopicsResponse),
    InitProducerId(InitProducerIdResponse),
    OffsetForLeaderEpoch(OffsetForLeaderEpochResponse),
    DescribeCluster(DescribeClusterResponse),
}

impl From<FetchResponse> for Response {
    fn from(message: FetchResponse) -> Self {
        Response::Fetch(message)
    }
}

impl From<PrivateResponse> for Response {
    fn from(message: PrivateResponse) -> Self {
        Response::Private(message)
    }
}

/// Encodes a whole frame, length prefix and header included.
pub fn encode(correlation_id: i32, version: i16, response: &Response) -> Result<FrameQueue, CannotEncode> {
    let mut buffer = BytesMut::with_capacity(FRAME_BYTES_USUAL);
    buffer.put_i32(0);
    encode_response_header(&mut buffer, response.api(), version, correlation_id);
    if let Response::Fetch(fetch) = response {
        return fetch.encode(version, buffer);
    }
    response.encode_body(version, &mut buffer)?;
    finish_frame(response.api().name(), version, buffer)
}

/// Sets the length prefix of a frame that is one slice.
pub(crate) fn finish_frame(what: &'static str, version: i16, mut buffer: BytesMut) -> Result<FrameQueue, CannotEncode> {
    set_prefix(what, version, &mut buffer, 0)?;
    Ok(FrameQueue::from(buffer.freeze()))
}

/// Sets the length prefix at the start of `buffer` for what follows it there, and `more` bytes.
pub(crate) fn set_prefix(
    what: &'static str,
    version: i16,
    buffer: &mut BytesMut,
    more: usize,
) -> Result<(), CannotEncode> {
    let bytes = buffer.len() - PREFIX_BYTES + more;
    let length =
        i32::try_from(bytes).map_err(|_| CannotEncode::new(what, version, &EncodeError::FrameTooLarge { bytes }))?;
    buffer[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

pub(crate) fn encode_message<M: KafkaEncode>(
    what: &'static str,
    message: &M,
    version: i16,
    buffer: &mut BytesMut,
) -> Result<(), CannotEncode> {
    message
        .encode_into(buffer, ApiVersion::new(version))
        .map(|_| ())
        .map_err(|error| CannotEncode::new(what, version, &error))
}

/// The table of APIs as ApiVersions tells it. No feature is finalized yet (group.version and
/// transaction.version come with groups and transactions).
#[must_use]
pub fn api_versions(error: ErrorCode) -> ApiVersionsResponse {
    let entry = |api: &ApiKey| {
        let versions = api.advertised();
        message!(ApiVersionEntry { api_key: api.to_wire(), min_version: versions.min, max_version: versions.max })
    };
    message!(ApiVersionsResponse {
        error_code: error.to_wire(),
        api_keys: ApiKey::ADVERTISED.iter().map(entry).collect(),
    })
}

/// The answer to an ApiVersions of an unknown version: header v0, body v0 (KIP-511).
#[must_use]
pub(crate) fn unsupported_api_versions(correlation_id: i32) -> FrameQueue {
    let response = Response::ApiVersions(api_versions(ErrorCode::UnsupportedVersion));
    encode(correlation_id, 0, &response).expect("version 0 carries error, keys and ranges, and the table is short")
}
