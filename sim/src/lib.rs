//! The seeded simulator of Wyrd.
