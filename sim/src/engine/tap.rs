//! Whoever listens to servers' sockets: which bytes their processes took from them and gave to them,
//! as the wire has them, so that nobody has to believe what a process says of it.
//!
//! The callback is called with the world borrowed: it may look at nothing but what it is given.

use std::cell::RefCell;

use super::network::ServerBytes;

/// What [`super::Simulation::set_tap`] takes.
pub type Tap = Box<dyn FnMut(ServerBytes<'_>)>;

struct Tapped {
    ports: Vec<u16>,
    tap: Tap,
}

thread_local! {
    static TAP: RefCell<Option<Tapped>> = const { RefCell::new(None) };
}

/// Replaces the tap of this thread's simulation. It hears connections to `ports` only.
pub(super) fn set(ports: &[u16], tap: Option<Tap>) {
    let new = tap.map(|tap| Tapped { ports: ports.to_vec(), tap });
    // The thread may be ending; then nobody listens any more.
    let old = TAP.try_with(|slot| std::mem::replace(&mut *slot.borrow_mut(), new));
    drop(old);
}

/// Tells the tap, if it listens to that port.
pub(super) fn tell(port: u16, bytes: impl FnOnce(&mut dyn FnMut(ServerBytes<'_>))) {
    let _ = TAP.try_with(|slot| {
        if let Ok(mut tapped) = slot.try_borrow_mut()
            && let Some(tapped) = tapped.as_mut().filter(|tapped| tapped.ports.contains(&port))
        {
            bytes(&mut tapped.tap);
        }
    });
}
