//! Vocabulary of the coordinator's tree that its state machine, its wire protocol and its clients
//! share: statistics, access control entries, create modes, error codes and watch events. Plain
//! values; numbers are those of the ZooKeeper protocol.

use std::fmt;
use std::sync::Arc;

/// What ZooKeeper's `Stat` tells about a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    /// The zxid of the change that created the node.
    pub czxid: i64,
    /// The zxid of the last change of its data.
    pub mzxid: i64,
    /// When it was created, in milliseconds since the Unix epoch.
    pub ctime_ms: i64,
    /// When its data was last changed, in milliseconds since the Unix epoch.
    pub mtime_ms: i64,
    /// How often its data was changed.
    pub version: i32,
    /// How often its set of children was changed.
    pub cversion: i32,
    /// How often its access control list was changed.
    pub aversion: i32,
    /// The session that owns it; 0 for a persistent node.
    pub ephemeral_owner: i64,
    /// The length of its data, in bytes.
    pub data_length: i32,
    /// How many children it has.
    pub num_children: i32,
    /// The zxid of the last change of its set of children.
    pub pzxid: i64,
}

/// Whom an access control entry is about: an id within an authentication scheme.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthId {
    /// `world`, `auth`, `digest`, `ip`, `super` and others.
    pub scheme: Arc<str>,
    /// What the scheme makes of it, `anyone` for `world`.
    pub id: Arc<str>,
}

impl AuthId {
    /// The id `id` of `scheme`.
    pub fn new(scheme: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        AuthId { scheme: scheme.into(), id: id.into() }
    }
}

/// A set of permissions, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permissions(pub i32);

impl Permissions {
    /// To read data and list children.
    pub const READ: Permissions = Permissions(1);
    /// To set data.
    pub const WRITE: Permissions = Permissions(1 << 1);
    /// To create children.
    pub const CREATE: Permissions = Permissions(1 << 2);
    /// To delete children.
    pub const DELETE: Permissions = Permissions(1 << 3);
    /// To set the access control list.
    pub const ADMIN: Permissions = Permissions(1 << 4);
    /// All of them.
    pub const ALL: Permissions = Permissions(31);

    /// Whether it shares a permission with `wanted`.
    #[must_use]
    pub const fn allows(self, wanted: Permissions) -> bool {
        self.0 & wanted.0 != 0
    }
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// What it permits.
    pub permissions: Permissions,
    /// To whom.
    pub id: AuthId,
}

impl Acl {
    /// `permissions` for anyone.
    #[must_use]
    pub fn world(permissions: Permissions) -> Self {
        Acl { permissions, id: AuthId::new("world", "anyone") }
    }

    /// The list that permits everything to anyone, ZooKeeper's `OPEN_ACL_UNSAFE`.
    #[must_use]
    pub fn open() -> Vec<Acl> {
        vec![Acl::world(Permissions::ALL)]
    }
}

/// How a node is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CreateMode {
    /// It stays until it is deleted.
    #[default]
    Persistent,
    /// It goes with its session.
    Ephemeral,
    /// As persistent; a counter of the parent is appended to its name.
    PersistentSequential,
    /// As ephemeral; a counter of the parent is appended to its name.
    EphemeralSequential,
}

impl CreateMode {
    /// The mode with the protocol's number `flags`. Containers and nodes with a time to live
    /// (4 to 6) are unimplemented, other numbers bad arguments.
    pub fn from_flags(flags: i32) -> Result<Self, ErrorCode> {
        match flags {
            0 => Ok(CreateMode::Persistent),
            1 => Ok(CreateMode::Ephemeral),
            2 => Ok(CreateMode::PersistentSequential),
            3 => Ok(CreateMode::EphemeralSequential),
            4..=6 => Err(ErrorCode::Unimplemented),
            _ => Err(ErrorCode::BadArguments),
        }
    }

    /// The protocol's number.
    #[must_use]
    pub fn flags(self) -> i32 {
        i32::from(self.is_ephemeral()) | i32::from(self.is_sequential()) << 1
    }

    /// Whether the node goes with its session.
    #[must_use]
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether a counter is appended to the name.
    #[must_use]
    pub fn is_sequential(self) -> bool {
        matches!(self, CreateMode::PersistentSequential | CreateMode::EphemeralSequential)
    }
}

/// What a watch event tells about its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// It was created.
    NodeCreated = 1,
    /// It was deleted.
    NodeDeleted = 2,
    /// Its data was set.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
}

impl EventKind {
    /// The kind with the protocol's number `code`.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::NodeCreated, Self::NodeDeleted, Self::NodeDataChanged, Self::NodeChildrenChanged]
            .into_iter()
            .find(|kind| *kind as i32 == code)
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// A result of the ZooKeeper protocol. [`ErrorCode::Other`] keeps numbers that have no
        /// name here, so that a client can report what a newer server said.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// Any other number.
            Other(i32),
        }

        impl ErrorCode {
            /// The result with the protocol's number `code`.
            #[must_use]
            pub fn from_code(code: i32) -> Self {
                match code { $($code => ErrorCode::$name,)* other => ErrorCode::Other(other) }
            }

            /// The protocol's number.
            #[must_use]
            pub fn code(self) -> i32 {
                match self { $(ErrorCode::$name => $code,)* ErrorCode::Other(code) => code }
            }
        }
    };
}

error_codes! {
    /// Done.
    Ok = 0,
    /// The server failed.
    SystemError = -1,
    /// An operation of a multi that was not tried because one before it failed.
    RuntimeInconsistency = -2,
    /// Data was found to be inconsistent.
    DataInconsistency = -3,
    /// The connection to the server was lost; whether the operation took effect is unknown.
    ConnectionLoss = -4,
    /// The request could not be decoded.
    MarshallingError = -5,
    /// The server does not have that operation.
    Unimplemented = -6,
    /// The operation took too long.
    OperationTimeout = -7,
    /// An argument is wrong, such as a bad path.
    BadArguments = -8,
    /// No such node.
    NoNode = -101,
    /// The access control list does not permit it.
    NoAuth = -102,
    /// The version does not match.
    BadVersion = -103,
    /// An ephemeral node cannot have children.
    NoChildrenForEphemerals = -108,
    /// The node exists already.
    NodeExists = -110,
    /// The node has children.
    NotEmpty = -111,
    /// The session has ended.
    SessionExpired = -112,
    /// The access control list is empty or malformed.
    InvalidAcl = -114,
    /// The authentication was refused.
    AuthFailed = -115,
    /// The session moved to another server.
    SessionMoved = -118,
    /// The server is read-only.
    NotReadOnly = -119,
    /// There is no such watch.
    NoWatcher = -121,
    /// The server throttles.
    ThrottledOp = -127,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorCode::Other(code) => write!(f, "error {code}"),
            named => write!(f, "{named:?} ({})", named.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_protocol_survives_the_round_trip() {
        for code in -200..=10 {
            assert_eq!(ErrorCode::from_code(code).code(), code);
        }
        assert_eq!(ErrorCode::from_code(-101), ErrorCode::NoNode);
        for flags in 0..4 {
            assert_eq!(CreateMode::from_flags(flags).map(CreateMode::flags), Ok(flags));
        }
        assert_eq!(CreateMode::from_flags(4), Err(ErrorCode::Unimplemented));
        assert_eq!(CreateMode::from_flags(-1), Err(ErrorCode::BadArguments));
    }

    #[test]
    fn event_kinds_are_numbered_from_one_to_four() {
        let kinds: Vec<_> = (0..6).filter_map(EventKind::from_code).map(|kind| kind as i32).collect();
        assert_eq!(kinds, [1, 2, 3, 4]);
    }
}
