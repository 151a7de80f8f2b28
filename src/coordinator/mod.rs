//! The coordinator: an ensemble that speaks the ZooKeeper protocol. [`tree`] is its pure state
//! machine; consensus orders what enters it.

pub mod tree;
