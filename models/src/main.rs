//! Exhaustive exploration of the pure cores that ship.

fn main() {}
