//! Every implementation of the runtime is held to the same contract: one suite, several worlds.

mod conformance;

#[path = "worlds/on_engine.rs"]
mod on_engine;
#[path = "worlds/on_tokio.rs"]
mod on_tokio;
