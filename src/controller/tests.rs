//! The controller held to its contract: elections, eligible sets, proposals, writes and pushes.
