//! A run as a list of lines, one a happening, in the order of virtual time: events in columns that are
//! shifted by node, faults with their strike and their end, and the instants at which a property was
//! violated, marked.
//!
//! ```text
//!  18.334713  > |           broker 2 #2: leads synced-0 in leader epoch 1: log end 0, high watermark 0
//! ```
//!
//! The column behind the time says what a line is: `>` what a violation involves, `!` a fault that
//! strikes, `.` its end, `=` a phase of the run. `#2` is the second life of a node's process.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::event::Event;
use wyrdlog::base::ids::TopicPartition;

use super::names::Names;
use super::{event, fault};
use crate::faults::{Fate, Struck};
use crate::observed::{FaultNote, Node, Observed};
use crate::run::Verdict;
use crate::scenario::Plan;
use crate::tamper::Entry;
use crate::verdict::Violation;

/// What the further lines of a violation begin with.
const CONTINUED: &str = "    ";
/// The most characters of a line.
pub const WIDTH_MAX: usize = 160;
/// By how much each node's column is shifted, where there is room for all of them.
const SHIFT: usize = 6;
/// How far the last node's column is shifted at most.
const SHIFTS_MAX: usize = 42;

/// Which part of a run is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what this node observes, and faults that hit it.
    pub node: Option<Node>,
    /// Only events of this partition.
    pub partition: Option<TopicPartition>,
    /// Only from this virtual nanosecond on.
    pub from_ns: u64,
    /// Only up to this virtual nanosecond.
    pub until_ns: Option<u64>,
}

impl Filter {
    fn has_instant(&self, at_ns: u64) -> bool {
        at_ns >= self.from_ns && self.until_ns.is_none_or(|until_ns| at_ns <= until_ns)
    }

    fn has_nodes(&self, nodes: &[Node]) -> bool {
        self.node.is_none_or(|node| nodes.is_empty() || nodes.contains(&node))
    }

    /// Whether an event is shown. What happens for single records and requests is shown where a node or
    /// a partition is named, and where a violation involves it.
    fn has_event(&self, observed: &Observed, involved: bool) -> bool {
        let concerned = self.node.is_none_or(|node| node == observed.node)
            && self.partition.as_ref().is_none_or(|name| event::partition(&observed.event) == Some(name));
        let named = self.node.is_some() || self.partition.is_some();
        self.has_instant(observed.time_ns) && (involved || concerned && (named || !event::is_frequent(&observed.event)))
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Phase,
    Strike,
    Plain,
    Involved,
    End,
    Violated,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Mark::Phase => '=',
            Mark::Strike => '!',
            Mark::Plain => ' ',
            Mark::Involved | Mark::Violated => '>',
            Mark::End => '.',
        }
    }
}

/// One line: when, at which place among what happened then, what it is, whose column, and what it says.
struct Line {
    time_ns: u64,
    mark: Mark,
    node: Option<Node>,
    text: String,
}

/// The lines of a run.
#[must_use]
pub fn timeline(plan: &Plan, entries: &[Entry], verdict: &Verdict, names: &Names, filter: &Filter) -> Vec<String> {
    let mut lines = phases(plan, filter);
    lines.extend(faults(plan, verdict, names, filter));
    lines.extend(notes(entries, verdict, names, filter));
    lines.extend(events(entries, verdict, names, filter));
    lines.extend(violated(verdict, filter));
    lines.sort_by_key(|line| (line.time_ns, line.mark == Mark::Violated));
    let columns = columns(&lines);
    lines.iter().flat_map(|line| print(line, &columns)).collect()
}

fn phases(plan: &Plan, filter: &Filter) -> Vec<Line> {
    let phases = plan.phases;
    let faults = phases.warm_up_ms;
    let healing = faults + phases.faults_ms;
    let starts = [
        (0, "the run begins"),
        (faults, "faults may strike from now on"),
        (healing, "all faults are healed, and all nodes are to recover"),
        (healing + phases.healing_ms, "the load ends; everything is read once more"),
    ];
    let line = |(ms, text): (u64, &str)| Line {
        time_ns: ms * 1_000_000,
        mark: Mark::Phase,
        node: None,
        text: text.to_owned(),
    };
    starts.into_iter().map(line).filter(|line| filter.has_instant(line.time_ns)).collect()
}

/// Strikes and ends of the faults, by what became of each.
fn faults(plan: &Plan, verdict: &Verdict, names: &Names, filter: &Filter) -> Vec<Line> {
    let mut lines = Vec::new();
    for Struck { fault, fate, lasted_ns, nodes, .. } in &verdict.faults {
        let (Some((from_ns, until_ns)), Some(event)) = (*lasted_ns, plan.schedule.faults.get(*fault)) else { continue };
        if !filter.has_nodes(nodes) {
            continue;
        }
        let nothing = if *fate == Fate::NoEffect { " (nothing came of it)" } else { "" };
        let strikes = fault::strike(&event.action, nodes, names);
        let line = |time_ns, mark, text| Line { time_ns, mark, node: None, text };
        lines.push(line(from_ns, Mark::Strike, format!("fault {fault}: {strikes}{nothing}")));
        let ends = fault::end(&event.action, nodes, names).filter(|_| until_ns > from_ns);
        lines.extend(ends.map(|ends| line(until_ns, Mark::End, format!("fault {fault} ends: {ends}"))));
    }
    lines.retain(|line| filter.has_instant(line.time_ns));
    lines
}

/// What was taken away that is no fault's strike or end, and which file rots.
fn notes(entries: &[Entry], verdict: &Verdict, names: &Names, filter: &Filter) -> Vec<Line> {
    let told: BTreeSet<u64> =
        verdict.faults.iter().filter_map(|struck| struck.lasted_ns).flat_map(|(a, b)| [a, b]).collect();
    let noted = entries.iter().filter_map(|entry| match entry {
        Entry::Fault { time_ns, note } => Some((*time_ns, note)),
        Entry::Event(_) | Entry::Unjudged(_) | Entry::Disk { .. } | Entry::Segments { .. } => None,
    });
    let line = |(time_ns, note): (u64, &FaultNote)| {
        let text = match note {
            FaultNote::Rotted { node, path } => format!("bytes of {path} rot on {}'s disk", names.of(*node)),
            // A fault's end says so itself.
            FaultNote::CallsWork(_) | FaultNote::SyncFailed(_) => return None,
            _ if told.contains(&time_ns) => return None,
            FaultNote::ProcessCrashed(node) => format!("{} ends by itself, to be started again", names.of(*node)),
            FaultNote::DiskLost(node) => format!("{} is given an empty disk by its operator", names.of(*node)),
            FaultNote::PowerLost(nodes) => format!("{}: power is lost", names.list(nodes)),
            FaultNote::CallsFail(node) => format!("calls of {}'s disk fail", names.of(*node)),
            FaultNote::SyncFails(node) => format!("a sync of {}'s disk fails", names.of(*node)),
        };
        let shown = filter.has_instant(time_ns) && filter.has_nodes(note.nodes());
        shown.then_some(Line { time_ns, mark: Mark::Strike, node: None, text })
    };
    noted.filter_map(line).collect()
}

fn events(entries: &[Entry], verdict: &Verdict, names: &Names, filter: &Filter) -> Vec<Line> {
    let mut judged = 0..;
    let observed = entries.iter().filter_map(|entry| match entry {
        Entry::Event(observed) => Some((judged.next(), observed)),
        Entry::Unjudged(observed) => Some((None, observed)),
        Entry::Fault { .. } | Entry::Disk { .. } | Entry::Segments { .. } => None,
    });
    let involved = involved(verdict);
    let mut planted = BTreeSet::new();
    let mut lines = Vec::new();
    for (ordinal, observed) in observed {
        let is_involved = ordinal.is_some_and(|ordinal| involved.contains(&ordinal));
        // The branch of a planted bug may run thousands of times: once tells.
        let told = matches!(observed.event, Event::PlantTaken(_)) && !planted.insert(observed.node);
        if told || !filter.has_event(observed, is_involved) {
            continue;
        }
        let life = if observed.incarnation > 1 { format!(" #{}", observed.incarnation) } else { String::new() };
        lines.push(Line {
            time_ns: observed.time_ns,
            mark: if is_involved { Mark::Involved } else { Mark::Plain },
            node: Some(observed.node),
            text: format!("{}{life}: {}", names.of(observed.node), event::sentence(&observed.event)),
        });
    }
    lines
}

/// The ordinals of the events that the first violations of invariants involve.
fn involved(verdict: &Verdict) -> BTreeSet<u64> {
    let after_events = super::checked_after_events();
    let firsts = super::firsts(&verdict.violations).into_iter();
    firsts.filter(|one| after_events.contains(&one.property)).flat_map(|one| &one.involved).copied().collect()
}

/// The first violation of each property; the others of it follow from that.
fn violated(verdict: &Verdict, filter: &Filter) -> Vec<Line> {
    let firsts = super::firsts(&verdict.violations).into_iter().filter(|one| filter.has_instant(one.time_ns));
    let line = |violation: &Violation| {
        let text = format!(">>> {} is violated: {}", violation.property, violation.evidence.replace('\n', " "));
        Line { time_ns: violation.time_ns, mark: Mark::Violated, node: None, text }
    };
    firsts.map(line).collect()
}

/// By how much each node's column is shifted.
fn columns(lines: &[Line]) -> BTreeMap<Node, usize> {
    let nodes: BTreeSet<Node> = lines.iter().filter_map(|line| line.node).collect();
    let shift = SHIFT.min(SHIFTS_MAX / nodes.len().max(1));
    nodes.into_iter().enumerate().map(|(at, node)| (node, at * shift)).collect()
}

/// A line that is too long is cut; what is violated goes on in the next one.
fn print(line: &Line, columns: &BTreeMap<Node, usize>) -> Vec<String> {
    let micros = line.time_ns / 1_000;
    let shift = line.node.and_then(|node| columns.get(&node)).copied().unwrap_or(0);
    let (seconds, rest, sign) = (micros / 1_000_000, micros % 1_000_000, line.mark.sign());
    let before = format!("{seconds:>3}.{rest:06} {sign} {:shift$}", "");
    let room = WIDTH_MAX - before.chars().count();
    if line.mark == Mark::Violated {
        let parts = wrap(&line.text, room - CONTINUED.len()).into_iter().enumerate();
        let begins = |at| if at == 0 { "" } else { CONTINUED };
        return parts.map(|(at, part)| format!("{before}{}{part}", begins(at))).collect();
    }
    if line.text.chars().count() <= room {
        return vec![before + &line.text];
    }
    vec![before + &line.text.chars().take(room - 1).chain(['…']).collect::<String>()]
}

/// `text` in lines of at most `width` characters, broken between words where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let length = lines.last().map_or(0, |line| line.chars().count());
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(width));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_and_a_long_violation_goes_on() {
        let line = |mark| Line { time_ns: 1_500, mark, node: None, text: "offset 188 was exposed ".repeat(20) };
        let columns = BTreeMap::new();
        let cut = print(&line(Mark::Plain), &columns);
        assert_eq!((cut.len(), cut[0].chars().count()), (1, WIDTH_MAX));
        assert!(cut[0].starts_with("  0.000001   offset 188 was") && cut[0].ends_with('…'), "{}", cut[0]);
        let whole = print(&line(Mark::Violated), &columns);
        assert!(whole.len() == 4 && whole.iter().all(|line| line.chars().count() <= WIDTH_MAX), "{whole:#?}");
        assert!(whole[1].starts_with("  0.000001 >     "), "{}", whole[1]);
    }

    #[test]
    fn nodes_are_shifted_apart_however_many_there_are() {
        let lines: Vec<Line> = (0..20)
            .map(|node| Line { time_ns: 0, mark: Mark::Plain, node: Some(Node(node)), text: String::new() })
            .collect();
        let shifts: BTreeSet<usize> = columns(&lines).into_values().collect();
        assert!(shifts.len() == 20 && shifts.last().is_some_and(|last| *last <= SHIFTS_MAX), "{shifts:?}");
        assert_eq!(columns(&lines[..3]).into_values().collect::<Vec<_>>(), [0, 6, 12]);
    }
}
