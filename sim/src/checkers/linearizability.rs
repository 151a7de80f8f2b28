//! *linearizability of the coordinator*: writes and `sync` + read, by Wing and Gong's search with
//! Lowe's memo, as Porcupine does it.
//!
//! Registers are independent (P-compositionality, Herlihy & Wing), so each is searched alone. A
//! multi or a listing ties the registers that it spans together: those are searched as one
//! history. An operation whose outcome is unknown stays open to the end and may take effect at
//! any time after its invocation, or never. A search that runs out of its budget has failed.
//!
//! Plain reads promise less and are judged by `snapshot_read` and `session_order`.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::ids::Zxid;

use crate::history::coordinator::{
    Answer, Call, CoordinatorHistory, CoordinatorOp, PathIndex, Refusal, Register, Write,
};
use crate::history::{OpId, Outcome};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// The most steps that one history's search may take. Each may keep a memo of some 300 bytes.
pub const STEPS_MAX: u64 = 400_000;

/// The registers that exist; the state that operations are replayed on.
type State = BTreeMap<PathIndex, Register>;

/// Where values came to be, by the state machine's own record. It suggests what to try first and
/// proves nothing: a search without it gives the same verdict, later.
pub type Hints = BTreeMap<u64, Zxid>;

/// Searches a linearization for every independent part of `history`.
#[must_use]
pub fn check(history: &CoordinatorHistory, hints: &Hints, steps_max: u64) -> Findings {
    let mut findings = Findings::new(Property::Linearizability);
    for part in independent_parts(history) {
        let time_ns = part.iter().filter_map(|op| history.operations[*op as usize].completed_ns).max().unwrap_or(0);
        let verdict = Search::new(history, hints, &part, steps_max).run();
        findings
            .check(verdict == Linearizable::Yes, time_ns, involved(&verdict), || evidence(history, &part, &verdict));
    }
    findings
}

fn involved(verdict: &Linearizable) -> Vec<u64> {
    match verdict {
        Linearizable::No { stuck_at, .. } => stuck_at.iter().map(|op| u64::from(*op)).collect(),
        Linearizable::Yes | Linearizable::OutOfBudget { .. } => Vec::new(),
    }
}

fn evidence(history: &CoordinatorHistory, part: &[OpId], verdict: &Linearizable) -> String {
    let paths: BTreeSet<&str> = part
        .iter()
        .flat_map(|op| paths_of(&history.operations[*op as usize].call.call))
        .map(|path| history.name(path))
        .collect();
    match verdict {
        Linearizable::Yes => String::new(),
        Linearizable::OutOfBudget { steps } => {
            format!("undecided after {steps} steps over {} operations on {paths:?}; raise the budget", part.len())
        }
        Linearizable::No { longest, stuck_at } => {
            let stuck: Vec<String> = stuck_at.iter().map(|op| describe(history, *op)).collect();
            format!(
                "no order of the {} operations on {paths:?} explains the answers; after {longest} of them nothing fits: {}",
                part.len(),
                stuck.join("; ")
            )
        }
    }
}

/// `op`, as evidence names it.
#[must_use]
pub fn describe(history: &CoordinatorHistory, op: OpId) -> String {
    let operation = &history.operations[op as usize];
    let paths: Vec<&str> = paths_of(&operation.call.call).map(|path| history.name(path)).collect();
    let until = operation.completed_ns.map_or("open".to_owned(), seconds);
    format!(
        "op {op} (client {}, session {:#x}, {} to {until}): {:?} on {} -> {:?}",
        operation.client,
        operation.call.session.0,
        seconds(operation.invoked_ns),
        operation.call.call,
        paths.join(", "),
        operation.outcome
    )
}

fn paths_of(call: &Call) -> impl Iterator<Item = PathIndex> {
    let paths: Vec<PathIndex> = match call {
        Call::Write(write) => vec![write.path()],
        Call::SyncRead(path) | Call::Read(path) => vec![*path],
        Call::Multi(writes) => writes.iter().map(Write::path).collect(),
        Call::SyncChildren(candidates) => candidates.clone(),
    };
    paths.into_iter()
}

/// Operations that matter, grouped so that no operation spans two groups.
fn independent_parts(history: &CoordinatorHistory) -> Vec<Vec<OpId>> {
    let mut group: Vec<usize> = (0..history.paths.len()).collect();
    for operation in history.operations.iter().filter(|operation| matters(operation)) {
        let mut paths = paths_of(&operation.call.call);
        if let Some(first) = paths.next() {
            for other in paths {
                let (one, other) = (root(&group, first.into()), root(&group, other.into()));
                group[other] = one;
            }
        }
    }
    let mut parts: BTreeMap<usize, Vec<OpId>> = BTreeMap::new();
    for (op, operation) in (0..).zip(&history.operations).filter(|(_, operation)| matters(operation)) {
        if let Some(first) = paths_of(&operation.call.call).next() {
            parts.entry(root(&group, first.into())).or_default().push(op);
        }
    }
    parts.into_values().collect()
}

fn root(group: &[usize], mut at: usize) -> usize {
    while group[at] != at {
        at = group[at];
    }
    at
}

/// Failed operations and reads without an answer constrain nothing; plain reads are judged elsewhere.
fn matters(operation: &CoordinatorOp) -> bool {
    match (&operation.call.call, &operation.outcome) {
        (Call::Read(_), _) | (_, Outcome::Failed) => false,
        (Call::SyncRead(_) | Call::SyncChildren(_), Outcome::Unknown) => false,
        (_, Outcome::Unknown | Outcome::Ok(_)) => true,
    }
}

/// Replays `call` on `state`: what a register answers, and the change it makes to `state`.
fn replay(state: &mut State, call: &Call) -> Answer {
    match call {
        Call::Write(write) => match apply(state, write) {
            Ok(()) => Answer::Done,
            Err(refusal) => Answer::Refused(refusal),
        },
        Call::Multi(writes) => {
            let mut attempt = state.clone();
            match writes.iter().try_for_each(|write| apply(&mut attempt, write)) {
                Ok(()) => {
                    *state = attempt;
                    Answer::Done
                }
                Err(refusal) => Answer::Refused(refusal),
            }
        }
        Call::SyncRead(path) | Call::Read(path) => Answer::Value(state.get(path).copied()),
        Call::SyncChildren(candidates) => {
            let mut exist: Vec<PathIndex> =
                candidates.iter().copied().filter(|path| state.contains_key(path)).collect();
            exist.sort_unstable();
            Answer::Children(exist)
        }
    }
}

fn apply(state: &mut State, write: &Write) -> Result<(), Refusal> {
    match *write {
        Write::Create { path, value } => {
            if state.contains_key(&path) {
                return Err(Refusal::NodeExists);
            }
            state.insert(path, Register { version: 0, value });
        }
        Write::Set { path, value, version } => {
            let now = expect(state, path, version)?;
            state.insert(path, Register { version: now.version.wrapping_add(1), value });
        }
        Write::Delete { path, version } => {
            expect(state, path, version)?;
            state.remove(&path);
        }
        Write::Check { path, version } => {
            expect(state, path, version)?;
        }
    }
    Ok(())
}

fn expect(state: &State, path: PathIndex, version: Option<i32>) -> Result<Register, Refusal> {
    let now = *state.get(&path).ok_or(Refusal::NoNode)?;
    if version.is_some_and(|expected| expected != now.version) { Err(Refusal::BadVersion) } else { Ok(now) }
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Linearizable {
    Yes,
    No {
        /// How many operations the longest attempt explained.
        longest: usize,
        /// The operations that it could not continue with.
        stuck_at: Vec<OpId>,
    },
    OutOfBudget {
        steps: u64,
    },
}

/// A call or its return, in a doubly linked list over indices: entry 2i calls operation i of the
/// part, entry 2i + 1 returns it. The list's head is entry `2 * calls.len()`.
struct Search<'h> {
    history: &'h CoordinatorHistory,
    hints: &'h Hints,
    part: &'h [OpId],
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Completed operations that are not explained yet.
    unexplained: usize,
    steps_max: u64,
}

/// When an operation seems to have taken effect.
enum Likely {
    /// At this zxid, behind the write at it if it is a read.
    At(Zxid, bool),
    /// At any time, or never.
    Any,
    /// Never, as far as is known.
    Never,
}

/// The value that a write leaves, if it leaves one.
fn written(write: &Write) -> Option<u64> {
    match *write {
        Write::Create { value, .. } | Write::Set { value, .. } => Some(value),
        Write::Delete { .. } | Write::Check { .. } => None,
    }
}

/// One choice of a search: what could come next at this point, and which of it was taken.
struct Choice {
    /// Calls, the most likely last.
    left: Vec<u32>,
    /// The call that was taken, and the state before it.
    taken: Option<(u32, State)>,
}

impl<'h> Search<'h> {
    fn new(history: &'h CoordinatorHistory, hints: &'h Hints, part: &'h [OpId], steps_max: u64) -> Self {
        let operation = |at: usize| &history.operations[part[at] as usize];
        // A call precedes a return at the same instant: the two then count as concurrent.
        let mut order: Vec<(u64, bool, u32)> = Vec::with_capacity(part.len() * 2);
        for at in 0..part.len() {
            order.push((operation(at).invoked_ns, false, 2 * at as u32));
            order.push((operation(at).ended_ns(), true, 2 * at as u32 + 1));
        }
        order.sort_unstable();
        let head = 2 * part.len() as u32;
        let (mut next, mut previous) = (vec![head; part.len() * 2 + 1], vec![head; part.len() * 2 + 1]);
        let mut last = head;
        for (_, _, entry) in order {
            next[last as usize] = entry;
            previous[entry as usize] = last;
            last = entry;
        }
        next[last as usize] = head;
        previous[head as usize] = last;
        let unexplained = (0..part.len()).filter(|at| operation(*at).reply().is_some()).count();
        Search { history, hints, part, next, previous, unexplained, steps_max }
    }

    fn operation(&self, entry: u32) -> &'h CoordinatorOp {
        &self.history.operations[self.part[entry as usize / 2] as usize]
    }

    /// Depth first. What is tried first is what the zxids of the replies suggest, so that a history
    /// that is linearizable is nearly always explained without going back; that they are right is
    /// not believed but checked by the replay.
    fn run(mut self) -> Linearizable {
        let mut memo: BTreeSet<(Vec<u64>, State)> = BTreeSet::new();
        let mut explained = vec![0u64; self.part.len().div_ceil(64)];
        let mut state = State::new();
        let mut choices = vec![self.choice()];
        let (mut longest, mut stuck_at) = (0, Vec::new());
        let mut steps = 0;
        while self.unexplained > 0 {
            let depth = choices.len();
            let Some(choice) = choices.last_mut() else { return Linearizable::No { longest, stuck_at } };
            if let Some((call, before)) = choice.taken.take() {
                state = before;
                flip(&mut explained, call);
                self.put_back(call);
            }
            let Some(call) = choice.left.pop() else {
                if depth > longest {
                    longest = depth - 1;
                    stuck_at = self.candidates();
                }
                choices.pop();
                continue;
            };
            steps += 1;
            if steps > self.steps_max {
                return Linearizable::OutOfBudget { steps: self.steps_max };
            }
            let mut after = state.clone();
            if !self.fits(call, &mut after, &state) {
                continue;
            }
            flip(&mut explained, call);
            if !memo.insert((explained.clone(), after.clone())) {
                flip(&mut explained, call);
                continue;
            }
            choice.taken = Some((call, std::mem::replace(&mut state, after)));
            self.lift(call);
            choices.push(self.choice());
        }
        Linearizable::Yes
    }

    /// The calls that could come next, the most likely last: the one with the lowest zxid; then
    /// those of which nobody knows, which have taken effect if the first does not fit; then the
    /// others by zxid; then those whose values never came to be.
    fn choice(&self) -> Choice {
        let head = 2 * self.part.len() as u32;
        let (mut dated, mut open, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let mut entry = self.next[head as usize];
        while entry != head && is_call(entry) {
            match self.likely(entry) {
                Likely::At(zxid, is_read) => dated.push((zxid, is_read, entry)),
                Likely::Any => open.push(entry),
                Likely::Never => left.push(entry),
            }
            entry = self.next[entry as usize];
        }
        dated.sort_unstable_by(|one, other| other.cmp(one));
        let first = dated.pop();
        left.extend(dated.into_iter().map(|(_, _, entry)| entry));
        left.extend(open);
        left.extend(first.map(|(_, _, entry)| entry));
        Choice { left, taken: None }
    }

    /// Where the operation took effect, by its reply or by what it wrote.
    fn likely(&self, entry: u32) -> Likely {
        let operation = self.operation(entry);
        let call = &operation.call.call;
        if let Some(reply) = operation.reply() {
            // A read shows the write at its own zxid.
            return Likely::At(reply.zxid, !matches!(call, Call::Write(_) | Call::Multi(_)));
        }
        let writes = match call {
            Call::Write(write) => std::slice::from_ref(write),
            Call::Multi(writes) => writes.as_slice(),
            Call::SyncRead(_) | Call::Read(_) | Call::SyncChildren(_) => &[],
        };
        let mut values = writes.iter().filter_map(written).peekable();
        if values.peek().is_none() {
            return Likely::Any;
        }
        let at = values.find_map(|value| self.hints.get(&value));
        at.map_or(Likely::Never, |zxid| Likely::At(*zxid, false))
    }

    /// Whether the operation may take effect now. One of unknown outcome that changes nothing is
    /// left out: taking it would explain nothing.
    fn fits(&self, entry: u32, after: &mut State, before: &State) -> bool {
        let operation = self.operation(entry);
        let answer = replay(after, &operation.call.call);
        match operation.reply() {
            Some(reply) => reply.answer == answer,
            None => after != before,
        }
    }

    fn lift(&mut self, call: u32) {
        for entry in [call, call + 1] {
            let (previous, next) = (self.previous[entry as usize], self.next[entry as usize]);
            self.next[previous as usize] = next;
            self.previous[next as usize] = previous;
        }
        self.unexplained -= usize::from(self.operation(call).reply().is_some());
    }

    fn put_back(&mut self, call: u32) {
        for entry in [call + 1, call] {
            let (previous, next) = (self.previous[entry as usize], self.next[entry as usize]);
            self.next[previous as usize] = entry;
            self.previous[next as usize] = entry;
        }
        self.unexplained += usize::from(self.operation(call).reply().is_some());
    }

    /// The operations that could come next: those invoked before the first return.
    fn candidates(&self) -> Vec<OpId> {
        let head = 2 * self.part.len() as u32;
        let mut found = Vec::new();
        let mut entry = self.next[head as usize];
        while entry != head && is_call(entry) {
            found.push(self.part[entry as usize / 2]);
            entry = self.next[entry as usize];
        }
        found
    }
}

fn is_call(entry: u32) -> bool {
    entry.is_multiple_of(2)
}

fn flip(bits: &mut [u64], entry: u32) {
    let at = entry as usize / 2;
    bits[at / 64] ^= 1 << (at % 64);
}

#[cfg(test)]
pub(crate) mod examples {
    //! Short ways to write a coordinator history by hand.

    use super::*;
    use crate::history::coordinator::Reply;
    use wyrdlog::base::ids::SessionId;

    pub struct Script {
        pub history: CoordinatorHistory,
    }

    impl Script {
        pub fn new() -> Self {
            Script { history: CoordinatorHistory::new(vec!["/r/a".to_owned(), "/r/b".to_owned()]) }
        }

        /// An operation from `from` to `to`, answered with `answer` at `zxid`, in session 1.
        pub fn ok(&mut self, from: u64, to: u64, call: Call, answer: Answer, zxid: i64) -> OpId {
            let op = self.history.invoke(1, SessionId(1), from, call);
            self.history.complete(op, to, Outcome::Ok(Reply { answer, zxid: Zxid(zxid) }));
            op
        }

        pub fn unknown(&mut self, from: u64, call: Call) -> OpId {
            self.history.invoke(1, SessionId(1), from, call)
        }
    }

    pub fn create(path: PathIndex, value: u64) -> Call {
        Call::Write(Write::Create { path, value })
    }

    pub fn set(path: PathIndex, value: u64, version: Option<i32>) -> Call {
        Call::Write(Write::Set { path, value, version })
    }

    pub fn value(version: i32, value: u64) -> Answer {
        Answer::Value(Some(Register { version, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::examples::{Script, create, set, value};
    use super::*;

    fn judge(script: &Script) -> Findings {
        check(&script.history, &Hints::new(), 100_000)
    }

    #[test]
    fn a_sync_read_of_an_overwritten_value_is_rejected() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 4, set(0, 11, None), Answer::Done, 2);
        script.ok(5, 6, Call::SyncRead(0), value(0, 10), 2);
        let findings = judge(&script);
        assert_eq!(findings.violated, 1);
        assert!(findings.violations[0].evidence.contains("/r/a"), "{:?}", findings.violations);
    }

    #[test]
    fn two_successful_compare_and_sets_of_one_version_are_rejected() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 9, set(0, 11, Some(0)), Answer::Done, 2);
        script.ok(3, 9, set(0, 12, Some(0)), Answer::Done, 3);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn concurrent_operations_may_take_effect_in_either_order() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 9, set(0, 11, None), Answer::Done, 3);
        script.ok(3, 9, set(0, 12, None), Answer::Done, 2);
        script.ok(4, 8, Call::SyncRead(0), value(1, 12), 2);
        script.ok(10, 11, Call::SyncRead(0), value(2, 11), 3);
        assert!(judge(&script).passed());
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.unknown(3, set(0, 11, None));
        script.ok(5, 6, Call::SyncRead(0), value(0, 10), 1);
        script.ok(7, 8, Call::SyncRead(0), value(1, 11), 2);
        script.unknown(9, set(0, 99, None));
        assert!(judge(&script).passed());
    }

    #[test]
    fn a_value_that_disappears_again_is_rejected_although_its_write_is_unknown() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.unknown(3, set(0, 11, None));
        script.ok(5, 6, Call::SyncRead(0), value(1, 11), 2);
        script.ok(7, 8, Call::SyncRead(0), value(0, 10), 2);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn a_refused_write_is_an_observation() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 4, create(0, 11), Answer::Refused(Refusal::NodeExists), 2);
        assert!(judge(&script).passed());
        script.ok(5, 6, set(0, 12, Some(0)), Answer::Refused(Refusal::BadVersion), 3);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn half_a_multi_is_rejected_and_a_whole_one_accepted() {
        let both = Call::Multi(vec![Write::Create { path: 0, value: 1 }, Write::Create { path: 1, value: 2 }]);
        let mut script = Script::new();
        script.ok(1, 2, both.clone(), Answer::Done, 1);
        script.ok(3, 4, Call::SyncChildren(vec![0, 1]), Answer::Children(vec![0, 1]), 1);
        assert!(judge(&script).passed());

        let mut script = Script::new();
        script.unknown(1, both);
        script.ok(3, 4, Call::SyncChildren(vec![0, 1]), Answer::Children(vec![1]), 1);
        assert_eq!(judge(&script).violated, 1);
    }

    #[test]
    fn registers_are_searched_apart() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(1, 2, create(1, 20), Answer::Done, 2);
        assert_eq!(judge(&script).evaluations, 2);
    }

    #[test]
    fn running_out_of_budget_is_a_failure() {
        let mut script = Script::new();
        for client in 0..12 {
            script.ok(1, 100, set(0, client, None), Answer::Refused(Refusal::BadVersion), 1);
            script.unknown(1, create(0, client + 100));
        }
        let findings = check(&script.history, &Hints::new(), 3);
        assert_eq!(findings.violated, 1);
        assert!(findings.violations[0].evidence.contains("undecided"), "{:?}", findings.violations);
    }

    #[test]
    fn a_long_history_with_many_unknown_writes_is_decided_within_the_budget() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 0), Answer::Done, 1);
        let mut version = 0;
        for round in 1..300u64 {
            let at = round * 10;
            if round % 20 == 0 {
                script.unknown(at, set(0, 10_000 + round, Some(version)));
            }
            script.ok(at + 1, at + 5, set(0, round, Some(version)), Answer::Done, 1 + round as i64);
            version += 1;
            script.ok(at + 6, at + 8, Call::SyncRead(0), value(version, round), 1 + round as i64);
        }
        assert!(check(&script.history, &Hints::new(), 200_000).passed());
    }
}
