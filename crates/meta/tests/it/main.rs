//! The meta machine from outside: scripts, formats, placement, planning.

mod decoding;
mod placement;
mod planning;
mod random;
mod scripts;
mod show;
mod spreading;
mod tablet;
mod words;
mod world;
