//! What can go wrong with a request, and whether it may have taken effect nevertheless.

use crate::base::znode::ErrorCode;

/// A failed request. [`CoordinatorError::is_ambiguous`] is the question to ask before a retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorError {
    /// The server refused it; it changed nothing.
    #[error("refused: {0}")]
    Refused(ErrorCode),
    /// The server refused a multi, which changed nothing. One result per operation: `Ok` before
    /// the one that failed, its error, `RuntimeInconsistency` after it.
    #[error("multi refused: {0:?}")]
    MultiRefused(Vec<ErrorCode>),
    /// The connection was lost before the reply came. Whether the request took effect is unknown.
    #[error("the connection was lost before the reply; the outcome is unknown")]
    ConnectionLoss,
    /// No server could be reached; the request was never sent.
    #[error("no coordinator can be reached; the request was not sent")]
    NotSent,
    /// The session has expired; the request was never sent. A new client is needed.
    #[error("the session has expired; the request was not sent")]
    SessionExpired,
    /// The client was closed; the request was never sent.
    #[error("the client is closed; the request was not sent")]
    Closed,
    /// The request is larger than any server would take; it was never sent.
    #[error("the request has {bytes} bytes, more than the {max} that servers take")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

impl CoordinatorError {
    /// Whether the request may have taken effect. Where not, it has certainly changed nothing.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        match self {
            CoordinatorError::ConnectionLoss => true,
            CoordinatorError::Refused(error) => matches!(
                error,
                ErrorCode::ConnectionLoss | ErrorCode::OperationTimeout | ErrorCode::SystemError | ErrorCode::Other(_)
            ),
            _ => false,
        }
    }

    /// Whether the server said just this.
    #[must_use]
    pub fn is(&self, error: ErrorCode) -> bool {
        *self == CoordinatorError::Refused(error)
    }

    /// The index of the operation of a refused multi that failed, and its error.
    #[must_use]
    pub fn failed_operation(&self) -> Option<(usize, ErrorCode)> {
        let CoordinatorError::MultiRefused(results) = self else { return None };
        results.iter().copied().enumerate().find(|(_, error)| *error != ErrorCode::Ok)
    }
}
