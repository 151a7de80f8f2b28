//! A client's session as the replicated state knows it.
//!
//! Each (re)attachment to a server is an entry that raises the attachment number; each further
//! entry of the session carries that number and the next sequence. So an entry of an older
//! connection is refused wherever it was delayed, and entry k+1 is refused if k was lost: the
//! client's order holds across a change of leader without anyone remembering connections.

use std::collections::BTreeSet;
use std::fmt;

use super::digest::Digest;
use super::path::PathKey;
use crate::base::ids::SessionId;

/// The secret that proves that a session is the client's own.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Password(pub [u8; 16]);

impl fmt::Debug for Password {
    /// Secrets are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A session that lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// What a client must show to attach again.
    pub password: Password,
    /// The negotiated time without a sign of life after which the leader expires it.
    pub timeout_ms: u32,
    /// 1 for a new session, one more at each attachment.
    pub attachment: u64,
    /// The sequence of the last entry of this attachment; 0 before the first.
    pub sequence: u64,
    /// The nodes that go with it.
    pub(super) ephemerals: BTreeSet<PathKey>,
}

/// Why an entry of a session did not take its place in the session's order. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The session has ended, never was, or the password is wrong.
    NoSession,
    /// The session is attached elsewhere since; its number is there now.
    Moved {
        /// The number of its present attachment.
        attachment: u64,
    },
    /// An entry before this one was lost.
    Gap {
        /// The sequence that should have come.
        expected: u64,
    },
    /// An entry with this sequence was applied already: this is a copy.
    Duplicate {
        /// The last sequence that was applied.
        last: u64,
    },
}

impl Session {
    pub(super) fn new(password: Password, timeout_ms: u32) -> Self {
        Session { password, timeout_ms, attachment: 1, sequence: 0, ephemerals: BTreeSet::new() }
    }

    /// How many nodes go with it.
    #[must_use]
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.len()
    }

    pub(super) fn check_attachment(&self, attachment: u64) -> Result<(), Refusal> {
        if attachment == self.attachment { Ok(()) } else { Err(Refusal::Moved { attachment: self.attachment }) }
    }

    /// Checks that an entry is the next one of the present attachment.
    pub(super) fn check_order(&self, attachment: u64, sequence: u64) -> Result<(), Refusal> {
        self.check_attachment(attachment)?;
        let expected = self.sequence + 1;
        match sequence {
            same if same == expected => Ok(()),
            old if old < expected => Err(Refusal::Duplicate { last: self.sequence }),
            _ => Err(Refusal::Gap { expected }),
        }
    }

    /// Its part of the state's digest. Ephemerals are derived from the nodes and not part of it.
    pub(super) fn digest(&self, id: SessionId) -> u64 {
        Digest::new(3)
            .signed(id.0)
            .bytes(&self.password.0)
            .word(u64::from(self.timeout_ms))
            .word(self.attachment)
            .word(self.sequence)
            .value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_admitted_only_in_its_place() {
        let session = Session { attachment: 2, sequence: 4, ..Session::new(Password::default(), 1000) };
        assert_eq!(session.check_order(2, 5), Ok(()));
        assert_eq!(session.check_order(2, 6), Err(Refusal::Gap { expected: 5 }));
        assert_eq!(session.check_order(2, 4), Err(Refusal::Duplicate { last: 4 }));
        assert_eq!(session.check_order(1, 5), Err(Refusal::Moved { attachment: 2 }));
        assert_eq!(session.check_order(3, 5), Err(Refusal::Moved { attachment: 2 }));
    }
}
