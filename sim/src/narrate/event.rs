//! Events in words: one short sentence each, whose subject is the node that observed it.

use wyrdlog::base::event::{
    Asked, BrokerEvent, ClientEvent, ControllerEvent, CoordinatorEvent, Event, LogEvent, ReplicaEvent,
};
use wyrdlog::base::ids::{BrokerId, TopicPartition};
use wyrdlog::base::partition_state::{InSyncReplica, PartitionState};
use wyrdlog::wire::kafka::ErrorCode;

/// What happened, without the node that it happened to.
#[must_use]
pub fn sentence(event: &Event) -> String {
    match event {
        Event::Log(name, event) => log(name, event),
        Event::Replica(name, event) => replica(name, event),
        Event::Controller(event) => controller(event),
        Event::Coordinator(event) => coordinator(event),
        Event::Broker(BrokerEvent::Registered { broker_epoch, clean, .. }) => {
            format!("is registered with broker epoch {broker_epoch}, {}", shutdown(*clean))
        }
        Event::Client(name, event) => client(name, event),
        Event::PlantTaken(plant) => format!("runs the branch of the planted bug {plant}"),
    }
}

/// The partition that an event is about, if it is about one.
#[must_use]
pub fn partition(event: &Event) -> Option<&TopicPartition> {
    match event {
        Event::Log(name, _) | Event::Replica(name, _) | Event::Client(name, _) => Some(name),
        Event::Controller(ControllerEvent::Committed { partition, .. } | ControllerEvent::Found { partition, .. }) => {
            Some(partition)
        }
        _ => None,
    }
}

/// Whether it happens for single records, requests or entries, so that a run has thousands of it.
#[must_use]
pub fn is_frequent(event: &Event) -> bool {
    use CoordinatorEvent::{Applied, NodeChanged, Notified, Replied, WatchTriggered};
    use LogEvent::{Appended, Synced};
    use ReplicaEvent::{Acknowledged, FollowerProgress, HighWatermark, Served};
    matches!(
        event,
        Event::Coordinator(
            Applied { .. } | NodeChanged { .. } | Notified { .. } | Replied { .. } | WatchTriggered { .. }
        ) | Event::Log(_, Appended { .. } | Synced { .. })
            | Event::Replica(_, Acknowledged { .. } | FollowerProgress { .. } | HighWatermark { .. } | Served { .. })
            | Event::Client(..)
    )
}

fn log(name: &TopicPartition, event: &LogEvent) -> String {
    match event {
        LogEvent::Opened { log_start, log_end, torn_bytes, .. } => {
            let torn =
                if *torn_bytes > 0 { format!(", having cut a torn tail of {torn_bytes} bytes") } else { String::new() };
            format!("opens {name}: log start {log_start}, log end {log_end}{torn}")
        }
        LogEvent::Appended { batch, .. } => {
            let offsets = offsets(batch.base_offset, batch.last_offset);
            let producer = if batch.producer_id.0 >= 0 {
                format!(" (producer {}, sequence {})", batch.producer_id, batch.base_sequence)
            } else {
                String::new()
            };
            format!("appends {offsets} of leader epoch {} to {name}{producer}", batch.leader_epoch)
        }
        LogEvent::Rolled { base_offset } => format!("rolls {name}: a new segment begins at {base_offset}"),
        LogEvent::Synced { synced_end } => format!("has synced {name} up to {synced_end}"),
        LogEvent::Truncated { from, log_end } => format!("truncates {name} from log end {from} to {log_end}"),
        LogEvent::StartAdvanced { log_start } => format!("removes records of {name} below {log_start} (retention)"),
        LogEvent::Damaged { offset } => format!("finds {name} damaged from offset {offset} on"),
    }
}

fn replica(name: &TopicPartition, event: &ReplicaEvent) -> String {
    match event {
        ReplicaEvent::BecameLeader { leader_epoch, log_end, high_watermark, .. } => {
            format!("leads {name} in leader epoch {leader_epoch}: log end {log_end}, high watermark {high_watermark}")
        }
        ReplicaEvent::BecameFollower { leader_epoch, leader, log_end } => {
            let leader = leader.map_or("nobody".to_owned(), |leader| format!("broker {leader}"));
            format!("follows {leader} for {name} in leader epoch {leader_epoch}: log end {log_end}")
        }
        ReplicaEvent::Stopped => format!("has no part in {name} any more"),
        ReplicaEvent::HighWatermark { leads, high_watermark, .. } => {
            let whose = if *leads { "" } else { ", as its leader told" };
            format!("moves the high watermark of {name} to {high_watermark}{whose}")
        }
        ReplicaEvent::InSync { committed, proposed: None, .. } => {
            format!("knows the in-sync set of {name}: {}", members(committed))
        }
        ReplicaEvent::InSync { committed, proposed: Some(proposed), .. } => {
            format!("proposes the in-sync set of {name}: {} instead of {}", members(proposed), members(committed))
        }
        ReplicaEvent::FollowerProgress { broker, fetched, keeps_up } => {
            let fetched = fetched.map_or("nothing that counts".to_owned(), |(_, offset)| format!("all below {offset}"));
            let waits = if *keeps_up { "" } else { ", and does not keep up" };
            format!("knows that broker {broker} holds {fetched} of {name}{waits}")
        }
        ReplicaEvent::Acknowledged { base_offset, last_offset, acks, .. } => {
            let acks = if *acks == -1 { "all".to_owned() } else { acks.to_string() };
            format!("acknowledges {} of {name}, acks={acks}", offsets(*base_offset, *last_offset))
        }
        ReplicaEvent::Deduplicated { base_offset } => {
            format!("recognises a retried batch of {name}, appended at {base_offset}")
        }
        ReplicaEvent::Served { end, high_watermark } => {
            format!("serves {name} up to {end} with high watermark {high_watermark}")
        }
        ReplicaEvent::Fenced => format!("refuses a request of an older epoch for {name}"),
    }
}

fn client(name: &TopicPartition, event: &ClientEvent) -> String {
    let ClientEvent::Refused { broker, asked, error_code, after } = event;
    let what = match asked {
        Asked::Produce { acks: -1, bytes } => format!("a batch of {bytes} bytes with acks=all to"),
        Asked::Produce { acks, bytes } => format!("a batch of {bytes} bytes with acks={acks} to"),
        Asked::Fetch { offset } => format!("a fetch from offset {offset} of"),
        Asked::ListOffsets => "a lookup of an offset of".to_owned(),
        Asked::EpochEnd => "a lookup of a leader epoch of".to_owned(),
    };
    let (error, after_ms) = (ErrorCode::from_wire(*error_code).name(), after.as_micros() as f64 / 1_000.0);
    format!("is refused {what} {name} by broker {broker} after {after_ms} ms: {error}")
}

fn controller(event: &ControllerEvent) -> String {
    match event {
        ControllerEvent::Elected { controller_epoch } => {
            format!("is the controller, controller epoch {controller_epoch}")
        }
        ControllerEvent::Deposed { controller_epoch, while_writing } => {
            let writing = if *while_writing { ", with a write outstanding" } else { "" };
            format!("is no longer the controller of epoch {controller_epoch}{writing}")
        }
        ControllerEvent::Committed { partition, state, .. } => format!("commits {partition}: {}", state_of(state)),
        ControllerEvent::Found { partition, state, .. } => {
            format!("finds {partition} changed: {}", state_of(state))
        }
        ControllerEvent::BrokerStarted { broker, broker_epoch, clean } => {
            format!("sees broker {broker} start with broker epoch {broker_epoch}, {}", shutdown(*clean))
        }
    }
}

fn coordinator(event: &CoordinatorEvent) -> String {
    match event {
        CoordinatorEvent::Elected { term, .. } => format!("leads the ensemble in term {term}"),
        CoordinatorEvent::SteppedDown { term, .. } => format!("no longer leads: it knows of term {term}"),
        CoordinatorEvent::Applied { index, zxid, .. } => format!("applies entry {index}, zxid {:#x}", zxid.0),
        CoordinatorEvent::SnapshotInstalled { index, zxid, .. } => {
            format!("installs a snapshot up to entry {index}, zxid {:#x}", zxid.0)
        }
        CoordinatorEvent::SessionAttached { session, attachment: 1 } => {
            format!("has session {:#x}, a new one", session.0)
        }
        CoordinatorEvent::SessionAttached { session, attachment } => {
            format!("has session {:#x}, attached for time {attachment}", session.0)
        }
        CoordinatorEvent::Recovered { term, voted_for, last_index } => {
            let vote = voted_for.map_or("no vote".to_owned(), |server| format!("a vote for coordinator {server}"));
            format!("starts from term {term}, {vote} and entry {last_index}")
        }
        CoordinatorEvent::ExpiryProposed { session } => format!("calls session {:#x} overdue", session.0),
        CoordinatorEvent::SessionEnded { session, expired, ephemerals } => {
            let how = if *expired { "expires" } else { "closes" };
            let gone =
                if ephemerals.is_empty() { String::new() } else { format!(", and {} are gone", ephemerals.join(", ")) };
            format!("{how} session {:#x}{gone}", session.0)
        }
        CoordinatorEvent::EphemeralCreated { session, path, .. } => {
            format!("has ephemeral {path} of session {:#x}", session.0)
        }
        CoordinatorEvent::EphemeralDeleted { session, path, .. } => {
            format!("deletes ephemeral {path} of session {:#x} by request", session.0)
        }
        CoordinatorEvent::NodeChanged { zxid, path, content: None } => format!("deletes {path} at zxid {:#x}", zxid.0),
        CoordinatorEvent::NodeChanged { zxid, path, content: Some((version, data)) } => {
            format!("has version {version} of {path}, {} bytes, at zxid {:#x}", data.len(), zxid.0)
        }
        CoordinatorEvent::Replied { session, xid, zxid } => {
            format!("answers request {xid} of session {:#x} at zxid {:#x}", session.0, zxid.0)
        }
        CoordinatorEvent::Notified { session, zxid, path } => {
            format!("tells session {:#x} that {path} changed at zxid {:#x}", session.0, zxid.0)
        }
        CoordinatorEvent::WatchTriggered { session, zxid, path } => {
            format!("owes session {:#x} a watch event of {path}, changed at zxid {:#x}", session.0, zxid.0)
        }
    }
}

fn shutdown(clean: bool) -> &'static str {
    if clean { "after a clean shutdown" } else { "after an unclean shutdown" }
}

fn offsets(first: i64, last: i64) -> String {
    if first == last { format!("offset {first}") } else { format!("offsets {first} to {last}") }
}

fn members(of: &[InSyncReplica]) -> String {
    brokers(of.iter().map(|member| member.broker))
}

fn brokers(ids: impl Iterator<Item = BrokerId>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    if ids.is_empty() { "nobody".to_owned() } else { ids.join(",") }
}

fn state_of(state: &PartitionState) -> String {
    let leader = state.leader.map_or("no leader".to_owned(), |leader| format!("leader broker {leader}"));
    let eligible = if state.eligible_leaders.is_empty() {
        String::new()
    } else {
        format!(", eligible {}", members(&state.eligible_leaders))
    };
    let (epoch, in_sync) = (state.leader_epoch, members(&state.in_sync));
    format!("{leader}, leader epoch {epoch}, in sync {in_sync}{eligible}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wyrdlog::base::event::AppendedBatch;
    use wyrdlog::base::ids::{
        BrokerEpoch, ControllerEpoch, LeaderEpoch, ProducerEpoch, ProducerId, ServerId, SessionId, Term, Zxid,
    };
    use wyrdlog::base::partition_state::Durability;
    use wyrdlog::base::plants::Plant;

    use super::*;

    fn member(broker: i32) -> InSyncReplica {
        InSyncReplica { broker: BrokerId(broker), broker_epoch: BrokerEpoch(7) }
    }

    fn of_logs() -> Vec<(LogEvent, &'static str)> {
        let batch = AppendedBatch {
            base_offset: 12,
            last_offset: 13,
            leader_epoch: LeaderEpoch(3),
            crc: 1,
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 8,
        };
        let durability = Durability::Synced;
        vec![
            (
                LogEvent::Opened { log_start: 0, log_end: 9, torn_bytes: 35, durability },
                "opens t-0: log start 0, log end 9, having cut a torn tail of 35 bytes",
            ),
            (
                LogEvent::Appended { batch, log_end: 14 },
                "appends offsets 12 to 13 of leader epoch 3 to t-0 (producer 5, sequence 8)",
            ),
            (LogEvent::Rolled { base_offset: 900 }, "rolls t-0: a new segment begins at 900"),
            (LogEvent::Synced { synced_end: 14 }, "has synced t-0 up to 14"),
            (LogEvent::Truncated { from: 14, log_end: 9 }, "truncates t-0 from log end 14 to 9"),
            (LogEvent::StartAdvanced { log_start: 4 }, "removes records of t-0 below 4 (retention)"),
            (LogEvent::Damaged { offset: 5 }, "finds t-0 damaged from offset 5 on"),
        ]
    }

    fn of_replicas() -> Vec<(ReplicaEvent, &'static str)> {
        let (leader_epoch, broker_epoch) = (LeaderEpoch(4), BrokerEpoch(7));
        let in_sync = vec![member(1), member(2)];
        vec![
            (
                ReplicaEvent::BecameLeader { leader_epoch, broker_epoch, log_end: 14, high_watermark: 12 },
                "leads t-0 in leader epoch 4: log end 14, high watermark 12",
            ),
            (
                ReplicaEvent::BecameFollower { leader_epoch, leader: Some(BrokerId(2)), log_end: 14 },
                "follows broker 2 for t-0 in leader epoch 4: log end 14",
            ),
            (
                ReplicaEvent::BecameFollower { leader_epoch, leader: None, log_end: 14 },
                "follows nobody for t-0 in leader epoch 4: log end 14",
            ),
            (ReplicaEvent::Stopped, "has no part in t-0 any more"),
            (
                ReplicaEvent::InSync { leader_epoch, committed: in_sync.clone(), proposed: Some(vec![member(1)]) },
                "proposes the in-sync set of t-0: 1 instead of 1,2",
            ),
            (
                ReplicaEvent::InSync { leader_epoch, committed: in_sync.clone(), proposed: None },
                "knows the in-sync set of t-0: 1,2",
            ),
            (
                ReplicaEvent::FollowerProgress {
                    broker: BrokerId(2),
                    fetched: Some((broker_epoch, 12)),
                    keeps_up: false,
                },
                "knows that broker 2 holds all below 12 of t-0, and does not keep up",
            ),
            (
                ReplicaEvent::Acknowledged { leader_epoch, base_offset: 12, last_offset: 12, acks: -1 },
                "acknowledges offset 12 of t-0, acks=all",
            ),
            (ReplicaEvent::Deduplicated { base_offset: 12 }, "recognises a retried batch of t-0, appended at 12"),
            (ReplicaEvent::Served { end: 12, high_watermark: 13 }, "serves t-0 up to 12 with high watermark 13"),
            (ReplicaEvent::Fenced, "refuses a request of an older epoch for t-0"),
        ]
    }

    fn of_the_cluster() -> Vec<(Event, &'static str)> {
        let state = PartitionState {
            leader: Some(BrokerId(2)),
            leader_epoch: LeaderEpoch(4),
            in_sync: vec![member(2)],
            eligible_leaders: vec![member(1), member(3)],
            ..PartitionState::default()
        };
        let controller_epoch = ControllerEpoch(3);
        let committed = ControllerEvent::Committed {
            partition: TopicPartition::new("t", 0),
            state,
            controller_epoch,
            zxid: Zxid(9),
        };
        let registered = BrokerEvent::Registered {
            broker: BrokerId(2),
            broker_epoch: BrokerEpoch(71),
            clean: false,
            written_since: BrokerEpoch(71),
        };
        vec![
            (Event::Controller(committed), "commits t-0: leader broker 2, leader epoch 4, in sync 2, eligible 1,3"),
            (
                Event::Controller(ControllerEvent::Deposed { controller_epoch, while_writing: true }),
                "is no longer the controller of epoch 3, with a write outstanding",
            ),
            (Event::Broker(registered), "is registered with broker epoch 71, after an unclean shutdown"),
            (
                Event::Client(
                    TopicPartition::new("t", 0),
                    ClientEvent::Refused {
                        broker: BrokerId(2),
                        asked: Asked::Produce { acks: -1, bytes: 90 },
                        error_code: 19,
                        after: std::time::Duration::from_micros(1_500),
                    },
                ),
                "is refused a batch of 90 bytes with acks=all to t-0 by broker 2 after 1.5 ms: NOT_ENOUGH_REPLICAS",
            ),
            (Event::PlantTaken(Plant::LateWatch), "runs the branch of the planted bug late-watch"),
        ]
    }

    fn of_coordinators() -> Vec<(CoordinatorEvent, &'static str)> {
        let (session, zxid, path) = (SessionId(0x1f), Zxid(0x10), "/a/b".to_owned());
        vec![
            (CoordinatorEvent::Elected { server: ServerId(1), term: Term(3) }, "leads the ensemble in term 3"),
            (CoordinatorEvent::ExpiryProposed { session }, "calls session 0x1f overdue"),
            (
                CoordinatorEvent::SessionEnded { session, expired: true, ephemerals: vec![path.clone()] },
                "expires session 0x1f, and /a/b are gone",
            ),
            (
                CoordinatorEvent::EphemeralDeleted { session, zxid, path: path.clone() },
                "deletes ephemeral /a/b of session 0x1f by request",
            ),
            (
                CoordinatorEvent::NodeChanged { zxid, path: Arc::from("/a/b"), content: None },
                "deletes /a/b at zxid 0x10",
            ),
            (CoordinatorEvent::Replied { session, xid: 4, zxid }, "answers request 4 of session 0x1f at zxid 0x10"),
            (CoordinatorEvent::Notified { session, zxid, path }, "tells session 0x1f that /a/b changed at zxid 0x10"),
        ]
    }

    #[test]
    fn events_are_said_in_the_words_of_the_field() {
        let name = TopicPartition::new("t", 0);
        let logs = of_logs().into_iter().map(|(event, said)| (Event::Log(name.clone(), event), said));
        let replicas = of_replicas().into_iter().map(|(event, said)| (Event::Replica(name.clone(), event), said));
        let servers = of_coordinators().into_iter().map(|(event, said)| (Event::Coordinator(event), said));
        for (event, said) in logs.chain(replicas).chain(of_the_cluster()).chain(servers) {
            assert_eq!(sentence(&event), said);
        }
    }

    #[test]
    fn what_concerns_a_partition_names_it() {
        let name = TopicPartition::new("t", 0);
        let stopped = Event::Replica(name.clone(), ReplicaEvent::Stopped);
        assert_eq!(partition(&stopped), Some(&name));
        assert_eq!(partition(&Event::PlantTaken(Plant::Canary)), None);
        assert!(!is_frequent(&stopped) && is_frequent(&Event::Log(name, LogEvent::Synced { synced_end: 1 })));
    }
}
