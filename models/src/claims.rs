//! What a model claims, and in how many states each claim said something.
//!
//! A claim that holds because what it speaks of never happened has not been shown. So each claim
//! comes with its premise, and the states in which the premise was met are counted; a count of zero
//! fails an exploration as a broken claim does. Rare situations that must be reached, *sights*, are
//! counted in the same way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stateright::{Model, Property};

/// The most claims of one model.
const CLAIMS_MAX: usize = 10;
/// The most sights of one model.
const SIGHTS_MAX: usize = 10;

/// What must hold in every state.
pub struct Claim<M: Model> {
    /// In words.
    pub name: &'static str,
    /// Whether it is claimed within the model's bounds.
    pub applies: fn(&M) -> bool,
    /// Whether it says anything about a state. Decides what is counted, not what is checked.
    pub premise: fn(&M, &M::State) -> bool,
    /// Whether it holds in a state.
    pub holds: fn(&M, &M::State) -> bool,
}

/// A situation that must be reached.
pub struct Sight<M: Model> {
    /// In words.
    pub name: &'static str,
    /// Whether a state shows it.
    pub seen: fn(&M, &M::State) -> bool,
}

/// A model that says what it claims.
pub trait Claims: Model + Sized + 'static {
    /// Every claim.
    const CLAIMS: &'static [Claim<Self>];
    /// Every sight.
    const SIGHTS: &'static [Sight<Self>];

    /// Where states are counted.
    fn tally(&self) -> &Tally;

    /// The names of the sights that must be reached within the model's bounds.
    fn reaches(&self) -> &'static [&'static str];

    /// The claims that apply, for the checker.
    fn checked(&self) -> Vec<Property<Self>> {
        const { assert!(Self::CLAIMS.len() <= CLAIMS_MAX && Self::SIGHTS.len() <= SIGHTS_MAX) };
        let conditions = conditions::<Self>();
        let applying = Self::CLAIMS.iter().zip(conditions).filter(|(claim, _)| (claim.applies)(self));
        applying.map(|(claim, condition)| Property::always(claim.name, condition)).collect()
    }
}

/// States, counted by claim and by sight. Shared by the threads that explore.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    claims: [AtomicU64; CLAIMS_MAX],
    sights: [AtomicU64; SIGHTS_MAX],
}

impl Tally {
    /// The states in which the premise of the claim at `at` was met.
    pub fn claim(&self, at: usize) -> u64 {
        self.0.claims[at].load(Ordering::Relaxed)
    }

    /// The states that showed the sight at `at`.
    pub fn sight(&self, at: usize) -> u64 {
        self.0.sights[at].load(Ordering::Relaxed)
    }
}

type Condition<M> = fn(&M, &<M as Model>::State) -> bool;

/// One function a claim, for the checker takes plain functions.
fn conditions<M: Claims>() -> [Condition<M>; CLAIMS_MAX] {
    [
        condition::<M, 0>,
        condition::<M, 1>,
        condition::<M, 2>,
        condition::<M, 3>,
        condition::<M, 4>,
        condition::<M, 5>,
        condition::<M, 6>,
        condition::<M, 7>,
        condition::<M, 8>,
        condition::<M, 9>,
    ]
}

/// The checker asks each claim once in each state; the first also counts the sights.
fn condition<M: Claims, const AT: usize>(model: &M, state: &M::State) -> bool {
    let counts = &model.tally().0;
    if AT == 0 {
        for (sight, count) in M::SIGHTS.iter().zip(&counts.sights) {
            if (sight.seen)(model, state) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    let claim = &M::CLAIMS[AT];
    if (claim.premise)(model, state) {
        counts.claims[AT].fetch_add(1, Ordering::Relaxed);
    }
    (claim.holds)(model, state)
}
