//! The meta machine from outside: scripts, formats, placement.

mod placement;
mod scripts;
