//! Kafka's error codes: number, name, and whether a client may simply try again.
//!
//! Retriable says that the same request can succeed later. It does not say that nothing happened:
//! after REQUEST_TIMED_OUT or NOT_ENOUGH_REPLICAS_AFTER_APPEND a write may have been done, see
//! [`ErrorCode::leaves_write_unknown`].

use std::fmt;

macro_rules! retriable {
    (retriable) => {
        true
    };
    (final) => {
        false
    };
}

macro_rules! error_codes {
    ($($code:literal $name:ident $kafka_name:ident $kind:tt;)*) => {
        /// An error code of Kafka's protocol. A number that is not listed reads as
        /// [`ErrorCode::UnknownServerError`], as Kafka's own clients treat it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // Each variant is the code of its name in Kafka's documentation.
        pub enum ErrorCode {
            $($name,)*
        }

        impl ErrorCode {
            /// Every code, ordered by number.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),*];

            /// The number on the wire.
            #[must_use]
            pub const fn to_wire(self) -> i16 {
                match self {
                    $(ErrorCode::$name => $code,)*
                }
            }

            /// The code with this number.
            #[must_use]
            pub const fn from_wire(code: i16) -> ErrorCode {
                match code {
                    $($code => ErrorCode::$name,)*
                    _ => ErrorCode::UnknownServerError,
                }
            }

            /// The name in Kafka's documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => stringify!($kafka_name),)*
                }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$name => retriable!($kind),)*
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError UNKNOWN_SERVER_ERROR final;
    0 None NONE final;
    1 OffsetOutOfRange OFFSET_OUT_OF_RANGE final;
    2 CorruptMessage CORRUPT_MESSAGE retriable;
    3 UnknownTopicOrPartition UNKNOWN_TOPIC_OR_PARTITION retriable;
    4 InvalidFetchSize INVALID_FETCH_SIZE final;
    5 LeaderNotAvailable LEADER_NOT_AVAILABLE retriable;
    6 NotLeaderOrFollower NOT_LEADER_OR_FOLLOWER retriable;
    7 RequestTimedOut REQUEST_TIMED_OUT retriable;
    8 BrokerNotAvailable BROKER_NOT_AVAILABLE final;
    9 ReplicaNotAvailable REPLICA_NOT_AVAILABLE retriable;
    10 MessageTooLarge MESSAGE_TOO_LARGE final;
    11 StaleControllerEpoch STALE_CONTROLLER_EPOCH final;
    12 OffsetMetadataTooLarge OFFSET_METADATA_TOO_LARGE final;
    13 NetworkException NETWORK_EXCEPTION retriable;
    14 CoordinatorLoadInProgress COORDINATOR_LOAD_IN_PROGRESS retriable;
    15 CoordinatorNotAvailable COORDINATOR_NOT_AVAILABLE retriable;
    16 NotCoordinator NOT_COORDINATOR retriable;
    17 InvalidTopic INVALID_TOPIC_EXCEPTION final;
    18 RecordListTooLarge RECORD_LIST_TOO_LARGE final;
    19 NotEnoughReplicas NOT_ENOUGH_REPLICAS retriable;
    20 NotEnoughReplicasAfterAppend NOT_ENOUGH_REPLICAS_AFTER_APPEND retriable;
    21 InvalidRequiredAcks INVALID_REQUIRED_ACKS final;
    22 IllegalGeneration ILLEGAL_GENERATION final;
    23 InconsistentGroupProtocol INCONSISTENT_GROUP_PROTOCOL final;
    24 InvalidGroupId INVALID_GROUP_ID final;
    25 UnknownMemberId UNKNOWN_MEMBER_ID final;
    26 InvalidSessionTimeout INVALID_SESSION_TIMEOUT final;
    27 RebalanceInProgress REBALANCE_IN_PROGRESS final;
    28 InvalidCommitOffsetSize INVALID_COMMIT_OFFSET_SIZE final;
    29 TopicAuthorizationFailed TOPIC_AUTHORIZATION_FAILED final;
    30 GroupAuthorizationFailed GROUP_AUTHORIZATION_FAILED final;
    31 ClusterAuthorizationFailed CLUSTER_AUTHORIZATION_FAILED final;
    32 InvalidTimestamp INVALID_TIMESTAMP final;
    33 UnsupportedSaslMechanism UNSUPPORTED_SASL_MECHANISM final;
    34 IllegalSaslState ILLEGAL_SASL_STATE final;
    35 UnsupportedVersion UNSUPPORTED_VERSION final;
    36 TopicAlreadyExists TOPIC_ALREADY_EXISTS final;
    37 InvalidPartitions INVALID_PARTITIONS final;
    38 InvalidReplicationFactor INVALID_REPLICATION_FACTOR final;
    39 InvalidReplicaAssignment INVALID_REPLICA_ASSIGNMENT final;
    40 InvalidConfig INVALID_CONFIG final;
    41 NotController NOT_CONTROLLER retriable;
    42 InvalidRequest INVALID_REQUEST final;
    43 UnsupportedForMessageFormat UNSUPPORTED_FOR_MESSAGE_FORMAT final;
    44 PolicyViolation POLICY_VIOLATION final;
    45 OutOfOrderSequenceNumber OUT_OF_ORDER_SEQUENCE_NUMBER final;
    46 DuplicateSequenceNumber DUPLICATE_SEQUENCE_NUMBER final;
    47 InvalidProducerEpoch INVALID_PRODUCER_EPOCH final;
    48 InvalidTxnState INVALID_TXN_STATE final;
    49 InvalidProducerIdMapping INVALID_PRODUCER_ID_MAPPING final;
    50 InvalidTransactionTimeout INVALID_TRANSACTION_TIMEOUT final;
    51 ConcurrentTransactions CONCURRENT_TRANSACTIONS retriable;
    52 TransactionCoordinatorFenced TRANSACTION_COORDINATOR_FENCED final;
    53 TransactionalIdAuthorizationFailed TRANSACTIONAL_ID_AUTHORIZATION_FAILED final;
    54 SecurityDisabled SECURITY_DISABLED final;
    55 OperationNotAttempted OPERATION_NOT_ATTEMPTED final;
    56 KafkaStorageError KAFKA_STORAGE_ERROR retriable;
    57 LogDirNotFound LOG_DIR_NOT_FOUND final;
    58 SaslAuthenticationFailed SASL_AUTHENTICATION_FAILED final;
    59 UnknownProducerId UNKNOWN_PRODUCER_ID final;
    60 ReassignmentInProgress REASSIGNMENT_IN_PROGRESS final;
    68 NonEmptyGroup NON_EMPTY_GROUP final;
    69 GroupIdNotFound GROUP_ID_NOT_FOUND final;
    70 FetchSessionIdNotFound FETCH_SESSION_ID_NOT_FOUND retriable;
    71 InvalidFetchSessionEpoch INVALID_FETCH_SESSION_EPOCH retriable;
    72 ListenerNotFound LISTENER_NOT_FOUND retriable;
    73 TopicDeletionDisabled TOPIC_DELETION_DISABLED final;
    74 FencedLeaderEpoch FENCED_LEADER_EPOCH retriable;
    75 UnknownLeaderEpoch UNKNOWN_LEADER_EPOCH retriable;
    76 UnsupportedCompressionType UNSUPPORTED_COMPRESSION_TYPE final;
    77 StaleBrokerEpoch STALE_BROKER_EPOCH final;
    78 OffsetNotAvailable OFFSET_NOT_AVAILABLE retriable;
    79 MemberIdRequired MEMBER_ID_REQUIRED final;
    80 PreferredLeaderNotAvailable PREFERRED_LEADER_NOT_AVAILABLE retriable;
    81 GroupMaxSizeReached GROUP_MAX_SIZE_REACHED final;
    82 FencedInstanceId FENCED_INSTANCE_ID final;
    83 EligibleLeadersNotAvailable ELIGIBLE_LEADERS_NOT_AVAILABLE retriable;
    84 ElectionNotNeeded ELECTION_NOT_NEEDED retriable;
    85 NoReassignmentInProgress NO_REASSIGNMENT_IN_PROGRESS final;
    86 GroupSubscribedToTopic GROUP_SUBSCRIBED_TO_TOPIC final;
    87 InvalidRecord INVALID_RECORD final;
    88 UnstableOffsetCommit UNSTABLE_OFFSET_COMMIT retriable;
    89 ThrottlingQuotaExceeded THROTTLING_QUOTA_EXCEEDED retriable;
    90 ProducerFenced PRODUCER_FENCED final;
    91 ResourceNotFound RESOURCE_NOT_FOUND final;
    92 DuplicateResource DUPLICATE_RESOURCE final;
    94 InconsistentVoterSet INCONSISTENT_VOTER_SET final;
    95 InvalidUpdateVersion INVALID_UPDATE_VERSION final;
    96 FeatureUpdateFailed FEATURE_UPDATE_FAILED final;
    98 SnapshotNotFound SNAPSHOT_NOT_FOUND final;
    99 PositionOutOfRange POSITION_OUT_OF_RANGE final;
    100 UnknownTopicId UNKNOWN_TOPIC_ID retriable;
    101 DuplicateBrokerRegistration DUPLICATE_BROKER_REGISTRATION final;
    102 BrokerIdNotRegistered BROKER_ID_NOT_REGISTERED final;
    103 InconsistentTopicId INCONSISTENT_TOPIC_ID retriable;
    104 InconsistentClusterId INCONSISTENT_CLUSTER_ID final;
    105 TransactionalIdNotFound TRANSACTIONAL_ID_NOT_FOUND final;
    106 FetchSessionTopicIdError FETCH_SESSION_TOPIC_ID_ERROR retriable;
    107 IneligibleReplica INELIGIBLE_REPLICA final;
    108 NewLeaderElected NEW_LEADER_ELECTED final;
    109 OffsetMovedToTieredStorage OFFSET_MOVED_TO_TIERED_STORAGE final;
    110 FencedMemberEpoch FENCED_MEMBER_EPOCH final;
    111 UnreleasedInstanceId UNRELEASED_INSTANCE_ID final;
    112 UnsupportedAssignor UNSUPPORTED_ASSIGNOR final;
    113 StaleMemberEpoch STALE_MEMBER_EPOCH final;
    114 MismatchedEndpointType MISMATCHED_ENDPOINT_TYPE final;
    115 UnsupportedEndpointType UNSUPPORTED_ENDPOINT_TYPE final;
    116 UnknownControllerId UNKNOWN_CONTROLLER_ID final;
    120 TransactionAbortable TRANSACTION_ABORTABLE final;
}

impl ErrorCode {
    /// Whether this is [`ErrorCode::None`].
    #[must_use]
    pub fn is_none(self) -> bool {
        self == ErrorCode::None
    }

    /// `Ok` for [`ErrorCode::None`], otherwise the error.
    pub fn check(code: i16) -> Result<(), ErrorCode> {
        match ErrorCode::from_wire(code) {
            ErrorCode::None => Ok(()),
            error => Err(error),
        }
    }

    /// Whether a client that gets this for a write cannot tell if the write was done. All other
    /// errors are given before anything is appended. NOT_LEADER_OR_FOLLOWER and
    /// UNKNOWN_TOPIC_OR_PARTITION are here because a leader also gives them when it loses the
    /// partition while an acks=all write that it has appended waits for its followers.
    #[must_use]
    pub const fn leaves_write_unknown(self) -> bool {
        matches!(
            self,
            ErrorCode::UnknownServerError
                | ErrorCode::RequestTimedOut
                | ErrorCode::NetworkException
                | ErrorCode::NotEnoughReplicasAfterAppend
                | ErrorCode::KafkaStorageError
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::DuplicateSequenceNumber
        )
    }

    /// Whether the error says that what the client knows about leaders is out of date.
    #[must_use]
    pub const fn calls_for_metadata(self) -> bool {
        matches!(
            self,
            ErrorCode::UnknownTopicOrPartition
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::NetworkException
                | ErrorCode::KafkaStorageError
                | ErrorCode::ListenerNotFound
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::UnknownTopicId
                | ErrorCode::InconsistentTopicId
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_one_to_one_and_ordered() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0].to_wire() < pair[1].to_wire(), "{pair:?}");
        }
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.to_wire()), code);
        }
        assert_eq!(ErrorCode::from_wire(9_999), ErrorCode::UnknownServerError);
    }

    #[test]
    fn numbers_that_clients_act_upon_are_the_documented_ones() {
        for (code, number) in [
            (ErrorCode::OffsetOutOfRange, 1),
            (ErrorCode::NotLeaderOrFollower, 6),
            (ErrorCode::NotEnoughReplicasAfterAppend, 20),
            (ErrorCode::UnsupportedVersion, 35),
            (ErrorCode::NotController, 41),
            (ErrorCode::OutOfOrderSequenceNumber, 45),
            (ErrorCode::UnknownProducerId, 59),
            (ErrorCode::FencedLeaderEpoch, 74),
            (ErrorCode::UnknownTopicId, 100),
            (ErrorCode::IneligibleReplica, 107),
        ] {
            assert_eq!(code.to_wire(), number, "{code}");
        }
        assert_eq!(ErrorCode::OutOfOrderSequenceNumber.to_string(), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    }

    #[test]
    fn a_write_whose_fate_is_unknown_is_never_called_failed() {
        for code in [ErrorCode::RequestTimedOut, ErrorCode::NotEnoughReplicasAfterAppend] {
            assert!(code.leaves_write_unknown() && code.is_retriable());
        }
        for code in [ErrorCode::NotEnoughReplicas, ErrorCode::MessageTooLarge, ErrorCode::CorruptMessage] {
            assert!(!code.leaves_write_unknown(), "{code}");
        }
    }
}
