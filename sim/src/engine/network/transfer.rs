//! Segments on their way: sent, held, retransmitted, received.

use std::io;

use super::super::config::nanos;
use super::super::hash::What;
use super::super::slab::Key;
use super::super::wakes::Wakes;
use super::super::world::{Due, NodeId, World};
use super::{Connection, EndState, Payload, Segment, retransmissions_ns};

/// A SYN's first retransmission (RFC 6298).
const SYN_RETRANSMIT_NS: u64 = 1_000_000_000;

/// A segment reaches its receiver.
const ARRIVAL: What = What::new("arrival");

/// A writer learns of room.
const WRITABLE: What = What::new("writable");

impl Connection {
    /// The next payload from `ends[side]` that has arrived and fits the receiver's window. A reset needs
    /// no window.
    fn take_due(&mut self, side: usize, window: usize, now_ns: u64) -> Option<Payload> {
        let pipe = &mut self.pipes[side];
        if pipe.event.is_some() {
            return None;
        }
        let receiver = &self.ends[1 - side];
        let first = pipe.segments.front_mut().filter(|first| first.arrival_ns <= now_ns)?;
        let room = window.saturating_sub(receiver.received_bytes);
        if let Payload::Data(count) = &mut first.payload
            && receiver.state.takes_data()
            && *count > room
        {
            if room > 0 {
                *count -= room;
                return Some(Payload::Data(room));
            }
            if pipe.ends_with_reset() {
                self.drop_segments(side);
                return Some(Payload::Reset);
            }
            pipe.is_stalled = true;
            return None;
        }
        pipe.segments.pop_front().map(|segment| segment.payload)
    }

    /// The next `count` bytes have come to `ends[side]`. Says whether it knows of the connection.
    fn take_data(&mut self, side: usize, count: usize, wakes: &mut Wakes) -> bool {
        let end = &mut self.ends[side];
        let is_known = end.state.takes_data();
        if is_known && end.error.is_none() {
            end.received_bytes += count;
            wakes.extend(end.read_waker.take());
        } else {
            self.pipes[1 - side].bytes.remove(end.received_bytes, count);
        }
        is_known
    }
}

impl World {
    /// The fate of a segment that `ends[side]` of a connection sends now. Data are its pipe's last bytes.
    pub(super) fn send(&mut self, key: Key, side: usize, payload: Payload) {
        let Some(connection) = self.net.connections.get(key) else { return };
        let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
        match payload {
            Payload::Data(count) if self.net.link(from, to).cuts_armed > 0 && count > 1 => {
                self.send_cut(key, side, count);
            }
            payload => self.push_segment(key, side, payload),
        }
    }

    /// Sends a part of `count` bytes and then resets both ends: a reset in mid-frame.
    fn send_cut(&mut self, key: Key, side: usize, count: usize) {
        let Some(connection) = self.net.connections.get(key) else { return };
        let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
        let seed = self.seed;
        let link = self.net.link_mut(from, to);
        link.cuts_armed -= 1;
        let kept = 1 + link.draws(seed).below(count as u64 - 1) as usize;
        self.effects.frames_cut += 1;
        self.net.cut_frames.push((self.now_ns, from, to));
        if let Some(connection) = self.net.connections.get_mut(key) {
            connection.pipes[side].bytes.drop_last(count - kept);
        }
        self.push_segment(key, side, Payload::Data(kept));
        self.push_segment(key, side, Payload::Reset);
        self.fail_end(key, side, io::ErrorKind::ConnectionReset);
    }

    fn push_segment(&mut self, key: Key, side: usize, payload: Payload) {
        let World { net, trace, effects, queue, config, nodes, now_ns, .. } = self;
        let Some(connection) = net.connections.get_mut(key) else { return };
        let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
        let pipe = &mut connection.pipes[side];
        let effort = nodes[from.index()].efforts.now(*now_ns);
        let bytes = match payload {
            Payload::Syn => {
                effort.connects += 1;
                0
            }
            Payload::Data(count) => {
                effort.sends += 1;
                effort.sent_bytes += count as u64;
                trace.mixer.fold_bytes(pipe.bytes.last(count));
                count
            }
            _ => 0,
        };
        let travel = net.links[from.index()][to.index()].travel(self.seed, self.now_ns, bytes);
        effects.segments_late += u64::from(travel.is_late);
        effects.segments_lost += u64::from(travel.losses);
        let (first_try_ns, losses) = (travel.arrival_ns, travel.losses);
        let arrival_ns = retransmissions_ns(first_try_ns, &config.network).nth(losses as usize).unwrap_or(first_try_ns);
        // Segments that are lost together are retransmitted together (RFC 2018): one waits for
        // those before it, but its own time-outs do not begin only then.
        let arrival_ns = arrival_ns.max(pipe.last_arrival_ns);
        pipe.last_arrival_ns = arrival_ns;
        pipe.unacknowledged_bytes += bytes;
        pipe.segments.push_back(Segment { arrival_ns, first_try_ns, losses, payload });
        if pipe.event.is_none() && !pipe.is_stalled {
            pipe.event = Some(queue.push(arrival_ns, Due::Arrival { connection: key, side }));
        }
    }

    /// The first segment of a pipe is due at the receiver.
    pub fn arrival(&mut self, key: Key, side: usize) {
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        connection.pipes[side].event = None;
        let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
        self.trace.step(self.now_ns, to.0, ARRIVAL, u64::from(key.place) << 1 | side as u64);
        if self.net.link(from, to).is_blocked || !self.node(to).is_powered {
            self.hold(key, side, from);
        } else {
            self.receive_due(key, side);
        }
        self.free_if_finished(key);
    }

    fn receive_due(&mut self, key: Key, side: usize) {
        let window = self.config.network.receive_buffer_bytes;
        loop {
            let World { net, queue, wakes, nodes, now_ns, .. } = self;
            let Some(connection) = net.connections.get_mut(key) else { return };
            match connection.take_due(side, window, *now_ns) {
                Some(Payload::Data(count)) if connection.take_data(1 - side, count, wakes) => {
                    let receiver = connection.ends[1 - side].node;
                    nodes[receiver.index()].efforts.now(*now_ns).receipts += 1;
                    self.acknowledge(key, 1 - side, count);
                }
                Some(payload) => self.receive(key, 1 - side, payload),
                None => {
                    let pipe = &mut connection.pipes[side];
                    if pipe.event.is_some() {
                        return; // Held again: the backlog is full.
                    }
                    (pipe.held_since_ns, pipe.backoff_ns) = (None, 0);
                    if !pipe.is_stalled
                        && let Some(first) = pipe.segments.front()
                    {
                        pipe.event = Some(queue.push(first.arrival_ns, Due::Arrival { connection: key, side }));
                    }
                    return;
                }
            }
        }
    }

    /// The first segment met a partition, or a host without power: it is retransmitted later,
    /// unless the sender is no more or gives up.
    fn hold(&mut self, key: Key, side: usize, from: NodeId) {
        let is_sender_up = self.node(from).is_powered;
        let World { net, queue, config, effects, .. } = self;
        let Some(connection) = net.connections.get_mut(key) else { return };
        let is_sender_gone = connection.ends[side].state == EndState::Vanished || !is_sender_up;
        let pipe = &mut connection.pipes[side];
        if pipe.held_since_ns.is_none() {
            effects.segments_held += pipe.segments.len() as u64;
        }
        if is_sender_gone {
            return self.hold_farewell(key, side);
        }
        let since_ns = *pipe.held_since_ns.get_or_insert(self.now_ns);
        let Some(first) = pipe.segments.front() else { return };
        let (first_ns, give_up_ns) = match first.payload {
            Payload::Syn => (SYN_RETRANSMIT_NS, nanos(config.network.connect_timeout)),
            Payload::SynAck => (SYN_RETRANSMIT_NS, nanos(config.network.connect_timeout) / 2),
            _ => (nanos(config.network.retransmit_first), nanos(config.network.give_up)),
        };
        let limit_ns = since_ns.saturating_add(give_up_ns);
        if self.now_ns >= limit_ns {
            self.effects.connections_timed_out += 1;
            return self.fail_end(key, side, io::ErrorKind::TimedOut);
        }
        let most_ns = nanos(config.network.retransmit_most).max(first_ns);
        pipe.backoff_ns = if pipe.backoff_ns == 0 { first_ns } else { (pipe.backoff_ns * 2).min(most_ns) };
        let retry_ns = (self.now_ns + pipe.backoff_ns).min(limit_ns);
        pipe.event = Some(queue.push(retry_ns, Due::Arrival { connection: key, side }));
    }

    /// A RST is sent once. If it meets a partition it is lost for good, or (for those who close
    /// with an end-of-stream, which is retransmitted) it comes when the partition heals: drawn.
    fn hold_farewell(&mut self, key: Key, side: usize) {
        let (seed, now_ns, lost) = (self.seed, self.now_ns, self.config.network.lost_reset_per_million);
        let World { net, queue, config, effects, .. } = self;
        let Some(connection) = net.connections.get_mut(key) else { return };
        let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
        let pipe = &mut connection.pipes[side];
        let is_first_time = pipe.held_since_ns.replace(now_ns).is_none();
        let is_reset = pipe.ends_with_reset();
        connection.drop_segments(side);
        let is_up = self.nodes[from.index()].is_powered;
        let is_lost = is_first_time && net.links[from.index()][to.index()].draws(seed).happens(lost);
        if !is_reset || !is_up || is_lost {
            effects.connections_left_half_open += 1;
            return;
        }
        let pipe = &mut connection.pipes[side];
        pipe.segments.push_back(Segment::at(now_ns, Payload::Reset));
        let first_ns = nanos(config.network.retransmit_first);
        pipe.backoff_ns = (pipe.backoff_ns * 2).clamp(first_ns, nanos(config.network.retransmit_most).max(first_ns));
        pipe.event = Some(queue.push(now_ns + pipe.backoff_ns, Due::Arrival { connection: key, side }));
    }

    /// A payload reaches `ends[side]`.
    fn receive(&mut self, key: Key, side: usize, payload: Payload) {
        match payload {
            Payload::Syn => self.receive_syn(key, side),
            Payload::SynAck => self.receive_syn_ack(key, side),
            Payload::Ack => self.receive_ack(key, side),
            // Nobody takes it any more.
            Payload::Data(_) => self.send_reset(key, side),
            Payload::Fin => self.receive_fin(key, side),
            Payload::Reset => self.receive_reset(key, side),
        }
    }

    fn receive_syn(&mut self, key: Key, side: usize) {
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        let end = &mut connection.ends[side];
        let listener = self.nodes[end.node.index()].listeners.get(&end.port).copied();
        let Some(listening) = listener.and_then(|listener| self.net.listeners.get_mut(listener)) else {
            return self.send(key, side, Payload::Reset);
        };
        if listening.queue.len() >= self.config.network.accept_backlog {
            // A full backlog drops the SYN without a word; the client sends it again.
            let from = connection.ends[1 - side].node;
            let again = Segment::at(self.now_ns, Payload::Syn);
            connection.pipes[1 - side].segments.push_front(again);
            return self.hold(key, 1 - side, from);
        }
        end.state = EndState::Answered;
        self.send(key, side, Payload::SynAck);
    }

    fn receive_syn_ack(&mut self, key: Key, side: usize) {
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        let end = &mut connection.ends[side];
        if end.state != EndState::Connecting {
            return self.send_reset(key, side);
        }
        end.state = EndState::Open;
        self.wakes.extend(end.read_waker.take());
        self.send(key, side, Payload::Ack);
    }

    fn receive_ack(&mut self, key: Key, side: usize) {
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        let end = &connection.ends[side];
        if end.state != EndState::Answered {
            return self.send_reset(key, side);
        }
        let listener = self.nodes[end.node.index()].listeners.get(&end.port).copied();
        match listener.and_then(|listener| self.net.listeners.get_mut(listener)) {
            Some(listening) => {
                connection.ends[side].state = EndState::Pending;
                listening.queue.push_back(key);
                self.wakes.append(&mut listening.wakers);
            }
            None => {
                connection.ends[side].state = EndState::Closed;
                self.send_reset(key, side);
            }
        }
    }

    /// Tells the sender that `count` bytes came, if the acknowledgement gets through.
    fn acknowledge(&mut self, key: Key, side: usize, count: usize) {
        let World { net, queue, .. } = self;
        let Some(connection) = net.connections.get_mut(key) else { return };
        let (receiver, sender) = (connection.ends[side].node, connection.ends[1 - side].node);
        let back = &mut net.links[receiver.index()][sender.index()];
        let pipe = &mut connection.pipes[1 - side];
        if back.is_blocked {
            pipe.held_acknowledgement_bytes += count;
            return;
        }
        pipe.unacknowledged_bytes = pipe.unacknowledged_bytes.saturating_sub(count);
        if connection.ends[1 - side].write_waker.is_some() {
            let travel = back.travel(self.seed, self.now_ns, 0);
            queue.push(travel.arrival_ns, Due::Writable { connection: key, side: 1 - side });
        }
    }

    /// A writer that waits for room learns of some.
    pub fn writable(&mut self, key: Key, side: usize) {
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        let end = &mut connection.ends[side];
        self.trace.step(self.now_ns, end.node.0, WRITABLE, u64::from(key.place) << 1 | side as u64);
        self.wakes.extend(end.write_waker.take());
    }

    fn receive_fin(&mut self, key: Key, side: usize) {
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        let end = &mut connection.ends[side];
        match end.state {
            EndState::Open | EndState::Pending => {
                end.fin_received = true;
                self.wakes.extend(end.read_waker.take());
            }
            EndState::Vanished => self.send_reset(key, side),
            EndState::Absent | EndState::Connecting | EndState::Answered | EndState::Closed => {}
        }
    }

    fn receive_reset(&mut self, key: Key, side: usize) {
        let discards = self.config.network.reset_discards_per_million;
        let seed = self.seed;
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        let (node, peer) = (connection.ends[side].node, connection.ends[1 - side].node);
        let kind = match connection.ends[side].state {
            EndState::Connecting => io::ErrorKind::ConnectionRefused,
            _ => io::ErrorKind::ConnectionReset,
        };
        let is_discarded =
            connection.ends[side].received_bytes > 0 && self.net.link_mut(peer, node).draws(seed).happens(discards);
        if is_discarded && let Some(connection) = self.net.connections.get_mut(key) {
            connection.forget_received(side);
        }
        self.fail_end(key, side, kind);
    }

    /// One end learns that the connection is no more. What it had still to send is dropped.
    pub(super) fn fail_end(&mut self, key: Key, side: usize, kind: io::ErrorKind) {
        let Some(connection) = self.net.connections.get_mut(key) else { return };
        let end = &mut connection.ends[side];
        if end.state == EndState::Answered {
            end.state = EndState::Vanished; // Nobody holds it yet.
        } else if end.state.is_held() && end.error.is_none() {
            end.error = Some(kind);
            self.effects.connections_reset += u64::from(kind == io::ErrorKind::ConnectionReset);
        }
        self.wakes.extend(end.read_waker.take());
        self.wakes.extend(end.write_waker.take());
        if !connection.pipes[side].ends_with_reset() {
            self.clear_pipe(key, side);
        }
    }

    /// Drops what a pipe holds, and its event.
    pub(super) fn clear_pipe(&mut self, key: Key, side: usize) {
        let World { net, queue, .. } = self;
        let Some(connection) = net.connections.get_mut(key) else { return };
        connection.drop_segments(side);
        let pipe = &mut connection.pipes[side];
        pipe.is_stalled = false;
        if let Some(event) = pipe.event.take() {
            queue.cancel(event);
        }
    }

    /// Sends a RST. What is held or stalled is dropped; what is under way arrives before it.
    pub(super) fn send_reset(&mut self, key: Key, side: usize) {
        let Some(connection) = self.net.connections.get(key) else { return };
        let pipe = &connection.pipes[side];
        if pipe.is_stalled || pipe.held_since_ns.is_some() {
            self.clear_pipe(key, side);
        }
        let Some(connection) = self.net.connections.get(key) else { return };
        if !connection.pipes[side].ends_with_reset() {
            self.push_segment(key, side, Payload::Reset);
        }
    }

    /// The receiver has room again: what was stalled comes after a round trip.
    pub(super) fn window_opened(&mut self, key: Key, receiver: usize) {
        let World { net, queue, .. } = self;
        let Some(connection) = net.connections.get_mut(key) else { return };
        let sender = 1 - receiver;
        let (from, to) = (connection.ends[sender].node, connection.ends[receiver].node);
        let pipe = &mut connection.pipes[sender];
        if !std::mem::take(&mut pipe.is_stalled) || pipe.segments.is_empty() {
            return;
        }
        let update = net.links[to.index()][from.index()].travel(self.seed, self.now_ns, 0);
        let data = net.links[from.index()][to.index()].travel(self.seed, update.arrival_ns, 0);
        pipe.event = Some(queue.push(data.arrival_ns, Due::Arrival { connection: key, side: sender }));
    }

    /// Forgets a connection that nobody knows any more.
    #[inline]
    pub(super) fn free_if_finished(&mut self, key: Key) {
        if self.net.connections.get(key).is_some_and(|connection| connection.is_finished()) {
            self.net.connections.remove(key);
        }
    }
}
