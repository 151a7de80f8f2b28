//! Requests as a server receives them: a frame in, a typed request out.
//!
//! Records in a Produce request stay slices of the frame. Every other API describes things and
//! does not carry them, so its frames are held to [`CONTROL_FRAME_BYTES_MAX`]: what decoding can
//! allocate is a small multiple of that.

use bytes::Bytes;
use kafka_wire_core::{ApiVersion, DecodeError, DecodeLimits, Decoder, KafkaDecode};

use super::api::ApiKey;
use super::header::RequestHeader;
use super::messages::*;
use super::plain;
use super::response;
use crate::wire::frame::FrameQueue;
use crate::wire::private::PrivateRequest;

/// The largest request of an API that carries no records, in bytes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most elements that one array of a message may have.
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;
/// The longest string of a message, in bytes; strings that are not compact cannot be longer.
pub const STRING_BYTES_MAX: usize = 32 * 1024;
/// The most tagged fields that one struct may have that we do not know.
pub const TAGGED_FIELDS_MAX: usize = 64;
/// The most bytes in the tagged fields of one struct that we do not know.
pub const TAGGED_BYTES_MAX: usize = 64 * 1024;

/// The decoding budget for a message of `frame_bytes`: no count and no length may exceed what the
/// bytes received can hold.
pub(crate) fn limits(frame_bytes: usize) -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = frame_bytes;
    limits.max_string_bytes = STRING_BYTES_MAX;
    limits.max_bytes_bytes = frame_bytes;
    limits.max_array_elements = frame_bytes.min(ARRAY_ELEMENTS_MAX);
    limits.max_tagged_fields = TAGGED_FIELDS_MAX;
    limits.max_tag_bytes = TAGGED_BYTES_MAX;
    limits.max_total_tag_bytes = TAGGED_BYTES_MAX;
    limits
}

/// Bytes that are not the message that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is malformed: {reason}")]
pub struct Malformed {
    /// Which message.
    pub what: &'static str,
    /// What is wrong with it, and where.
    pub reason: String,
}

impl Malformed {
    pub(crate) fn new(what: &'static str, error: &DecodeError) -> Self {
        Malformed { what, reason: error.to_string() }
    }

    pub(crate) fn header(error: DecodeError) -> Self {
        Malformed::new("a header", &error)
    }
}

/// Why a frame is not a request that is served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An API that is not spoken.
    #[error("API key {key} (version {version}) is not supported")]
    UnknownApi {
        /// The key.
        key: i16,
        /// The version.
        version: i16,
    },
    /// A version that is not served.
    #[error("{api:?} version {version} is not supported")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// Of the request.
        correlation_id: i32,
    },
    /// A frame that is larger than its API can need.
    #[error("a {api:?} request of {bytes} bytes exceeds the limit of {CONTROL_FRAME_BYTES_MAX}")]
    TooLarge {
        /// The API.
        api: ApiKey,
        /// The length of the frame.
        bytes: usize,
    },
    /// Bytes that are not a request.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl RequestError {
    /// The frame to answer with: an ApiVersions of an unknown version gets a v0 body with
    /// UNSUPPORTED_VERSION and our table, so that the client can step down (KIP-511). Nothing
    /// else can be answered, because the client could not read it: the connection is closed.
    #[must_use]
    pub fn answer(&self) -> Option<FrameQueue> {
        match self {
            RequestError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. } => {
                Some(response::unsupported_api_versions(*correlation_id))
            }
            _ => None,
        }
    }
}

macro_rules! requests {
    ($($api:ident($message:ident)),* $(,)?) => {
        /// The body of a request.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // Each variant is the API of its name, see `ApiKey`.
        pub enum Request {
            $($api($message),)*
            Private(PrivateRequest),
        }

        impl Request {
            /// Which API it belongs to.
            #[must_use]
            pub fn api(&self) -> ApiKey {
                match self {
                    $(Request::$api(_) => ApiKey::$api,)*
                    Request::Private(_) => ApiKey::Private,
                }
            }

            /// Whether a response follows. Produce with acks 0 has none.
            #[must_use]
            pub fn expects_response(&self) -> bool {
                !matches!(self, Request::Produce(produce) if produce.acks == 0)
            }

            /// Decodes the body of a request of `api` at `version`.
            pub fn decode_body(api: ApiKey, version: i16, body: Bytes) -> Result<Request, Malformed> {
                match api {
                    $(ApiKey::$api => decode_request::<$message>(api.name(), version, body).map(Request::$api),)*
                    ApiKey::Private => PrivateRequest::decode(version, body).map(Request::Private),
                }
            }
        }
    };
}

requests! {
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    FindCoordinator(FindCoordinatorRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    InitProducerId(InitProducerIdRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    DescribeCluster(DescribeClusterRequest),
}

/// Decodes a frame, without its length prefix, into the request that it holds.
pub fn decode(frame: Bytes) -> Result<(RequestHeader, Request), RequestError> {
    let bytes = frame.len();
    let (header, body) = RequestHeader::decode(frame)?;
    let carries_bulk = matches!(header.api, ApiKey::Produce | ApiKey::Private);
    if !carries_bulk && bytes > CONTROL_FRAME_BYTES_MAX {
        return Err(RequestError::TooLarge { api: header.api, bytes });
    }
    let plain = if header.api == ApiKey::Fetch { plain::read_request(header.version, &body) } else { None };
    let request = match plain {
        Some(fetch) => Request::Fetch(fetch),
        None => Request::decode_body(header.api, header.version, body)?,
    };
    Ok((header, request))
}

/// What follows a request's last field is ignored, as Kafka ignores it: librdkafka 2.6 leaves three
/// bytes of an array's reserved length behind when it asks for the metadata of all topics (version 12).
fn decode_request<M: KafkaDecode>(what: &'static str, version: i16, body: Bytes) -> Result<M, Malformed> {
    let limits = limits(body.len());
    let decoded = Decoder::new(body, limits).and_then(|mut decoder| M::decode(&mut decoder, ApiVersion::new(version)));
    decoded.map_err(|error| Malformed::new(what, &error))
}

pub(crate) fn decode_message<M: KafkaDecode>(what: &'static str, version: i16, body: Bytes) -> Result<M, Malformed> {
    let limits = limits(body.len());
    M::decode_from_bytes(body, ApiVersion::new(version), limits).map_err(|error| Malformed::new(what, &error))
}
