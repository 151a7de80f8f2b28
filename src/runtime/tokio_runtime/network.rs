//! TCP over tokio, without Nagle's delay.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the network that others are given")]

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

use super::TokioRuntime;
use crate::base::address::Address;
use crate::runtime::{Listener, Network, Stream, StreamReader, StreamWriter};

/// Connections that the operating system completes before they are accepted.
const ACCEPT_BACKLOG_CONNECTIONS: u32 = 1024;

/// A bound, listening socket.
#[derive(Debug)]
pub struct TokioListener {
    socket: TcpListener,
    address: Address,
}

/// A connection.
#[derive(Debug)]
pub struct TokioStream {
    socket: TcpStream,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct TokioReader {
    shared: Arc<Mutex<ReadHalf>>,
}

/// The sending half of a connection.
#[derive(Debug)]
pub struct TokioWriter {
    half: OwnedWriteHalf,
    reader: Arc<Mutex<ReadHalf>>,
}

/// What the reader reads from, where the writer's reset can take it away: only when both halves
/// let go of the socket does the operating system close it, and with that reset the connection.
#[derive(Debug)]
struct ReadHalf {
    /// None after a reset.
    half: Option<OwnedReadHalf>,
    /// Who waits for bytes, to be told of a reset.
    waiting: Option<Waker>,
}

impl Network for TokioRuntime {
    type Listener = TokioListener;
    type Stream = TokioStream;

    async fn listen(&self, address: &Address) -> io::Result<TokioListener> {
        let candidates = resolve(address).await.map_err(|error| io::Error::new(ErrorKind::AddrNotAvailable, error))?;
        let mut last = nowhere(address);
        for candidate in candidates {
            match bind(candidate) {
                Ok(socket) => {
                    let port = socket.local_addr()?.port();
                    return Ok(TokioListener { socket, address: Address::new(address.host.clone(), port) });
                }
                // A name's other addresses would be another listener on a port that is taken.
                Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect(&self, address: &Address) -> io::Result<TokioStream> {
        let mut last = nowhere(address);
        for candidate in resolve(address).await? {
            match connect(candidate).await {
                Ok(socket) => return Ok(TokioStream { socket }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The addresses of a host, in the resolver's order of preference.
async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    match lookup_host((&*address.host, address.port)).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(io::Error::new(ErrorKind::NotFound, format!("host '{}': {error}", address.host))),
    }
}

fn nowhere(address: &Address) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("host '{}' has no address", address.host))
}

/// A port whose last listener has only just closed can be had again (`SO_REUSEADDR`), one that is
/// being listened on cannot.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG_CONNECTIONS)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    // TCP lets a socket connect to itself when the ephemeral port that it was given is the one
    // that it asks for (RFC 9293, 3.5, simultaneous open). Nobody listened there.
    if socket.local_addr()? == socket.peer_addr()? {
        socket.set_zero_linger()?;
        return Err(ErrorKind::ConnectionRefused.into());
    }
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl Listener for TokioListener {
    type Stream = TokioStream;

    async fn accept(&self) -> io::Result<(TokioStream, Address)> {
        let (socket, peer) = self.socket.accept().await?;
        socket.set_nodelay(true)?;
        // A listener on `::` sees IPv4 peers as `::ffff:a.b.c.d`.
        let host = peer.ip().to_canonical().to_string();
        Ok((TokioStream { socket }, Address::new(host, peer.port())))
    }

    fn local_address(&self) -> &Address {
        &self.address
    }
}

impl Stream for TokioStream {
    type Reader = TokioReader;
    type Writer = TokioWriter;

    fn split(self) -> (TokioReader, TokioWriter) {
        let (reader, writer) = self.socket.into_split();
        let shared = Arc::new(Mutex::new(ReadHalf { half: Some(reader), waiting: None }));
        (TokioReader { shared: Arc::clone(&shared) }, TokioWriter { half: writer, reader: shared })
    }
}

/// Contended only while a reset takes place. A poll that panicked leaves the half usable or gone.
fn lock(shared: &Mutex<ReadHalf>) -> MutexGuard<'_, ReadHalf> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StreamReader for TokioReader {}

impl AsyncRead for TokioReader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        let Some(half) = &mut shared.half else {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        };
        let poll = Pin::new(half).poll_read(context, buffer);
        if poll.is_pending() && !shared.waiting.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            shared.waiting = Some(context.waker().clone());
        }
        poll
    }
}

impl Drop for TokioReader {
    /// The writer must not keep the receiving half open.
    fn drop(&mut self) {
        lock(&self.shared).half = None;
    }
}

impl StreamWriter for TokioWriter {
    fn reset(self) {
        // Close now discards what is unsent and sends RST. It fails only if the socket is gone.
        let _ = self.half.as_ref().set_zero_linger();
        let waiting = {
            let mut reader = lock(&self.reader);
            reader.half = None;
            reader.waiting.take()
        };
        // Not dropped: that would end the stream in good order before the reset.
        self.half.forget();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl AsyncWrite for TokioWriter {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.half).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.half).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.half.is_write_vectored()
    }
}
