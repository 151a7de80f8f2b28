//! What nodes hold of the network: listeners, connections and their halves. All are plain ids.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wyrdlog::base::address::Address;
use wyrdlog::runtime::{Listener, Stream, StreamReader, StreamWriter};

use super::super::process::FIRST_FREE_PORT;
use super::super::runtime::{SimRuntime, ended};
use super::super::slab::Key;
use super::super::tap;
use super::super::world::{NodeId, World};
use super::{Connection, End, EndState, Listening, Payload, Pipe, ServerBytes};

const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// The side of a connection that accepted it.
const SERVER: usize = 1;
const ANY_NAMES: [&str; 2] = ["0.0.0.0", "::"];

impl World {
    fn resolve(&self, from: NodeId, host: &str) -> Option<NodeId> {
        if LOOPBACK_NAMES.contains(&host) {
            return Some(from);
        }
        self.nodes.iter().position(|node| &*node.name == host).map(|at| NodeId(at as u32))
    }

    /// A port of the node that no listener has; ports come in turn.
    fn free_port(&mut self, node: NodeId) -> Option<u16> {
        let node = self.node_mut(node);
        for _ in FIRST_FREE_PORT..u16::MAX {
            let port = node.next_port;
            node.next_port = if port == u16::MAX - 1 { FIRST_FREE_PORT } else { port + 1 };
            if !node.listeners.contains_key(&port) {
                return Some(port);
            }
        }
        None
    }
}

/// Binds a listener; see [`wyrdlog::runtime::Network::listen`].
pub(in super::super) fn listen(runtime: SimRuntime, address: &Address) -> io::Result<SimListener> {
    runtime.live_io(|world| {
        let is_here =
            ANY_NAMES.contains(&&*address.host) || world.resolve(runtime.node, &address.host) == Some(runtime.node);
        if !is_here {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = match address.port {
            0 => world.free_port(runtime.node).ok_or(io::ErrorKind::AddrInUse)?,
            port => port,
        };
        if world.node(runtime.node).listeners.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let key = world.net.listeners.insert(Listening { queue: Default::default(), wakers: Vec::new() });
        world.node_mut(runtime.node).listeners.insert(port, key);
        Ok(SimListener { runtime, key, address: Address { host: address.host.clone(), port } })
    })
}

/// Connects; see [`wyrdlog::runtime::Network::connect`].
pub(in super::super) async fn connect(runtime: SimRuntime, address: &Address) -> io::Result<SimStream> {
    let stream = runtime.live_io(|world| {
        let peer = world
            .resolve(runtime.node, &address.host)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("unknown host {}", address.host)))?;
        let port = world.free_port(runtime.node).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let ends = [End::new(runtime.node, port, EndState::Connecting), End::new(peer, address.port, EndState::Absent)];
        let key = world.net.connections.insert(Connection { ends, pipes: [Pipe::default(), Pipe::default()] });
        world.send(key, 0, Payload::Syn);
        Ok(SimStream::new(runtime, key, 0))
    })?;
    let half = stream.reader.0;
    poll_fn(|context| half.poll_connected(context)).await?;
    Ok(stream)
}

/// A listening socket of a simulated node.
#[derive(Debug)]
pub struct SimListener {
    runtime: SimRuntime,
    key: Key,
    address: Address,
}

impl SimListener {
    fn poll_accept(&self, context: &Context<'_>) -> Poll<io::Result<(SimStream, Address)>> {
        let accept = |world: &mut World| {
            let World { net, nodes, wakes, .. } = world;
            let Some(listening) = net.listeners.get_mut(self.key) else { return Poll::Ready(Err(ended())) };
            while let Some(key) = listening.queue.pop_front() {
                let Some(connection) = net.connections.get_mut(key) else { continue };
                connection.ends[1].state = EndState::Open;
                let client = &connection.ends[0];
                let peer = Address { host: nodes[client.node.index()].name.clone(), port: client.port };
                return Poll::Ready(Ok((SimStream::new(self.runtime, key, 1), peer)));
            }
            if !listening.wakers.iter().any(|kept| wakes.is_kept(kept, context.waker())) {
                listening.wakers.push(wakes.wakeup(context.waker()));
            }
            Poll::Pending
        };
        self.runtime.live(accept).unwrap_or_else(|| Poll::Ready(Err(ended())))
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    fn accept(&self) -> impl Future<Output = io::Result<(SimStream, Address)>> + Send {
        poll_fn(|context| self.poll_accept(context))
    }

    fn local_address(&self) -> &Address {
        &self.address
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let wakers = self.runtime.live(|world| {
            world.node_mut(self.runtime.node).listeners.remove(&self.address.port);
            let listening = world.net.listeners.remove(self.key)?;
            for key in listening.queue {
                if let Some(connection) = world.net.connections.get_mut(key) {
                    connection.ends[1].state = EndState::Closed;
                    connection.forget_received(1);
                    world.send_reset(key, 1);
                    world.window_opened(key, 1);
                    world.free_if_finished(key);
                }
            }
            Some(listening.wakers)
        });
        drop(wakers);
    }
}

/// One end of a connection, by id.
#[derive(Clone, Copy, Debug)]
struct Handle {
    runtime: SimRuntime,
    key: Key,
    side: usize,
}

impl Handle {
    fn poll_connected(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.in_world(|world| {
            let World { net, wakes, .. } = world;
            let Some(connection) = net.connections.get_mut(self.key) else { return Poll::Ready(Err(ended())) };
            let end = &mut connection.ends[self.side];
            if let Some(kind) = end.error {
                return Poll::Ready(Err(kind.into()));
            }
            if end.state == EndState::Open {
                return Poll::Ready(Ok(()));
            }
            wakes.keep(&mut end.read_waker, context.waker());
            Poll::Pending
        })
    }

    /// Those that have ended get an error.
    fn in_world<R>(&self, f: impl FnOnce(&mut World) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.runtime.live(f).unwrap_or_else(|| Poll::Ready(Err(ended())))
    }

    fn poll_read(&self, context: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.in_world(|world| {
            let World { net, wakes, config, effects, .. } = world;
            let Some(connection) = net.connections.get_mut(self.key) else { return Poll::Ready(Err(ended())) };
            let (node, peer) = (connection.ends[self.side].node, connection.ends[1 - self.side].node);
            let end = &mut connection.ends[self.side];
            if end.received_bytes == 0 {
                if let Some(kind) = end.error {
                    return Poll::Ready(Err(kind.into()));
                }
                if end.fin_received {
                    return Poll::Ready(Ok(()));
                }
                wakes.keep(&mut end.read_waker, context.waker());
                return Poll::Pending;
            }
            let mut wanted = buffer.remaining().min(end.received_bytes);
            let splits = config.network.split_per_million;
            if splits > 0 && wanted > 1 {
                let moved = net.links[node.index()][peer.index()].moved(world.seed, splits, wanted);
                effects.transfers_split += u64::from(moved < wanted);
                wanted = moved;
            }
            end.received_bytes -= wanted;
            let port = end.port;
            let pipe = &mut connection.pipes[1 - self.side];
            buffer.put_slice(pipe.bytes.first(wanted));
            pipe.bytes.advance(wanted);
            let is_stalled = pipe.is_stalled;
            if self.side == SERVER {
                let filled = buffer.filled();
                self.tell_tap(world, port, false, &filled[filled.len() - wanted..]);
            }
            if is_stalled {
                world.window_opened(self.key, self.side);
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Writes as much of `parts`, which are `len` bytes together, as fits.
    #[inline]
    fn poll_write<'a>(
        &self,
        context: &Context<'_>,
        len: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        self.in_world(|world| {
            let World { net, wakes, config, effects, .. } = world;
            let Some(connection) = net.connections.get_mut(self.key) else { return Poll::Ready(Err(ended())) };
            let (node, peer) = (connection.ends[self.side].node, connection.ends[1 - self.side].node);
            let end = &mut connection.ends[self.side];
            if let Some(kind) = end.error {
                return Poll::Ready(Err(kind.into()));
            }
            if end.fin_sent {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room =
                config.network.send_buffer_bytes.saturating_sub(connection.pipes[self.side].unacknowledged_bytes);
            if room == 0 {
                wakes.keep(&mut end.write_waker, context.waker());
                return Poll::Pending;
            }
            let mut count = len.min(room);
            let splits = config.network.split_per_million;
            if splits > 0 && count > 1 {
                let moved = net.links[node.index()][peer.index()].moved(world.seed, splits, count);
                effects.transfers_split += u64::from(moved < count);
                count = moved;
            }
            let port = connection.ends[self.side].port;
            let pipe = &mut connection.pipes[self.side];
            let mut left = count;
            for part in parts {
                let part = &part[..part.len().min(left)];
                pipe.bytes.append(part);
                left -= part.len();
            }
            if self.side == SERVER
                && let Some(connection) = world.net.connections.get(self.key)
            {
                self.tell_tap(world, port, true, connection.pipes[SERVER].bytes.last(count));
            }
            world.send(self.key, self.side, Payload::Data(count));
            Poll::Ready(Ok(count))
        })
    }

    fn tell_tap(&self, world: &World, port: u16, written: bool, bytes: &[u8]) {
        tap::tell(port, |tap| {
            let (node, time_ns) = (self.runtime.node, world.now_ns);
            tap(ServerBytes {
                time_ns,
                node,
                incarnation: self.runtime.incarnation,
                clock_ns: world.node(node).clock.monotonic_ns(time_ns),
                port,
                connection: u64::from(self.key.place) << 32 | u64::from(self.key.generation),
                written,
                bytes,
            });
        });
    }

    fn shut_down(&self, world: &mut World) {
        let Some(connection) = world.net.connections.get_mut(self.key) else { return };
        let end = &mut connection.ends[self.side];
        if end.state == EndState::Open && end.error.is_none() && !end.fin_sent {
            end.fin_sent = true;
            world.send(self.key, self.side, Payload::Fin);
        }
    }

    /// One half was dropped; with the second the connection is closed.
    fn close_half(&self, is_reader: bool) {
        let close = |world: &mut World| {
            if !is_reader {
                self.shut_down(world);
            }
            let Some(connection) = world.net.connections.get_mut(self.key) else { return };
            let end = &mut connection.ends[self.side];
            if is_reader {
                end.has_reader = false
            } else {
                end.has_writer = false
            }
            let waker = if is_reader { end.read_waker.take() } else { end.write_waker.take() };
            world.wakes.extend(waker);
            if !end.has_reader && !end.has_writer {
                let was_connecting = end.state == EndState::Connecting;
                end.state = EndState::Closed;
                connection.forget_received(self.side);
                if was_connecting {
                    world.clear_pipe(self.key, self.side);
                }
                world.window_opened(self.key, self.side);
                world.free_if_finished(self.key);
            }
        };
        self.runtime.live(close);
    }
}

/// A connection of a simulated node.
#[derive(Debug)]
pub struct SimStream {
    reader: SimReader,
    writer: SimWriter,
}

impl SimStream {
    fn new(runtime: SimRuntime, key: Key, side: usize) -> Self {
        let handle = Handle { runtime, key, side };
        SimStream { reader: SimReader(handle), writer: SimWriter(handle) }
    }
}

impl Stream for SimStream {
    type Reader = SimReader;
    type Writer = SimWriter;

    fn split(self) -> (SimReader, SimWriter) {
        (self.reader, self.writer)
    }
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct SimReader(Handle);

impl Drop for SimReader {
    fn drop(&mut self) {
        self.0.close_half(true);
    }
}

impl StreamReader for SimReader {}

impl AsyncRead for SimReader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(context, buffer)
    }
}

/// The sending half of a connection.
#[derive(Debug)]
pub struct SimWriter(Handle);

impl Drop for SimWriter {
    fn drop(&mut self) {
        self.0.close_half(false);
    }
}

impl StreamWriter for SimWriter {
    fn reset(self) {
        let handle = self.0;
        handle.runtime.live(|world| {
            world.fail_end(handle.key, handle.side, io::ErrorKind::ConnectionReset);
            world.send_reset(handle.key, handle.side);
        });
    }
}

impl AsyncWrite for SimWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes.len(), iter::once(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, parts.iter().map(|part| part.len()).sum(), parts.iter().map(|part| &**part))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.runtime.live(|world| self.0.shut_down(world));
        Poll::Ready(Ok(()))
    }
}
