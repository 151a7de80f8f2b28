//! What our own brokers say among themselves: the controller's pushes and the leaders' proposals.
//!
//! One API on the listener and framing of Kafka's protocol, under a key of its own
//! ([`PRIVATE_API_KEY`](crate::wire::kafka::api::PRIVATE_API_KEY)) that is never advertised, with
//! request header v1 and response header v0. The header's version is the version of everything
//! in the body. All integers are big-endian; there is no varint and no optional field.
//!
//! | bytes | field                                                          |
//! |------:|----------------------------------------------------------------|
//! |     1 | kind: 0 update metadata, 1 alter partition, 2 controlled shutdown |
//! |     n | the message of that kind, see [`messages`]                      |
//!
//! What is *not* here: the metadata itself. [`messages::UpdateMetadata`] carries it as bytes that
//! the controller's own encoding fills. Creating and deleting topics needs no message either: a
//! broker that is not the controller sends Kafka's own request on to the one that is.

pub mod codec;
pub mod messages;

use bytes::{Bytes, BytesMut};

pub use codec::{Reader, Writer};
pub use messages::{
    AlterPartition, AlterPartitionResult, AlteredPartition, ControlledShutdown, ControlledShutdownResult,
    MetadataPayload, ProposedPartition, UpdateMetadata, UpdateMetadataResult,
};

use crate::wire::kafka::api::Versions;
use crate::wire::kafka::request::Malformed;

/// The versions of the private API.
pub const VERSIONS: Versions = Versions { min: 0, max: 0 };

const UPDATE_METADATA: u8 = 0;
const ALTER_PARTITION: u8 = 1;
const CONTROLLED_SHUTDOWN: u8 = 2;

/// A request among brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateRequest {
    /// Controller to broker: what changed in the cluster.
    UpdateMetadata(UpdateMetadata),
    /// Leader to controller: proposed in-sync sets.
    AlterPartition(AlterPartition),
    /// Broker to controller: move leadership away, this broker is about to stop.
    ControlledShutdown(ControlledShutdown),
}

/// A response among brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateResponse {
    /// To [`PrivateRequest::UpdateMetadata`].
    UpdateMetadata(UpdateMetadataResult),
    /// To [`PrivateRequest::AlterPartition`].
    AlterPartition(AlterPartitionResult),
    /// To [`PrivateRequest::ControlledShutdown`].
    ControlledShutdown(ControlledShutdownResult),
}

impl PrivateRequest {
    /// Appends the body.
    pub fn encode(&self, buffer: &mut BytesMut) {
        let mut writer = Writer::new(buffer);
        match self {
            PrivateRequest::UpdateMetadata(message) => message.write(writer.u8(UPDATE_METADATA)),
            PrivateRequest::AlterPartition(message) => message.write(writer.u8(ALTER_PARTITION)),
            PrivateRequest::ControlledShutdown(message) => message.write(writer.u8(CONTROLLED_SHUTDOWN)),
        }
    }

    /// Decodes a whole body.
    pub fn decode(version: i16, body: Bytes) -> Result<PrivateRequest, Malformed> {
        let mut reader = Reader::new("a private request", version, body)?;
        let request = match reader.u8()? {
            UPDATE_METADATA => PrivateRequest::UpdateMetadata(UpdateMetadata::read(&mut reader)?),
            ALTER_PARTITION => PrivateRequest::AlterPartition(AlterPartition::read(&mut reader)?),
            CONTROLLED_SHUTDOWN => PrivateRequest::ControlledShutdown(ControlledShutdown::read(&mut reader)?),
            kind => return Err(reader.error(format!("unknown kind {kind}"))),
        };
        reader.finish()?;
        Ok(request)
    }
}

impl PrivateResponse {
    /// Appends the body.
    pub fn encode(&self, buffer: &mut BytesMut) {
        let mut writer = Writer::new(buffer);
        match self {
            PrivateResponse::UpdateMetadata(message) => message.write(writer.u8(UPDATE_METADATA)),
            PrivateResponse::AlterPartition(message) => message.write(writer.u8(ALTER_PARTITION)),
            PrivateResponse::ControlledShutdown(message) => message.write(writer.u8(CONTROLLED_SHUTDOWN)),
        }
    }

    /// Decodes a whole body.
    pub fn decode(version: i16, body: Bytes) -> Result<PrivateResponse, Malformed> {
        let mut reader = Reader::new("a private response", version, body)?;
        let response = match reader.u8()? {
            UPDATE_METADATA => PrivateResponse::UpdateMetadata(UpdateMetadataResult::read(&mut reader)?),
            ALTER_PARTITION => PrivateResponse::AlterPartition(AlterPartitionResult::read(&mut reader)?),
            CONTROLLED_SHUTDOWN => PrivateResponse::ControlledShutdown(ControlledShutdownResult::read(&mut reader)?),
            kind => return Err(reader.error(format!("unknown kind {kind}"))),
        };
        reader.finish()?;
        Ok(response)
    }
}
