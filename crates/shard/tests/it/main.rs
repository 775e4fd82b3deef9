//! Tests of the data machine: scripts that show every read, write and reply, and random schedules against a model.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may unwrap, and scripts are files")]

mod cold;
mod collecting;
mod decoding;
mod hot_keys;
mod model;
mod pages;
mod runner;
mod scripts;
mod show;
mod unfinished;
mod versions;
mod view;
mod world;
