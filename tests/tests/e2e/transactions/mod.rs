//! Transactions of real processes, of which some die or stand still meanwhile.

mod bank;
mod commands;
mod gateways;
mod history;
mod layout;
mod locks;
mod outages;
mod pairs;
mod rivals;
mod transfers;
mod wire;
