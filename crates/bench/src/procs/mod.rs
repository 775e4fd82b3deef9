//! Child processes: clusters on loopback, and what the system and the nodes tell about them.

mod admin;
mod child;
mod etcd;
mod metrics_page;
mod ports;
mod proc_files;
mod strata;

pub(crate) use admin::Admin;
pub(crate) use etcd::EtcdCluster;
pub(crate) use metrics_page::MetricsPage;
pub(crate) use proc_files::{CpuMeter, resident_bytes};
pub(crate) use strata::StrataCluster;
