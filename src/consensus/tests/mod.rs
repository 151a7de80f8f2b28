//! Claims about the core, on a scripted network.
