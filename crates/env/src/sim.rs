//! A simulated world: machines whose time, randomness, tasks and disks follow from one seed.
//!
//! # Model
//! ```text
//!   SimWorld(seed) -- node(1), node(2), ... --> SimNode { clock, tasks, disk }
//!                                                  | env(), disk(): handles of the present generation
//!                                                  | crash(), kill(), halt: that generation is over
//!                                                  ` restart(): the next one, on what the disk kept
//! ```
//! Everything runs on one current-thread tokio runtime with paused time, whose time is the world's. A node's clock is
//! that time with an offset and a drift. Its tasks are tokio tasks that end with their generation; while it is sluggish,
//! some of them get their turns late. Its disk keeps, per file, what is durable and which 512-byte sectors were written
//! since; a crash keeps some of those and loses the others, and does the same with names.
//!
//! # Invariants
//! - SIM-1: a handle of an ended generation changes nothing: its I/O fails, its tasks are not started.
//! - SIM-2: what was synced survives; anything else may be kept or lost, each sector and each name on its own.
//! - SIM-3: the same seed and the same calls give the same world: no hash order, no operating system.

#![allow(clippy::disallowed_methods, reason = "this module makes the simulated clocks and tasks out of tokio's")]

mod clock;
mod disk;
mod files;
mod inode;
mod node;
mod rng;
mod tasks;
mod turns;
mod world;

pub use node::SimNode;
pub use rng::SimRng;
pub use world::SimWorld;
