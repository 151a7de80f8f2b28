//! Wing and Gong's search for an order that explains a history, with Lowe's memo.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::ids::Zxid;

use super::dates::Dates;
use super::projection::Step;
use crate::history::OpId;
use crate::history::coordinator::{Answer, Call, CoordinatorOp, PathIndex, Refusal, Register, Write};

/// The registers that exist; the state that operations are replayed on.
pub(super) type State = BTreeMap<PathIndex, Register>;

/// Replays `call` on `state`: what a register answers, and the change it makes to `state`.
pub(super) fn replay(state: &mut State, call: &Call) -> Answer {
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
pub(super) enum Linearizable {
    Yes,
    No {
        /// How many operations the longest attempt explained.
        longest: usize,
        /// The operations that it could not continue with.
        stuck_at: Vec<OpId>,
    },
    OutOfBudget {
        steps: u64,
        /// As above.
        longest: usize,
        stuck_at: Vec<OpId>,
    },
}

/// A call or its return, in a doubly linked list over indices: entry 2i calls operation i of the
/// steps, entry 2i + 1 returns it. The list's head is entry `2 * calls.len()`.
pub(super) struct Search<'h> {
    dates: &'h Dates,
    steps: &'h [Step],
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
    /// At this zxid or at another.
    Perhaps(Zxid),
    /// Never, as far as is known.
    Never,
}

/// One choice of a search: what could come next at this point, and which of it was taken.
struct Choice {
    /// Calls, the most likely last.
    left: Vec<u32>,
    /// The call that was taken, and the state before it.
    taken: Option<(u32, State)>,
    /// Whether there ever was another one. Where there was none, the point that it leads to needs no memo.
    is_open: bool,
}

impl<'h> Search<'h> {
    pub(super) fn new(steps: &'h [Step], dates: &'h Dates, steps_max: u64) -> Self {
        let operation = |at: usize| &steps[at].operation;
        // A call precedes a return at the same instant: the two then count as concurrent.
        let mut order: Vec<(u64, bool, u32)> = Vec::with_capacity(steps.len() * 2);
        for at in 0..steps.len() {
            order.push((operation(at).invoked_ns, false, 2 * at as u32));
            order.push((operation(at).ended_ns(), true, 2 * at as u32 + 1));
        }
        order.sort_unstable();
        let head = 2 * steps.len() as u32;
        let (mut next, mut previous) = (vec![head; steps.len() * 2 + 1], vec![head; steps.len() * 2 + 1]);
        let mut last = head;
        for (_, _, entry) in order {
            next[last as usize] = entry;
            previous[entry as usize] = last;
            last = entry;
        }
        next[last as usize] = head;
        previous[head as usize] = last;
        let unexplained = (0..steps.len()).filter(|at| operation(*at).reply().is_some()).count();
        Search { dates, steps, next, previous, unexplained, steps_max }
    }

    fn operation(&self, entry: u32) -> &'h CoordinatorOp {
        &self.steps[entry as usize / 2].operation
    }

    /// Depth first. What is tried first is what the zxids of the replies suggest, so that a history
    /// that is linearizable is nearly always explained without going back; that they are right is
    /// not believed but checked by the replay.
    pub(super) fn run(mut self) -> Linearizable {
        let mut memo: BTreeSet<(Vec<u32>, State)> = BTreeSet::new();
        let mut state = State::new();
        let mut choices = vec![self.choice(&state)];
        let (mut longest, mut stuck_at) = (0, Vec::new());
        let mut steps = 0;
        while self.unexplained > 0 {
            let depth = choices.len();
            let Some(choice) = choices.last_mut() else { return Linearizable::No { longest, stuck_at } };
            if let Some((call, before)) = choice.taken.take() {
                state = before;
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
                return Linearizable::OutOfBudget { steps: self.steps_max, longest, stuck_at };
            }
            let mut after = state.clone();
            if !self.fits(call, &mut after, &state) {
                continue;
            }
            self.lift(call);
            if choice.is_open && !memo.insert((self.frontier(), after.clone())) {
                self.put_back(call);
                continue;
            }
            choice.taken = Some((call, std::mem::replace(&mut state, after)));
            choices.push(self.choice(&state));
        }
        Linearizable::Yes
    }

    /// The calls that could come next, the most likely last: the one with the lowest zxid; then those whose zxid is
    /// guessed, if that does not fit; then the others by zxid; then those that seem to have had no effect.
    ///
    /// Where one fits that changes nothing there is no other choice: in whatever order explains the rest, it may as
    /// well come here.
    fn choice(&self, state: &State) -> Choice {
        if let Some(entry) = self.harmless(state) {
            return Choice { left: vec![entry], taken: None, is_open: false };
        }
        let head = 2 * self.steps.len() as u32;
        let (mut dated, mut open, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let mut entry = self.next[head as usize];
        while entry != head && is_call(entry) {
            match self.likely(entry) {
                Likely::At(zxid, is_read) => dated.push((zxid, is_read, entry)),
                Likely::Perhaps(zxid) => {
                    dated.push((zxid, false, entry));
                    open.push(entry);
                }
                Likely::Never => left.push(entry),
            }
            entry = self.next[entry as usize];
        }
        dated.sort_unstable_by(|one, other| other.cmp(one));
        let first = dated.pop();
        left.extend(dated.into_iter().map(|(_, _, entry)| entry));
        left.extend(open);
        left.extend(first.map(|(_, _, entry)| entry));
        Choice { is_open: left.len() > 1, left, taken: None }
    }

    /// A call that could come next, whose answer is explained by `state`, and which leaves that as it is.
    fn harmless(&self, state: &State) -> Option<u32> {
        let head = 2 * self.steps.len() as u32;
        let calls = std::iter::successors(Some(self.next[head as usize]), |entry| Some(self.next[*entry as usize]));
        calls.take_while(|entry| *entry != head && is_call(*entry)).find(|entry| {
            let operation = self.operation(*entry);
            let mut after = state.clone();
            let answer = replay(&mut after, &operation.call.call);
            operation.reply().is_some_and(|reply| reply.answer == answer) && after == *state
        })
    }

    /// Where the operation took effect, by its reply or by its date.
    fn likely(&self, entry: u32) -> Likely {
        let operation = self.operation(entry);
        let call = &operation.call.call;
        if let Some(reply) = operation.reply() {
            // A read shows the write at its own zxid.
            return Likely::At(reply.zxid, !matches!(call, Call::Write(_) | Call::Multi(_)));
        }
        match self.dates.get(&self.steps[entry as usize / 2].op) {
            Some(date) if date.is_guessed => Likely::Perhaps(date.zxid),
            Some(date) => Likely::At(date.zxid, false),
            None => Likely::Never,
        }
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

    /// The entries before the first return, and that one. It tells what is explained: everything else that was
    /// asked for before it.
    fn frontier(&self) -> Vec<u32> {
        let head = 2 * self.steps.len() as u32;
        let mut found = Vec::new();
        let mut entry = self.next[head as usize];
        while entry != head && is_call(entry) {
            found.push(entry);
            entry = self.next[entry as usize];
        }
        found.push(entry);
        found
    }

    /// The operations that could come next: those invoked before the first return.
    fn candidates(&self) -> Vec<OpId> {
        let calls = self.frontier().into_iter().filter(|entry| is_call(*entry) && *entry < 2 * self.steps.len() as u32);
        calls.map(|entry| self.steps[entry as usize / 2].op).collect()
    }
}

fn is_call(entry: u32) -> bool {
    entry.is_multiple_of(2)
}
