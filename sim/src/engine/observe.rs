//! Whoever watches a simulation. The callback lives beside the world, so that it is called with
//! nothing borrowed and may look at disks through a [`super::View`].

use std::cell::{Cell, RefCell};

use wyrdlog::base::event::Event;

use super::world::NodeId;

/// An event, with what only the world knows of it.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When, in simulated nanoseconds.
    pub time_ns: u64,
    /// On which node.
    pub node: NodeId,
    /// In which incarnation of its process; the first is 1.
    pub incarnation: u32,
    /// What happened.
    pub event: Event,
}

/// What [`super::Simulation::set_observer`] takes.
pub type Observer = Box<dyn FnMut(Observation)>;

thread_local! {
    static IS_OBSERVED: Cell<bool> = const { Cell::new(false) };
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Whether anybody looks.
#[inline]
pub(super) fn is_observed() -> bool {
    IS_OBSERVED.try_with(Cell::get).unwrap_or(false)
}

/// Replaces the observer of this thread's simulation.
pub(super) fn set(observer: Option<Observer>) {
    // The thread may be ending; then nobody looks any more.
    let _ = IS_OBSERVED.try_with(|flag| flag.set(observer.is_some()));
    let old = OBSERVER.try_with(|slot| std::mem::replace(&mut *slot.borrow_mut(), observer));
    drop(old);
}

/// Tells the observer. An observer that causes an observation itself is not told of it.
pub(super) fn tell(observation: Observation) {
    let _ = OBSERVER.try_with(|slot| {
        if let Ok(mut observer) = slot.try_borrow_mut()
            && let Some(observer) = observer.as_mut()
        {
            observer(observation);
        }
    });
}
