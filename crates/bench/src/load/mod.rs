//! Load: what is sent, by whom, how fast, and how long it took.

mod attempts;
mod closed;
mod dice;
mod numbers;
mod open;
mod samples;
mod target;

pub(crate) use attempts::Attempts;
pub(crate) use closed::{Measured, Plan, fill, measure};
pub(crate) use dice::{Dice, key, value_of};
pub(crate) use open::{Event, OpenLoop, Outcome};
pub(crate) use samples::{Recorder, Samples};
pub(crate) use target::{Caller, Target};
