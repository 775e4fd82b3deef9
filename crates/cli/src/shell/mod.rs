//! The shell of a demo: the commands of `strata kv` and `strata cluster` without the words before them.

mod command;
mod editor;
mod words;

pub use command::{Parsed, ShellCommand, parse};
pub use editor::{Line, Lines};
