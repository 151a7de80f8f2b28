//! The headers of requests and responses.
//!
//! Request header v1, and v2 with the tagged fields at its end:
//!
//! | bytes | field                                                        |
//! |------:|--------------------------------------------------------------|
//! |     2 | API key                                                      |
//! |     2 | API version                                                  |
//! |     4 | correlation id                                               |
//! |   2+n | client id, nullable; never compact, in v2 neither (KIP-482)  |
//! |   1+n | v2: tagged fields                                            |
//!
//! Response header v0 is the correlation id alone, v1 adds tagged fields.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire_core::{Decoder, StrBytes};

use super::api::ApiKey;
use super::request::{Malformed, RequestError, limits};

/// The fields that come before every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api: ApiKey,
    /// Which of its versions; one that is served.
    pub version: i16,
    /// Chosen by the client, given back in the response.
    pub correlation_id: i32,
    /// What the client calls itself (`client.id`).
    pub client_id: Option<StrBytes>,
}

impl RequestHeader {
    /// Reads the header at the start of `frame` and gives the rest, the body. Unknown APIs and
    /// versions are told apart from damage, because the first eight bytes never change.
    pub fn decode(frame: Bytes) -> Result<(RequestHeader, Bytes), RequestError> {
        match Self::plain(&frame) {
            Some((header, bytes)) => Ok((header, frame.slice(bytes..))),
            None => Self::decode_any(frame),
        }
    }

    /// The header and its length, if all is well with it and no tag is in it.
    fn plain(frame: &Bytes) -> Option<(RequestHeader, usize)> {
        let [key @ .., v0, v1, c0, c1, c2, c3, l0, l1] = frame.first_chunk::<10>()?;
        let (key, version) = (i16::from_be_bytes(*key), i16::from_be_bytes([*v0, *v1]));
        let api = ApiKey::from_wire(key).filter(|api| api.served().contains(version))?;
        let (client_id, mut bytes) = match i16::from_be_bytes([*l0, *l1]) {
            -1 => (None, 10),
            length => {
                let bytes = 10 + usize::try_from(length).ok()?;
                (Some(StrBytes::try_from(frame.slice_ref(frame.get(10..bytes)?)).ok()?), bytes)
            }
        };
        if api.request_header_version(version) == 2 {
            (*frame.get(bytes)? == 0).then_some(())?;
            bytes += 1;
        }
        let correlation_id = i32::from_be_bytes([*c0, *c1, *c2, *c3]);
        Some((RequestHeader { api, version, correlation_id, client_id }, bytes))
    }

    fn decode_any(frame: Bytes) -> Result<(RequestHeader, Bytes), RequestError> {
        let bytes = frame.len();
        let mut decoder = Decoder::new(frame, limits(bytes)).map_err(Malformed::header)?;
        let key = decoder.read_i16().map_err(Malformed::header)?;
        let version = decoder.read_i16().map_err(Malformed::header)?;
        let correlation_id = decoder.read_i32().map_err(Malformed::header)?;
        let api = ApiKey::from_wire(key).ok_or(RequestError::UnknownApi { key, version })?;
        if !api.served().contains(version) {
            return Err(RequestError::UnsupportedVersion { api, version, correlation_id });
        }
        let client_id = decoder.read_nullable_string().map_err(Malformed::header)?;
        if api.request_header_version(version) == 2 {
            decoder.read_tagged_fields().map_err(Malformed::header)?;
        }
        let rest = decoder.remaining();
        let body = decoder.take_bytes(rest).map_err(Malformed::header)?;
        Ok((RequestHeader { api, version, correlation_id, client_id }, body))
    }

    /// Appends the header. A client id that is longer than a Kafka string can be is left out.
    pub fn encode(&self, buffer: &mut BytesMut) {
        buffer.put_i16(self.api.to_wire());
        buffer.put_i16(self.version);
        buffer.put_i32(self.correlation_id);
        match self.client_id.as_ref().and_then(|id| i16::try_from(id.len()).ok().zip(Some(id))) {
            None => buffer.put_i16(-1),
            Some((length, id)) => {
                buffer.put_i16(length);
                buffer.put_slice(id.as_bytes());
            }
        }
        if self.api.request_header_version(self.version) == 2 {
            buffer.put_u8(0);
        }
    }
}

/// Appends a response's header.
pub fn encode_response_header(buffer: &mut BytesMut, api: ApiKey, version: i16, correlation_id: i32) {
    buffer.put_i32(correlation_id);
    if api.response_header_version(version) == 1 {
        buffer.put_u8(0);
    }
}
