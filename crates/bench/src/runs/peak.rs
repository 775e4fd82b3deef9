//! How much load a cluster takes: the load of other measurements is a part of it.

use anyhow::{Result, bail};

use crate::args::{Common, Operation};
use crate::load::{Plan, Target, fill, measure};
use crate::procs::{CpuMeter, StrataCluster};

/// Keys that are written for it; whoever writes its own keys begins above.
const KEYS: u64 = 100_000;

/// The load of an open loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Writes a second that so many callers reach in a closed loop; not measured when the rate was given.
    pub(super) peak: Option<f64>,
    /// Writes a second.
    pub(super) rate: u32,
}

/// A part of the measured peak, or the rate that somebody asked for.
pub(super) async fn rate(
    common: &Common,
    cluster: &StrataCluster,
    callers: usize,
    percent: u32,
    wanted: Option<u32>,
    value_bytes: usize,
) -> Result<Rate> {
    if let Some(rate) = wanted {
        return Ok(Rate { peak: None, rate });
    }
    let target = Target::sdk(&cluster.addresses()).await?;
    fill(&target, KEYS, value_bytes).await?;
    let plan = Plan {
        operation: Operation::Put,
        callers,
        warmup: common.span(2),
        measured: common.span(5),
        keys: KEYS,
        value_bytes,
        seed: 1,
    };
    let measured = measure(&target, &plan, &CpuMeter::new(cluster.pids())).await?;
    let rate = (measured.throughput * f64::from(percent) / 100.0) as u32;
    if rate == 0 {
        bail!("the peak cannot be measured: no write succeeded: {:?}", measured.samples.errors);
    }
    Ok(Rate { peak: Some(measured.throughput), rate })
}
