//! Child processes: clusters on loopback or on a network of their own, and what the system and the nodes tell about them.

mod admin;
mod child;
mod etcd;
mod metrics_page;
mod network;
mod ports;
mod proc_files;
mod strata;

pub(crate) use admin::Admin;
pub(crate) use etcd::EtcdCluster;
pub(crate) use metrics_page::MetricsPage;
pub(crate) use network::Network;
pub(crate) use proc_files::{CpuMeter, resident_bytes};
pub(crate) use strata::StrataCluster;
