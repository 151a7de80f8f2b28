//! A node's network: TCP as an application sees it.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::base::address::Address;

/// Listening and connecting.
pub trait Network: Send + Sync {
    /// A bound, listening socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A connection.
    type Stream: Stream;

    /// Listens on `address`; port 0 takes a free one. Fails with `AddrInUse` if another listener
    /// of this host has that port, and with `AddrNotAvailable` if the host is not this node.
    fn listen(&self, address: &Address) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Connects to `address`. Refused (`ConnectionRefused`) if the host is up and nobody listens
    /// there. If the host does not answer (partition, power loss) it stays pending until a time-out
    /// of the operating system, `TimedOut`, which may take minutes: callers set their own bound.
    /// An unknown host name fails with another error kind.
    fn connect(&self, address: &Address) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A listening socket. Dropping it closes it; connections that were not yet accepted are reset.
pub trait Listener: Send + Sync + 'static {
    /// The connections that it accepts.
    type Stream: Stream;

    /// The next connection and its peer's address. Cancel-safe. An error concerns one connection
    /// (it was reset before it was accepted) or a limit (too many open files): accepting goes on.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Address)>> + Send;

    /// Where it listens, with the port that was chosen.
    fn local_address(&self) -> &Address;
}

/// A connection: two byte streams, one each way, in order, without loss or duplication.
///
/// - A peer that closes its writer gives end-of-stream here after all its bytes; this side may
///   still write (half-close).
/// - A peer whose process ends, or that resets, gives `ConnectionReset` here; bytes that it sent
///   before and that were not yet read may be lost.
/// - A peer that is cut off or has lost power gives *nothing*: reads stay pending, writes succeed
///   until the buffers are full. Bytes sent into a partition arrive after it heals, if both ends
///   still live and neither has given up.
/// - Dropping both halves closes the connection. Bytes that were written are still delivered, if
///   nothing that the peer sent was left unread; else the peer gets `ConnectionReset` and may lose
///   them (RFC 1122, 4.2.2.13).
pub trait Stream: Send + 'static {
    /// The receiving half.
    type Reader: StreamReader;
    /// The sending half.
    type Writer: StreamWriter;

    /// The two halves, to be used by two tasks or by one.
    fn split(self) -> (Self::Reader, Self::Writer);
}

/// The receiving half of a connection. A read gives whatever bytes are there, at least one, which
/// need not be what was written at once; zero bytes mean end-of-stream. Cancel-safe.
pub trait StreamReader: AsyncRead + Send + Sync + Unpin + 'static {}

/// The sending half of a connection. A write takes at least one byte, maybe not all, and is
/// pending while the peer's and the network's buffers are full (back-pressure). Vectored writes
/// are supported, and what was written is on its way without a flush. `poll_shutdown`, or dropping the half,
/// sends end-of-stream after the written bytes.
pub trait StreamWriter: AsyncWrite + Send + Sync + Unpin + 'static {
    /// Ends the connection at once in both directions; the peer gets `ConnectionReset`, and so does
    /// this side's reader.
    fn reset(self);
}
