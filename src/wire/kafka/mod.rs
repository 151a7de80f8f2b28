//! Kafka's protocol: which APIs and versions are spoken, requests and responses as typed values,
//! record batches, error codes.
//!
//! The generated messages come from a codec crate that stays behind this module: the rest of the
//! project names them through [`messages`] only, under the names that Kafka's own schemas give
//! them, so that the crate can be replaced. Ours are the table of APIs ([`api`]), headers
//! ([`header`]), the two paths that carry records without copying them ([`fetch`], and slices of
//! the frame in Produce), a short way for the Fetch that is sent again and again (`plain`), error
//! codes ([`error`]) and record batches ([`batch`], [`records`], [`validate`]).
//!
//! A server decodes with [`request::decode`] and answers with [`response::encode`]; a client
//! uses [`client`].

pub mod api;
pub mod batch;
pub mod client;
pub mod error;
pub mod fetch;
pub mod header;
pub mod messages;
mod plain;
pub mod records;
pub mod request;
pub mod response;
pub mod validate;

pub use api::ApiKey;
pub use error::ErrorCode;
pub use request::Request;
pub use response::Response;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod round_trip_tests;
