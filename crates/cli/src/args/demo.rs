//! `strata demo`.

use std::path::PathBuf;

use clap::Args;

/// `strata demo`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  strata demo\n  strata demo --nodes 5 --keep my-demo    (again later, and the data is there)\n  \
                        echo 'put greeting hello' | strata demo"
)]
pub struct DemoArgs {
    /// Number of nodes [default: 3, or as many as the kept demo has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9))]
    pub nodes: Option<u32>,
    /// Client port of the first node; node i has 10 more for each before it [default: 7400, or as kept]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub port: Option<u16>,
    /// Number of shards [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub shards: Option<u32>,
    /// Keep the data in this directory, and go on with it if it holds a demo
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Encrypt, with certificates made for this demo; a kept demo that did so goes on doing so
    #[arg(long)]
    pub tls: bool,
    /// Only run the nodes
    #[arg(long)]
    pub no_shell: bool,
}
