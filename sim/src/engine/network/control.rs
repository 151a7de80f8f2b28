//! What faults do to the network.

use std::io;

use super::super::config::LinkParams;
use super::super::slab::Key;
use super::super::world::{Due, NodeId, World};
use super::{EndState, Farewell, Payload};

impl World {
    pub fn set_link(&mut self, from: NodeId, to: NodeId, params: LinkParams) {
        let link = self.net.link_mut(from, to);
        let lost_some = link.loses_some();
        link.set_params(params);
        if lost_some && !link.loses_some() {
            self.lose_no_more(from, to);
        }
    }

    /// A link has stopped losing packets: what it has lost comes with its next retransmission.
    fn lose_no_more(&mut self, from: NodeId, to: NodeId) {
        let World { net, queue, now_ns, config, .. } = self;
        for key in net.connections.keys(|connection| connection.is_between(from, to)) {
            let Some(connection) = net.connections.get_mut(key) else { continue };
            for side in (0..2).filter(|side| connection.ends[*side].node == from) {
                let pipe = &mut connection.pipes[side];
                let mut last_ns = 0;
                for segment in &mut pipe.segments {
                    segment.arrival_ns = segment.next_try_ns(*now_ns, &config.network).max(last_ns);
                    last_ns = segment.arrival_ns;
                }
                pipe.last_arrival_ns = pipe.last_arrival_ns.min(last_ns);
                if let (Some(event), None, Some(first)) = (pipe.event, pipe.held_since_ns, pipe.segments.front()) {
                    queue.reschedule(event, first.arrival_ns.max(*now_ns));
                }
            }
        }
    }

    pub fn arm_cut(&mut self, from: NodeId, to: NodeId) {
        self.net.link_mut(from, to).cuts_armed += 1;
    }

    pub fn disarm_cut(&mut self, from: NodeId, to: NodeId) {
        let armed = &mut self.net.link_mut(from, to).cuts_armed;
        *armed = armed.saturating_sub(1);
    }

    /// Cuts or heals one direction. What is held comes at its next retransmission.
    pub fn set_blocked(&mut self, from: NodeId, to: NodeId, is_blocked: bool) {
        let link = self.net.link_mut(from, to);
        if link.is_blocked == is_blocked {
            return;
        }
        link.is_blocked = is_blocked;
        self.trace.step(self.now_ns, from.0, if is_blocked { "cut" } else { "heal" }, u64::from(to.0));
        if !is_blocked {
            self.release_acknowledgements(from, to);
        }
    }

    /// Acknowledgements that could not travel `from` → `to` do so now.
    fn release_acknowledgements(&mut self, from: NodeId, to: NodeId) {
        let World { net, queue, now_ns, seed, .. } = self;
        for key in net.connections.keys(|connection| connection.is_between(from, to)) {
            let Some(connection) = net.connections.get_mut(key) else { continue };
            for side in 0..2 {
                let pipe = &mut connection.pipes[side];
                if connection.ends[side].node != to || pipe.held_acknowledgement_bytes == 0 {
                    continue;
                }
                let released = std::mem::take(&mut pipe.held_acknowledgement_bytes);
                pipe.unacknowledged_bytes = pipe.unacknowledged_bytes.saturating_sub(released);
                let travel = net.links[from.index()][to.index()].travel(*seed, *now_ns, 0);
                queue.push(travel.arrival_ns, Due::Writable { connection: key, side });
            }
        }
    }

    /// Resets each connection between two hosts, as a middlebox does: both ends learn of it at
    /// once, whether or not the link is cut. Returns how many there were.
    pub fn reset_connections(&mut self, a: NodeId, b: NodeId) -> usize {
        let keys = self.net.connections.keys(|connection| connection.is_between(a, b));
        let is_live = |world: &World, key: Key| {
            let connection = world.net.connections.get(key);
            connection.is_some_and(|connection| connection.ends.iter().any(|end| end.state.is_held()))
        };
        let mut count = 0;
        for key in keys {
            count += usize::from(is_live(self, key));
            for side in 0..2 {
                self.clear_pipe(key, side);
                self.fail_end(key, side, io::ErrorKind::ConnectionReset);
            }
            self.free_if_finished(key);
        }
        self.trace.step(self.now_ns, a.0, "reset", u64::from(b.0));
        count
    }

    /// Leaves all connections of a host whose process ended, and closes its listeners.
    pub fn close_all(&mut self, node: NodeId, farewell: Farewell) {
        for (_, listener) in std::mem::take(&mut self.node_mut(node).listeners) {
            if let Some(mut listening) = self.net.listeners.remove(listener) {
                self.wakes.append(&mut listening.wakers);
            }
        }
        for key in self.net.connections.keys(|connection| connection.ends.iter().any(|end| end.node == node)) {
            for side in 0..2 {
                if self.net.connections.get(key).is_some_and(|connection| connection.ends[side].node == node) {
                    self.leave(key, side, farewell);
                }
            }
            self.free_if_finished(key);
        }
    }

    fn leave(&mut self, key: Key, side: usize, farewell: Farewell) {
        let World { net, wakes, .. } = self;
        let Some(connection) = net.connections.get_mut(key) else { return };
        let end = &mut connection.ends[side];
        wakes.extend(end.read_waker.take());
        wakes.extend(end.write_waker.take());
        let (was, is_unread, fin_sent) = (end.state, end.received_bytes > 0, end.fin_sent);
        let is_established = matches!(was, EndState::Open | EndState::Pending) && end.error.is_none();
        connection.forget_received(side);
        let end = &mut connection.ends[side];
        if farewell == Farewell::Silence && was != EndState::Absent {
            end.state = EndState::Vanished;
            let pipe = &connection.pipes[side];
            if pipe.is_stalled || pipe.held_since_ns.is_some() {
                self.clear_pipe(key, side);
            }
        } else if was.is_held() || was == EndState::Answered {
            end.state = if farewell == Farewell::Close { EndState::Closed } else { EndState::Vanished };
            match farewell {
                _ if !is_established => {}
                Farewell::Close if !is_unread && !fin_sent => self.send(key, side, Payload::Fin),
                Farewell::Close if !is_unread => {}
                _ => self.send_reset(key, side),
            }
        }
        self.window_opened(key, side);
    }
}
