//! Transactions of real processes, of which some die or stand still meanwhile.

mod bank;
mod commands;
mod history;
mod layout;
mod locks;
mod outages;
mod pairs;
mod transfers;
mod wire;
