//! The real world: tokio's clock, tasks and sockets, and the operating system's files.
