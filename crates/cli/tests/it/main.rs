//! The program as a process, where no cluster is needed. The others are in the end-to-end tests.
#![allow(clippy::disallowed_methods, reason = "tests of a real process use the real world")]

mod program;
