//! `Observe`: free of charge when nobody looks. That observing does not change a run can only be
//! shown where a run can be repeated, and is shown there.

use wyrdlog::runtime::Observe;

use super::{World, on_one};

pub fn nothing_is_made_when_nobody_looks<W: World>() {
    on_one::<W, _>(async |node| {
        node.observe(|| panic!("an event was made for nobody"));
    });
}
