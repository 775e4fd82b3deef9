//! The world behind traits: time, randomness, tasks and disks.
//!
//! # Problem
//! A distributed system is tested well only when a whole cluster runs from one seed. So nothing in the layers L0 to
//! L4 asks the operating system for the time, a random number, a thread or a file: it asks an [`Env`] and a
//! [`Disk`], of which there are two: the [`real`] ones and the simulated ones of [`sim`].
//!
//! # Model
//! ```text
//!   Env { clock, rng, tasks }      one per node; cheap to clone
//!   Disk -> File                   one per node; async, so that the simulator can delay, lose and damage
//! ```
//! The real disk does its blocking call when its future is polled: callers run it on a dedicated thread
//! ([`Tasks::dedicated`]), never on a scheduler thread.
//!
//! # Invariants
//! - ENV-1: no code above takes time, randomness, files or threads from anywhere else (a lint names this crate).
//! - ENV-2: whatever a synced file held survives any crash; what was not synced may be lost, whole or in part.

mod courtesy;
mod disk;
mod env;
pub mod real;
pub mod sim;

pub use courtesy::{Courtesy, courtesy};
pub use disk::{Disk, File, OpenMode};
pub use env::{BoxFuture, Clock, Elapsed, Env, Halt, Mono, Rng, TaskHandle, Tasks};
