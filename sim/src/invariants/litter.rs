//! *replay_equals_live* of the names on a disk: what lies there is what the node's state has, and nothing else. What
//! a process did not come to remove, the next start removes; otherwise a disk fills with what nobody reads.
//!
//! A run's end is when the names are looked at, once it is quiet: nobody writes a file then. The directories of open
//! logs, and those of coordinators that run, on disks that no fault has struck. Those of coordinators are looked at
//! whenever one has started, too: the next snapshot would take the name that a killed process left behind.

use std::path::Path;

use super::model::{Model, Suffered};
use crate::disk_log::DiskView;
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// What a log has besides its segments and snapshots.
const OF_A_LOG: [&str; 3] = ["leader-epoch-checkpoint", "partition.metadata", "durable-point"];
/// How many snapshots of its producers a log keeps at most, one that is not synced yet among them.
const PRODUCER_SNAPSHOTS_MAX: usize = 4;
/// What the directory of a coordinator has besides its log and its snapshot.
const OF_A_COORDINATOR: &str = "format";

/// Looks at the names of every log that is open.
#[must_use]
pub fn of_logs<D: DiskView>(
    model: &Model,
    disk_of: impl Fn(Node) -> D,
    log_directory: &Path,
    time_ns: u64,
) -> Findings {
    let mut findings = Findings::new(Property::ReplayEqualsLive);
    for partition in &model.partitions {
        for (node, replica) in &partition.replicas {
            let is_sound = replica.suffered == Suffered::default() && !model.has_rot_in(*node, &partition.name);
            if replica.is_open && is_sound {
                let names = disk_of(*node).list(&log_directory.join(partition.name.to_string()));
                let litter = in_a_log(&names);
                findings.check(litter.is_empty(), time_ns, [], || {
                    format!("{node} keeps what no log has in {}: {litter:?}", partition.name)
                });
            }
        }
    }
    findings
}

/// Looks at the names in directories of coordinators, each with when it held them.
#[must_use]
pub fn of_coordinators(held: &[(u64, Node, Vec<String>)]) -> Findings {
    let mut findings = Findings::new(Property::ReplayEqualsLive);
    for (time_ns, node, names) in held {
        let litter = in_a_coordinator(names);
        findings
            .check(litter.is_empty(), *time_ns, [], || format!("{node} keeps what it has no more use for: {litter:?}"));
    }
    findings
}

fn in_a_log(names: &[String]) -> Vec<&str> {
    let number = |name: &str, suffix: &str| name.strip_suffix(suffix)?.parse::<u64>().ok();
    let has_segment = |base: u64| names.contains(&format!("{base:020}.log"));
    let is_snapshot = |name: &str| number(name, ".snapshot").is_some();
    let belongs = |name: &str| {
        let of_segment = [".log", ".index", ".timeindex"].iter().find_map(|suffix| number(name, suffix));
        OF_A_LOG.contains(&name) || is_snapshot(name) || of_segment.is_some_and(has_segment)
    };
    let mut litter: Vec<&str> = names.iter().map(String::as_str).filter(|name| !belongs(name)).collect();
    let mut snapshots: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_snapshot(name)).collect();
    snapshots.sort_unstable();
    let too_many = snapshots.len().saturating_sub(PRODUCER_SNAPSHOTS_MAX);
    litter.extend(&snapshots[..too_many]);
    litter
}

fn in_a_coordinator(names: &[String]) -> Vec<&str> {
    let newest = |prefix: &str| {
        let is_whole = |name: &&String| name.starts_with(prefix) && !name.ends_with(".tmp");
        names.iter().filter(is_whole).max_by_key(|name| (name.len(), name.as_str().to_owned()))
    };
    let kept = [newest("wal-"), newest("snapshot-")];
    let belongs = |name: &&String| **name == OF_A_COORDINATOR || kept.contains(&Some(*name));
    names.iter().filter(|name| !belongs(name)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_log_keeps_its_segments_its_snapshots_and_its_checkpoints() {
        let base = "00000000000000000000";
        let mut names = named(&["leader-epoch-checkpoint", "partition.metadata", "durable-point"]);
        names.extend([".log", ".index", ".timeindex"].map(|suffix| format!("{base}{suffix}")));
        names.extend((1..=4).map(|offset| format!("{offset:020}.snapshot")));
        assert_eq!(in_a_log(&names), [""; 0]);
        for litter in ["durable-point.tmp", "00000000000000000005.index", "00000000000000000005.log.9.swap"] {
            let with = [&names[..], &named(&[litter])].concat();
            assert_eq!(in_a_log(&with), [litter]);
        }
        names.push(format!("{:020}.snapshot", 5));
        assert_eq!(in_a_log(&names), ["00000000000000000001.snapshot"]);
    }

    #[test]
    fn a_coordinator_keeps_one_log_and_one_snapshot() {
        let kept = ["format", "wal-10", "snapshot-00000000000000000600-0000000100000257"];
        assert_eq!(in_a_coordinator(&named(&kept)), [""; 0]);
        for litter in ["wal-9", "wal-11.tmp", "incoming.tmp", "snapshot-00000000000000000599-0000000100000256"] {
            let with = [&kept[..], &[litter]].concat();
            assert_eq!(in_a_coordinator(&named(&with)), [litter]);
        }
    }

    #[test]
    fn a_coordinator_that_started_over_what_a_killed_one_left_is_rejected() {
        let at_start = |names: &[&str]| vec![(1, Node(0), named(&["format", "wal-1"])), (9, Node(0), named(names))];
        assert_eq!(of_coordinators(&at_start(&["format", "wal-2"])).violated, 0);
        let left = of_coordinators(&at_start(&["format", "snapshot.tmp", "wal-2"]));
        assert_eq!((left.evaluations, left.violated, left.violations[0].time_ns), (2, 1, 9));
    }
}
