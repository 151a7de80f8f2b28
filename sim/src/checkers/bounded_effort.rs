//! *bounded_effort*: nobody works in vain. Whoever fails pauses before it tries again, a follower with nothing to fetch
//! waits, and what is synced was written or made (`swarm` seed 86063: 87 segments were begun in a second). A cluster that does otherwise is right in all that it says, and falls over
//! on the day on which many fail at once.
//!
//! What servers did is counted by the engine, second by second (`engine/effort.rs`), and compared with what clients sent
//! in that second and the two before it, and with what servers owe each other: heartbeats, long polls, tries anew.
//! The bounds lie above what 360 seeds of the mixture came to, by half and more.
//!
//! Not seen: effort below that, such as a log that is synced for each batch of a client.

use crate::history::effort::{EffortHistory, Part, Server};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// Connections that a server begins in a second, for each server that there is.
const CONNECTS: u64 = 9;
/// Pieces that a server writes in a second for each broker and each coordinator, whatever clients do.
const OF_BROKER: u64 = 60;
const OF_COORDINATOR: u64 = 90;
/// A piece of so many bytes is paid for by what it carries.
const PIECE_BYTES: u64 = 512;
/// Syncs in a second for which nothing was written and no file made: of what was written before it, of logs that are opened.
const SYNCS: u64 = 160;

/// Judges every second of every server.
#[must_use]
pub fn check(history: &EffortHistory) -> Findings {
    let mut findings = Findings::new(Property::BoundedEffort);
    let count = |part| history.servers.iter().filter(|server| server.part == part).count() as u64;
    let (brokers, coordinators) = (count(Part::Broker), count(Part::Coordinator));
    for (server, ordinal) in history.servers.iter().zip(0_u64..) {
        for (second, done) in server.seconds.iter().enumerate() {
            let asked: u64 = (second.saturating_sub(2)..=second).filter_map(|at| history.asked.get(at)).sum();
            // What one client asks is told to every server of the ensemble.
            let asked = asked + asked * coordinators / 2;
            let sends =
                OF_BROKER * brokers + OF_COORDINATOR * coordinators + 3 * asked / 2 + done.sent_bytes / PIECE_BYTES;
            let bounds = [
                ("connections begun", u64::from(done.connects), CONNECTS * (brokers + coordinators)),
                ("pieces sent", u64::from(done.sends), sends),
                ("syncs", u64::from(done.syncs), u64::from(done.writes) + u64::from(done.files_made) + SYNCS),
            ];
            for (what, did, bound) in bounds {
                findings.check(did <= bound, (second as u64 + 1) * 1_000_000_000, [ordinal], || {
                    told(server, second, asked, &format!("{did} {what}, where {bound} are enough"))
                });
            }
        }
    }
    findings
}

fn told(server: &Server, second: usize, asked: u64, what: &str) -> String {
    let from_ns = second as u64 * 1_000_000_000;
    format!("{} in the second from {}: {what} (clients had sent {asked} pieces)", server.node, seconds(from_ns))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::Effort;
    use crate::observed::Node;

    /// A broker and a coordinator that do what is asked of them.
    pub(crate) fn good() -> EffortHistory {
        let busy = Effort { connects: 2, sends: 200, sent_bytes: 20_000, writes: 50, syncs: 50, ..Effort::default() };
        let server = |part, node| Server { part, node: Node(node), seconds: vec![busy; 4] };
        let servers = vec![server(Part::Coordinator, 0), server(Part::Broker, 1)];
        EffortHistory { asked: vec![100; 4], servers }
    }

    fn violated(edit: impl Fn(&mut Effort)) -> u64 {
        let mut history = good();
        edit(&mut history.servers[1].seconds[2]);
        check(&history).violated
    }

    #[test]
    fn who_does_what_is_asked_for_is_accepted() {
        let findings = check(&good());
        assert_eq!((findings.violated, findings.evaluations), (0, 24));
        assert_eq!(violated(|done| done.sends = 700), 0, "clients ask a lot");
    }

    #[test]
    fn who_tries_again_at_once_is_rejected() {
        assert_eq!(violated(|done| done.connects = 300), 1);
        assert_eq!(violated(|done| done.sends = 3_000), 1);
        assert_eq!(violated(|done| (done.sends, done.sent_bytes) = (3_000, 3_000_000)), 0, "it had much to send");
        assert_eq!(violated(|done| done.syncs = 400), 1);
        assert_eq!(violated(|done| (done.syncs, done.writes) = (400, 400)), 0, "it wrote that much");
        assert_eq!(violated(|done| (done.syncs, done.files_made) = (400, 200)), 0, "it made as many files");
    }
}
