//! The `wyrd-sim` binary.

fn main() {}
