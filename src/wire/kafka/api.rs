//! The APIs that a broker of ours speaks, with the exact versions.
//!
//! Two ranges per API: *advertised* is what ApiVersions tells clients, *served* is what is
//! decoded. They differ for Produce alone: librdkafka takes a broker that does not advertise
//! Produce 0 for one without compression support, so Kafka 4 advertises from 0 and serves from 3
//! (KIP-896). Version floors are those of Kafka 4; ceilings are what our features support.

use kafka_wire::KafkaMessage;
use kafka_wire_core::ApiVersion;

/// The key that our own brokers use among themselves; outside of Kafka's range, never advertised.
/// See [`crate::wire::private`].
pub const PRIVATE_API_KEY: i16 = 32_000;

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

impl Versions {
    /// Whether `version` is in the range.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The highest version that both ranges have.
    #[must_use]
    pub fn highest_common(self, other: Versions) -> Option<i16> {
        let highest = self.max.min(other.max);
        (highest >= self.min && highest >= other.min).then_some(highest)
    }
}

macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident($message:ident) = $key:literal,
        advertised $amin:literal..=$amax:literal, served $smin:literal..=$smax:literal;)*) => {
        /// An API that is spoken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ApiKey {
            $($(#[$doc])* $name,)*
            /// What our own brokers say among themselves: [`crate::wire::private`].
            Private,
        }

        impl ApiKey {
            /// The APIs that are advertised to clients, ordered by key.
            pub const ADVERTISED: &[ApiKey] = &[$(ApiKey::$name),*];

            /// The API with this key on the wire.
            #[must_use]
            pub const fn from_wire(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    PRIVATE_API_KEY => Some(ApiKey::Private),
                    _ => None,
                }
            }

            /// The key on the wire.
            #[must_use]
            pub const fn to_wire(self) -> i16 {
                match self {
                    $(ApiKey::$name => $key,)*
                    ApiKey::Private => PRIVATE_API_KEY,
                }
            }

            /// The versions that ApiVersions tells clients.
            #[must_use]
            pub const fn advertised(self) -> Versions {
                match self {
                    $(ApiKey::$name => Versions { min: $amin, max: $amax },)*
                    ApiKey::Private => crate::wire::private::VERSIONS,
                }
            }

            /// The versions that are decoded and answered.
            #[must_use]
            pub const fn served(self) -> Versions {
                match self {
                    $(ApiKey::$name => Versions { min: $smin, max: $smax },)*
                    ApiKey::Private => crate::wire::private::VERSIONS,
                }
            }

            /// Whether this version has compact lengths and tagged fields (KIP-482).
            #[must_use]
            pub fn is_flexible(self, version: i16) -> bool {
                match self {
                    $(ApiKey::$name => kafka_wire::$message::is_flexible(ApiVersion::new(version)),)*
                    ApiKey::Private => false,
                }
            }

            /// The name in Kafka's documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                    ApiKey::Private => "Private",
                }
            }

            /// The versions that the codec knows.
            #[cfg(test)]
            pub(crate) fn codec_versions(self) -> Versions {
                match self {
                    $(ApiKey::$name => {
                        let range = kafka_wire::$message::SUPPORTED_VERSIONS;
                        Versions { min: range.min().value(), max: range.max().value() }
                    })*
                    ApiKey::Private => crate::wire::private::VERSIONS,
                }
            }
        }
    };
}

apis! {
    /// Appends batches. 12 adds nothing on the wire, 13 names topics by id (KIP-516).
    Produce(ProduceRequest) = 0, advertised 0..=13, served 3..=13;
    /// Reads batches, for consumers and followers. Topic ids from 13, replica state from 15
    /// (KIP-903). 18 lets a follower tell its high watermark (KIP-1166), which we do not use.
    Fetch(FetchRequest) = 1, advertised 4..=17, served 4..=17;
    /// Offsets by time, earliest, latest, of the largest timestamp (KIP-734, from 7).
    ListOffsets(ListOffsetsRequest) = 2, advertised 1..=10, served 1..=10;
    /// Brokers, topics, partitions and their leaders; creates topics where that is allowed.
    Metadata(MetadataRequest) = 3, advertised 0..=13, served 0..=13;
    /// Which broker coordinates a group or transaction.
    FindCoordinator(FindCoordinatorRequest) = 10, advertised 0..=6, served 0..=6;
    /// The first request on a connection. Its response always has header v0.
    ApiVersions(ApiVersionsRequest) = 18, advertised 0..=4, served 0..=4;
    /// Creates topics; answered by the controller, forwarded by the others.
    CreateTopics(CreateTopicsRequest) = 19, advertised 2..=7, served 2..=7;
    /// Deletes topics; answered by the controller, forwarded by the others.
    DeleteTopics(DeleteTopicsRequest) = 20, advertised 1..=6, served 1..=6;
    /// A producer id and epoch for idempotence (KIP-98, KIP-360 from 3).
    InitProducerId(InitProducerIdRequest) = 22, advertised 0..=5, served 0..=5;
    /// Where a leader epoch ends (KIP-101, KIP-279, KIP-320).
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest) = 23, advertised 2..=4, served 2..=4;
    /// The cluster's id, controller and brokers (KIP-700).
    DescribeCluster(DescribeClusterRequest) = 60, advertised 0..=2, served 0..=2;
}

impl ApiKey {
    /// The version of the request's header: 2 with tagged fields, otherwise 1.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response's header: 1 with tagged fields, otherwise 0. ApiVersions
    /// always has 0, because its client does not know yet what the broker speaks (KIP-511).
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != ApiKey::ApiVersions && self.is_flexible(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_version_is_one_that_the_codec_knows() {
        for &api in ApiKey::ADVERTISED {
            let (codec, served, advertised) = (api.codec_versions(), api.served(), api.advertised());
            assert!(codec.contains(served.min) && codec.contains(served.max), "{api:?}");
            assert!(advertised.contains(served.min) && advertised.max == served.max, "{api:?}");
            assert_eq!(ApiKey::from_wire(api.to_wire()), Some(api));
        }
    }

    #[test]
    fn only_produce_advertises_versions_that_are_not_served() {
        let differing: Vec<_> = ApiKey::ADVERTISED.iter().filter(|api| api.advertised() != api.served()).collect();
        assert_eq!(differing, [&ApiKey::Produce]);
    }

    #[test]
    fn header_versions_follow_flexibility_but_for_api_versions() {
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!((ApiKey::Produce.request_header_version(8), ApiKey::Produce.response_header_version(8)), (1, 0));
        assert_eq!((ApiKey::Produce.request_header_version(9), ApiKey::Produce.response_header_version(9)), (2, 1));
        assert_eq!((ApiKey::Fetch.request_header_version(11), ApiKey::Fetch.request_header_version(12)), (1, 2));
    }

    #[test]
    fn the_highest_common_version_is_within_both_ranges() {
        let range = |min, max| Versions { min, max };
        assert_eq!(range(3, 13).highest_common(range(0, 9)), Some(9));
        assert_eq!(range(3, 13).highest_common(range(0, 2)), None);
        assert_eq!(range(0, 2).highest_common(range(3, 13)), None);
    }
}
