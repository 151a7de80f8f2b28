//! The other side: encoding requests and decoding responses, as a client or follower does.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire_core::{ApiVersion, Decoder, KafkaDecode, StrBytes};

use super::api::ApiKey;
use super::fetch::FetchResponse;
use super::header::RequestHeader;
use super::messages::*;
use super::plain;
use super::request::{Malformed, Request, decode_message, limits};
use super::response::{CannotEncode, FRAME_BYTES_USUAL, Response, encode_message, finish_frame};
use crate::wire::frame::FrameQueue;
use crate::wire::private::PrivateResponse;

impl Request {
    fn encode_body(&self, version: i16, buffer: &mut BytesMut) -> Result<(), CannotEncode> {
        let what = self.api().name();
        match self {
            Request::Produce(message) => encode_message(what, message, version, buffer),
            Request::Fetch(message) if plain::write_request(version, message, buffer) => Ok(()),
            Request::Fetch(message) => encode_message(what, message, version, buffer),
            Request::ListOffsets(message) => encode_message(what, message, version, buffer),
            Request::Metadata(message) => encode_message(what, message, version, buffer),
            Request::FindCoordinator(message) => encode_message(what, message, version, buffer),
            Request::ApiVersions(message) => encode_message(what, message, version, buffer),
            Request::CreateTopics(message) => encode_message(what, message, version, buffer),
            Request::DeleteTopics(message) => encode_message(what, message, version, buffer),
            Request::InitProducerId(message) => encode_message(what, message, version, buffer),
            Request::OffsetForLeaderEpoch(message) => encode_message(what, message, version, buffer),
            Request::DescribeCluster(message) => encode_message(what, message, version, buffer),
            Request::Private(message) => {
                message.encode(buffer);
                Ok(())
            }
        }
    }
}

/// Encodes a whole frame, length prefix and header included.
pub fn encode_request(
    correlation_id: i32,
    version: i16,
    client_id: Option<&StrBytes>,
    request: &Request,
) -> Result<FrameQueue, CannotEncode> {
    let header = RequestHeader { api: request.api(), version, correlation_id, client_id: client_id.cloned() };
    let mut buffer = BytesMut::with_capacity(FRAME_BYTES_USUAL);
    buffer.put_i32(0);
    header.encode(&mut buffer);
    request.encode_body(version, &mut buffer)?;
    finish_frame(request.api().name(), version, buffer)
}

/// The correlation id at the start of a response frame, which tells what was asked.
pub fn correlation_id(frame: &[u8]) -> Result<i32, Malformed> {
    let bytes = frame.first_chunk::<4>();
    bytes.map(|bytes| i32::from_be_bytes(*bytes)).ok_or_else(|| Malformed {
        what: "a response",
        reason: format!("{} bytes are too few for a correlation id", frame.len()),
    })
}

/// Decodes a response frame, without its length prefix, to a request of `api` at `version`.
///
/// An ApiVersions response whose body is not of the version asked for is read as version 0: that
/// is how a broker answers a version that it does not know (KIP-511).
pub fn decode_response(api: ApiKey, version: i16, frame: Bytes) -> Result<(i32, Response), Malformed> {
    if let Some((correlation_id, bytes)) = plain_header(api, version, &frame) {
        return Ok((correlation_id, decode_body(api, version, frame.slice(bytes..))?));
    }
    let bytes = frame.len();
    let mut decoder = Decoder::new(frame, limits(bytes)).map_err(Malformed::header)?;
    let correlation_id = decoder.read_i32().map_err(Malformed::header)?;
    if api.response_header_version(version) == 1 {
        decoder.read_tagged_fields().map_err(Malformed::header)?;
    }
    let rest = decoder.remaining();
    let body = decoder.take_bytes(rest).map_err(Malformed::header)?;
    Ok((correlation_id, decode_body(api, version, body)?))
}

/// A response's correlation id and the length of its header, if no tag is in that.
fn plain_header(api: ApiKey, version: i16, frame: &[u8]) -> Option<(i32, usize)> {
    let (correlation_id, rest) = frame.split_first_chunk::<4>()?;
    let bytes = match api.response_header_version(version) {
        1 if rest.first() == Some(&0) => 5,
        1 => return None,
        _ => 4,
    };
    Some((i32::from_be_bytes(*correlation_id), bytes))
}

fn decode_body(api: ApiKey, version: i16, body: Bytes) -> Result<Response, Malformed> {
    fn plain<M: KafkaDecode + Into<Response>>(api: ApiKey, version: i16, body: Bytes) -> Result<Response, Malformed> {
        decode_message::<M>(api.name(), version, body).map(Into::into)
    }
    match api {
        ApiKey::Fetch => FetchResponse::decode(version, body).map(Response::Fetch),
        ApiKey::Private => PrivateResponse::decode(version, body).map(Response::Private),
        ApiKey::ApiVersions => decode_api_versions(version, body).map(Response::ApiVersions),
        ApiKey::Produce => plain::<ProduceResponse>(api, version, body),
        ApiKey::ListOffsets => plain::<ListOffsetsResponse>(api, version, body),
        ApiKey::Metadata => plain::<MetadataResponse>(api, version, body),
        ApiKey::FindCoordinator => plain::<FindCoordinatorResponse>(api, version, body),
        ApiKey::CreateTopics => plain::<CreateTopicsResponse>(api, version, body),
        ApiKey::DeleteTopics => plain::<DeleteTopicsResponse>(api, version, body),
        ApiKey::InitProducerId => plain::<InitProducerIdResponse>(api, version, body),
        ApiKey::OffsetForLeaderEpoch => plain::<OffsetForLeaderEpochResponse>(api, version, body),
        ApiKey::DescribeCluster => plain::<DescribeClusterResponse>(api, version, body),
    }
}

fn decode_api_versions(version: i16, body: Bytes) -> Result<ApiVersionsResponse, Malformed> {
    let limits = limits(body.len());
    ApiVersionsResponse::decode_from_bytes(body.clone(), ApiVersion::new(version), limits)
        .or_else(|_| ApiVersionsResponse::decode_from_bytes(body, ApiVersion::new(0), limits))
        .map_err(|error| Malformed::new(ApiKey::ApiVersions.name(), &error))
}
