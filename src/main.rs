//! The `wyrd` binary: a real cluster on tokio, and its tools.

fn main() {}
