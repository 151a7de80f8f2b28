//! Faults in words: what strikes, and what its end brings back.

use super::names::{Names, enumerate};
use crate::observed::Node;
use crate::schedule::{Action, Happening, Shape, Target, Trigger, Victim};

/// What `action` does to `nodes`, as it strikes.
#[must_use]
pub fn strike(action: &Action, nodes: &[Node], names: &Names) -> String {
    done(action, &names.list(nodes), nodes.len() > 1)
}

/// What `action` would do to its targets, whoever they will be.
#[must_use]
pub fn planned(action: &Action) -> String {
    let targets = action.targets();
    done(action, &enumerate(targets.iter().map(in_words)), targets.len() > 1)
}

fn done(action: &Action, who: &str, several: bool) -> String {
    let (is, has) = if several { ("are", "have") } else { ("is", "has") };
    match action {
        Action::Partition { shape, resets, in_parts, .. } => {
            let how = partition(*shape, who, several);
            let resets = if *resets { ", and connections are reset" } else { "" };
            format!("{how}{resets}{}", if *in_parts { " (to heal in parts)" } else { "" })
        }
        Action::SlowLink { latency_ms, bytes_per_s, .. } => {
            let narrow = bytes_per_s.map(|bytes| format!("carry {bytes} bytes a second"));
            let slow = (*latency_ms > 0).then(|| format!("take {latency_ms} ms longer each way"));
            let how: Vec<String> = slow.into_iter().chain(narrow).collect();
            format!("the links of {who} {}", how.join(" and "))
        }
        Action::LossyLink { lost_per_mille, late_per_mille, late_ms, .. } => {
            let lost = (*lost_per_mille > 0).then(|| format!("lose {lost_per_mille} of 1,000 packets"));
            let late = (*late_per_mille > 0)
                .then(|| format!("deliver {late_per_mille} of 1,000 packets up to {late_ms} ms late"));
            let how: Vec<String> = lost.into_iter().chain(late).collect();
            format!("the links of {who} {}", how.join(" and "))
        }
        Action::ResetConnections { .. } => format!("the connections of {who} are reset"),
        Action::Crash { .. } => format!("{who} {is} killed"),
        Action::PowerLoss { .. } => format!("{who} {has} lost power"),
        Action::Pause { .. } => format!("{who} {is} paused"),
        Action::ClockJump { by_ms, .. } => format!("the wall clock of {who} jumps by {by_ms:+} ms"),
        Action::ClockDrift { ppm, .. } => format!("the clocks of {who} run at {ppm:+} ppm"),
        Action::IoError { sticky: true, .. } => format!("reads and writes of {who}'s disk fail"),
        Action::IoError { sticky: false, .. } => format!("one read or write of {who}'s disk will fail"),
        Action::FsyncFailure { .. } => format!("the next fsync of {who}'s disk will fail"),
        Action::DirectorySyncFailure { .. } => format!("the next fsync of a directory of {who}'s disk will fail"),
        Action::DiskFull { .. } => format!("the disk of {who} is full"),
        Action::SlowDisk { factor, .. } => format!("the disk of {who} is {factor} times slower"),
        Action::BitRot { victim, bytes, .. } => format!("{bytes} bytes of {} rot on {who}'s disk", rotten(*victim)),
        Action::Restart { .. } => format!("{who} {is} stopped in good order, to start again"),
        Action::Replace { .. } => format!("{who} {is} given an empty disk"),
        Action::SwapDisk { .. } => format!("{who}'s disk is copied with its power off"),
    }
}

fn partition(shape: Shape, who: &str, several: bool) -> String {
    let (is, sends) = if several { ("are", "send") } else { ("is", "sends") };
    match shape {
        Shape::Symmetric => format!("{who} {is} cut off from all others"),
        Shape::OneWay => format!("nothing that {who} {sends} arrives"),
        Shape::OneFromAll => format!("{who} {is} cut off from everybody, one by one"),
        Shape::Bridge => format!("the servers fall into two halves that only {who} reaches"),
        Shape::MajorityRing => "every server reaches a majority, and no two the same one".to_owned(),
        Shape::Between => format!("{who} do not reach each other"),
        Shape::FromServers => format!("{who} {is} cut off from the other servers, not from clients"),
    }
}

fn rotten(victim: Victim) -> &'static str {
    match victim {
        Victim::Log => "a log",
        Victim::Index => "an index",
        Victim::Checkpoint => "a checkpoint",
        Victim::Snapshot => "a snapshot",
    }
}

/// What the end of `action` brings back to `nodes`. None where it is over as soon as it struck.
#[must_use]
pub fn end(action: &Action, nodes: &[Node], names: &Names) -> Option<String> {
    let who = names.list(nodes);
    let (has, starts, goes, reaches) = match nodes.len() {
        0 | 1 => ("has", "starts", "goes", "reaches"),
        _ => ("have", "start", "go", "reach"),
    };
    Some(match action {
        Action::Partition { shape: Shape::MajorityRing | Shape::Bridge, .. } => {
            "every server reaches every other again".to_owned()
        }
        Action::Partition { shape: Shape::Between, .. } => format!("{who} reach each other again"),
        Action::Partition { shape: Shape::OneWay, .. } => format!("what {who} {} arrives again", sends(nodes)),
        Action::Partition { .. } => format!("{who} {reaches} everybody again"),
        Action::SlowLink { .. } | Action::LossyLink { .. } => format!("the links of {who} are as before"),
        Action::Crash { .. } => format!("{who} {starts} again"),
        Action::PowerLoss { .. } => format!("{who} {has} power again and {starts}"),
        Action::Pause { .. } => format!("{who} {goes} on"),
        Action::ClockDrift { .. } => format!("the clocks of {who} run at their pace again"),
        Action::IoError { .. } => format!("reads and writes of {who}'s disk succeed again"),
        Action::DiskFull { .. } => format!("the disk of {who} has room again"),
        Action::SlowDisk { .. } => format!("the disk of {who} is as fast as before"),
        Action::SwapDisk { .. } => format!("the old copy is put in the place of {who}'s disk"),
        Action::ResetConnections { .. }
        | Action::ClockJump { .. }
        | Action::FsyncFailure { .. }
        | Action::DirectorySyncFailure { .. }
        | Action::BitRot { .. }
        | Action::Restart { .. }
        | Action::Replace { .. } => return None,
    })
}

fn sends(nodes: &[Node]) -> &'static str {
    if nodes.len() > 1 { "send" } else { "sends" }
}

/// When a fault strikes, as its schedule says it.
#[must_use]
pub fn trigger(when: &Trigger) -> String {
    let (happening, partition, nth, from_ms, delay_ms, within_ms) = match when {
        Trigger::At { at_ms } => return format!("at {} s", *at_ms as f64 / 1e3),
        Trigger::AtNs { at_ns } => return format!("at {:.3} s", *at_ns as f64 / 1e9),
        Trigger::After { happening, partition, nth, from_ms, delay_ms, within_ms } => {
            (happening, partition, nth, from_ms, delay_ms, within_ms)
        }
    };
    let place = partition.as_ref().map(|partition| format!(" ({partition})")).unwrap_or_default();
    let from = if *from_ms > 0 { format!(" from {} s on", *from_ms as f64 / 1e3) } else { String::new() };
    let nth = if *nth == 1 { "the first time".to_owned() } else { format!("time {nth}") };
    let latest = within_ms.map(|within_ms| format!(", or {} s later", within_ms as f64 / 1e3)).unwrap_or_default();
    format!("{delay_ms} ms after {nth} that {}{place}{from}{latest}", occurs(*happening))
}

fn occurs(happening: Happening) -> &'static str {
    match happening {
        Happening::LeaderElected => "a leader is elected",
        Happening::Appended => "a leader appends",
        Happening::Fetched => "a follower appends",
        Happening::SegmentRolled => "a segment is rolled",
        Happening::Acknowledged => "acks=all is acknowledged",
        Happening::HighWatermarkAdvanced => "the high watermark moves",
        Happening::InSyncShrunk => "the in-sync set shrinks",
        Happening::InSyncGrown => "the in-sync set grows",
        Happening::InSyncProposed => "an in-sync set is proposed",
        Happening::Truncated => "a log is truncated",
        Happening::LogOpened => "a log is opened",
        Happening::ControllerElected => "a controller is elected",
        Happening::CoordinatorElected => "a coordinator is elected",
        Happening::EntryApplied => "a coordinator applies an entry",
        Happening::SessionEnded => "a session ends",
    }
}

fn in_words(target: &Target) -> String {
    match target {
        Target::Leader(partition) => format!("the leader of {partition}"),
        Target::Follower(partition, place) => format!("follower {place} of {partition}"),
        Target::Controller => "the controller".to_owned(),
        Target::CoordinatorLeader => "the coordinators' leader".to_owned(),
        Target::Broker(id) => format!("broker {id}"),
        Target::Coordinator(id) => format!("coordinator {id}"),
        Target::Client(number) => format!("client {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::examples::three_and_three;
    use super::*;
    use crate::schedule::{FaultEvent, examples};

    #[test]
    fn every_fault_is_said_in_one_short_sentence_and_ends_unless_it_is_over_at_once() {
        let names = three_and_three();
        for FaultEvent { action, when, .. } in examples::one_of_each().faults {
            let nodes = [Node(3), Node(4)];
            let said = strike(&action, &nodes[..action.targets().len().clamp(1, 2)], &names);
            assert!(said.len() < 100 && !said.contains(['{', '(', '⟨']) || said.contains("(to heal"), "{said}");
            assert_eq!(end(&action, &nodes, &names).is_none(), action.kind().is_instant(), "{said}");
            assert!(planned(&action).len() < 110 && trigger(&when).len() < 90, "{}", planned(&action));
        }
    }

    #[test]
    fn one_node_and_several_are_told_apart() {
        let names = three_and_three();
        let crash = Action::Crash { targets: vec![Target::Controller] };
        assert_eq!(strike(&crash, &[Node(4)], &names), "broker 2 is killed");
        assert_eq!(strike(&crash, &[Node(3), Node(4)], &names), "broker 1 and broker 2 are killed");
        assert_eq!(end(&crash, &[Node(4)], &names), Some("broker 2 starts again".to_owned()));
        assert_eq!(planned(&crash), "the controller is killed");
    }

    #[test]
    fn a_trigger_is_said_as_it_is_counted() {
        let when = examples::crash_of_the_leader(2).when;
        assert_eq!(trigger(&when), "130 ms after time 2 that a leader is elected (t-0)");
        assert_eq!(trigger(&Trigger::At { at_ms: 12_500 }), "at 12.5 s");
    }
}
