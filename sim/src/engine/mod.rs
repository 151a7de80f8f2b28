//! The simulation engine: the runtime traits on a world that is made from a seed.
//!
//! One thread runs one simulation. Its world lives in a thread-local; nodes hold plain ids
//! ([`SimRuntime`], [`SimFile`], ...), so that handles are `Send` without locks and nothing forms a
//! cycle. Time is virtual, in nanoseconds, and moves only when no task is ready. A driver
//! ([`Simulation`]) starts processes, lets time pass, and injects faults between steps.
//!
//! **Promises.** The same seed, configuration and driver calls give the same run, to the byte;
//! observing changes nothing. A process is dead before its tasks are dropped. Everything frees
//! itself, within a long simulation and over many.
//!
//! **Left to others.** Which faults to inject when, what the nodes run, and whether they behaved.
//!
//! `docs/SIMULATION.md` tells the model in prose.

mod clock;
mod config;
mod disk;
mod effects;
mod effort;
mod executor;
mod hash;
mod network;
mod observe;
mod process;
pub mod pulse;
mod queue;
mod random;
mod runtime;
mod simulation;
mod slab;
mod tap;
mod view;
mod wakes;
mod world;

pub use clock::DRIFT_PPB_MAX;
pub use config::{DiskConfig, EngineConfig, LinkParams, NetworkConfig, Schedule};
pub use disk::{Damage, DiskEffect, DiskFault, DiskImage, DiskOperation, PowerLoss, SimFile};
pub use effects::Effects;
pub use effort::Effort;
pub use executor::SimTask;
pub use hash::{CHECKPOINTS_MAX, Checkpoint, TraceEntry, first_divergence};
pub use network::{ServerBytes, SimListener, SimReader, SimStream, SimWriter};
pub use observe::{Observation, Observer};
pub use runtime::SimRuntime;
pub use simulation::Simulation;
pub use tap::Tap;
pub use view::View;
pub use world::{Failure, NodeId, Stop, here};
