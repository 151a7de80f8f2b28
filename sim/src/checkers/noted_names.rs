//! *recovered_prefix* of the names in the checkpoint of high watermarks: a broker forgets none of its logs, not even
//! one that nobody has claimed yet, or the next start would take it for one of which nothing was committed; and what
//! it has removed is in no checkpoint for long, or the next topic of that name would begin with a high watermark that
//! was another's.
//!
//! The names and the directories are read from disks: whenever a broker is started, once all is to be well again, and
//! at the end. False positives avoided: topics that clients delete may be forgotten before their directories are
//! gone; one that is created and deleted again between two looks; a power cut may bring an old checkpoint back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wyrdlog::base::ids::TopicPartition;

use crate::observed::{FaultNote, Node, seconds};
use crate::verdict::{Findings, Property};

/// A checkpoint is written every five seconds, if anything has changed, and the clock may be a tenth slow.
const AGAIN_NS: u64 = 6_500_000_000;

/// One look at a broker's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub time_ns: u64,
    /// Whose disk.
    pub node: Node,
    /// Whether its process was about to be started.
    pub is_start: bool,
    /// The partitions that have a directory.
    pub logs: BTreeSet<TopicPartition>,
    /// Those that the checkpoint names; none if it cannot be read.
    pub named: Option<BTreeSet<TopicPartition>>,
}

/// All looks, and what else is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotedNames {
    /// In the order of time.
    pub looks: Vec<Look>,
    /// When a log was opened last.
    pub opened: BTreeMap<(Node, TopicPartition), u64>,
    /// The faults that took effect.
    pub struck: Vec<(u64, FaultNote)>,
    /// The topics that nobody deletes.
    pub kept: BTreeSet<Arc<str>>,
}

/// Compares the names with the directories.
#[must_use]
pub fn check(noted: &NotedNames) -> Findings {
    let mut findings = Findings::new(Property::RecoveredPrefix);
    let nodes: BTreeSet<Node> = noted.looks.iter().map(|look| look.node).collect();
    for node in nodes {
        let looks: Vec<&Look> = noted.looks.iter().filter(|look| look.node == node).collect();
        for pair in looks.windows(2) {
            noted.forgets(&mut findings, pair[0], pair[1]);
        }
        let life = looks.iter().rposition(|look| look.is_start).map_or(&looks[..], |start| &looks[start + 1..]);
        if let [before, .., last] = life {
            noted.keeps(&mut findings, before, last);
        }
    }
    findings
}

impl NotedNames {
    fn forgets(&self, findings: &mut Findings, before: &Look, after: &Look) {
        let (Some(known), Some(named)) = (&before.named, &after.named) else { return };
        if self.may_have_gone_back(before.node, before.time_ns, after.time_ns) {
            return;
        }
        let is_there = |name: &&TopicPartition| before.logs.contains(*name) && after.logs.contains(*name);
        for name in known.iter().filter(is_there).filter(|name| self.kept.contains(&name.topic)) {
            findings.check(named.contains(name), after.time_ns, [], || {
                let (node, at) = (after.node, seconds(before.time_ns));
                format!("{node} no longer notes a high watermark of {name}, which it has, and did at {at}")
            });
        }
    }

    fn keeps(&self, findings: &mut Findings, before: &Look, last: &Look) {
        let Some(named) = last.named.as_ref().filter(|_| before.time_ns + AGAIN_NS <= last.time_ns) else { return };
        for name in named {
            let opened_ns = self.opened.get(&(last.node, name.clone())).copied().unwrap_or(0);
            let is_there = before.logs.contains(name) || last.logs.contains(name) || opened_ns > before.time_ns;
            findings.check(is_there, last.time_ns, [], || {
                let (node, at) = (last.node, seconds(before.time_ns));
                format!("{node} still notes a high watermark of {name}, of which it has had no log since {at}")
            });
        }
    }

    /// Whether the checkpoint of `node` may be an older one than was written, or unreadable to its process.
    fn may_have_gone_back(&self, node: Node, from_ns: u64, to_ns: u64) -> bool {
        self.struck.iter().any(|(at_ns, note)| {
            let changes = matches!(note, FaultNote::PowerLost(_) | FaultNote::DiskLost(_) | FaultNote::Rotted { .. });
            changes && note.nodes().contains(&node) && (from_ns..=to_ns).contains(at_ns)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const HERE: Node = Node(1);

    fn names(topics: &[&str]) -> BTreeSet<TopicPartition> {
        topics.iter().map(|topic| TopicPartition::new(*topic, 0)).collect()
    }

    fn look(time_s: u64, is_start: bool, logs: &[&str], named: &[&str]) -> Look {
        Look { time_ns: time_s * S, node: HERE, is_start, logs: names(logs), named: Some(names(named)) }
    }

    fn noted(looks: &[Look]) -> NotedNames {
        NotedNames { looks: looks.to_vec(), kept: BTreeSet::from(["t".into(), "u".into()]), ..NotedNames::default() }
    }

    fn violated(looks: &[Look]) -> u64 {
        check(&noted(looks)).violated
    }

    #[test]
    fn a_log_that_is_still_there_is_noted_again() {
        let first = look(1, true, &["t", "u"], &["t", "u"]);
        assert_eq!(violated(&[first.clone(), look(9, true, &["t", "u"], &["t", "u"])]), 0);
        assert_eq!(violated(&[first.clone(), look(9, true, &["t", "u"], &["t"])]), 1);
        assert_eq!(violated(&[first.clone(), look(9, false, &["t", "u"], &[])]), 2, "nor is it forgotten at the end");
        assert_eq!(violated(&[first.clone(), look(9, true, &["t"], &["t"])]), 0, "its directory is gone");
        let unread = Look { named: None, ..first };
        assert_eq!(violated(&[unread, look(9, true, &["t"], &[])]), 0, "nothing is known to have been noted");
    }

    #[test]
    fn only_what_takes_a_checkpoint_back_excuses_that_a_log_is_forgotten() {
        let looks = [look(1, true, &["t"], &["t"]), look(9, true, &["t"], &[])];
        let violated =
            |at_s: u64, note| check(&NotedNames { struck: vec![(at_s * S, note)], ..noted(&looks) }).violated;
        let [cut, another] = [HERE, Node(2)].map(|node| FaultNote::PowerLost(vec![node]));
        assert_eq!([violated(5, cut.clone()), violated(5, FaultNote::DiskLost(HERE))], [0; 2]);
        assert_eq!([violated(10, cut), violated(5, another), violated(5, FaultNote::ProcessCrashed(HERE))], [1; 3]);
        assert_eq!(check(&NotedNames { kept: BTreeSet::new(), ..noted(&looks) }).violated, 0, "clients delete it");
    }

    #[test]
    fn a_log_that_was_removed_long_ago_is_noted_no_more() {
        let healed = look(20, false, &["t"], &["t", "gone"]);
        let [good, stale] = [&["t"][..], &["t", "gone"]].map(|named| look(30, false, &["t"], named));
        assert_eq!([violated(&[healed.clone(), good]), violated(&[healed.clone(), stale.clone()])], [0, 1]);
        let early = Look { time_ns: 26 * S, ..stale.clone() };
        assert_eq!(violated(&[healed.clone(), early]), 0, "the next checkpoint may be on its way");
        let started = Look { is_start: true, ..healed.clone() };
        assert_eq!(violated(&[started, stale.clone()]), 0, "it had no time to write one");
        let opened = BTreeMap::from([((HERE, TopicPartition::new("gone", 0)), 25 * S)]);
        assert_eq!(check(&NotedNames { opened, ..noted(&[healed, stale]) }).violated, 0, "it came back meanwhile");
    }
}
