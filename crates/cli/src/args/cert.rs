//! `strata cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `strata cert`: a CA, and what it signs.
#[derive(Clone, Debug, Subcommand)]
pub enum CertCommand {
    /// Make a CA: one for each cluster. Writes DIR/ca.crt and DIR/ca.key
    #[command(
        after_help = "Example:\n  strata cert ca certs --cluster prod\n\nWho has ca.key can make nodes: keep it \
                            where certificates are made, not on the nodes."
    )]
    Ca {
        /// Where to write
        dir: PathBuf,
        /// Name of the cluster: it is in the name of the CA, so that two of them can be told apart
        #[arg(long, value_name = "NAME", default_value = "strata")]
        cluster: String,
        /// For how long it is valid
        #[arg(long, value_name = "N", default_value_t = 3_650, value_parser = days())]
        days: u32,
        /// Replace what is there
        #[arg(long)]
        force: bool,
    },
    /// Make the certificate of a node. Writes DIR/node.crt, DIR/node.key and a copy of the CA's ca.crt
    #[command(
        after_help = "Examples:\n  strata cert node certs\n  strata cert node certs/db1 --from certs --host db1 \
                            --host 10.0.0.1\n\nA running node takes a replaced certificate by itself, within seconds."
    )]
    Node {
        /// Whom and where
        #[command(flatten)]
        leaf: Leaf,
        /// Name or IP address at which it is reached; may be given several times. Always in it: localhost, 127.0.0.1,
        /// ::1 and the name of this machine, unless --only-hosts
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// No other names than those of --host
        #[arg(long, requires = "hosts")]
        only_hosts: bool,
    },
    /// Make the certificate of a client. Writes DIR/client.crt, DIR/client.key and a copy of the CA's ca.crt
    #[command(after_help = "Example:\n  strata cert client certs/ada --from certs --name ada\n  \
                      strata cluster status --certs certs/ada\n\nNodes with --require-client-cert let in only who \
                      shows one.")]
    Client {
        /// Whom and where
        #[command(flatten)]
        leaf: Leaf,
    },
}

/// A certificate that a CA signs.
#[derive(Clone, Debug, Args)]
pub struct Leaf {
    /// Where to write
    pub dir: PathBuf,
    /// Where the CA is [default: DIR]
    #[arg(long, value_name = "CADIR")]
    pub from: Option<PathBuf>,
    /// Name of the owner [default: the name of the directory]
    #[arg(long)]
    pub name: Option<String>,
    /// For how long it is valid
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = days())]
    pub days: u32,
    /// Replace what is there
    #[arg(long)]
    pub force: bool,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}
