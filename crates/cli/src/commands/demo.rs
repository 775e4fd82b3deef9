//! `strata demo`.

use std::time::Duration;

use serde_json::json;

use crate::args::{Connect, DemoArgs, TlsArgs};
use crate::commands::cert;
use crate::demo::{Directory, Fleet, Layout, Running};
use crate::failure::Failure;
use crate::output::Format;
use crate::session::Session;
use crate::signals::Signals;

/// How long one operation of the shell may take.
const SHELL_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the nodes, and a shell unless told not to.
pub async fn run(args: DemoArgs, format: Format) -> Result<(), Failure> {
    // First: from here on a signal does not end us before the directory is removed.
    let mut signals = Signals::take()?;
    let (directory, layout) = Directory::open(&args)?;
    check_ports(&layout).await?;
    layout.store()?;
    if let Some(certs) = layout.certs() {
        cert::make_for_demo(&certs)?;
    }
    let addr = layout.numbers().map(|node| layout.client_address(node)).collect();
    let session = Session::new(&Connect {
        addr,
        timeout: SHELL_TIMEOUT,
        tls: TlsArgs { certs: layout.certs(), ..TlsArgs::default() },
    })?;
    let fleet = Fleet::start(&layout)?;
    let mut demo = Running::new(layout, fleet, session, &directory, !args.no_shell, format);
    let result = demo.run(&mut signals).await;
    let stopped = demo.stop(&mut signals).await;
    if directory.is_temporary() {
        match directory.remove() {
            Ok(()) => demo.say("the data of this demo is removed", json!({ "event": "removed" })),
            Err(sentence) => demo.say(&sentence, json!({ "event": "stays", "reason": sentence })),
        }
    }
    result.and(stopped)
}

/// Better one sentence from us than one from each node.
async fn check_ports(layout: &Layout) -> Result<(), Failure> {
    for port in layout.ports() {
        if !strata_server::is_free("127.0.0.1", port).await {
            let holder = strata_server::port_holder(port).map_or_else(String::new, |holder| format!(" by {holder}"));
            let failure = Failure::new(format!("port {port} is taken{holder}"));
            return Err(match free_base(layout).await {
                Some(base) => failure.hint(format!("ports from {base} are free: --port {base}")),
                None => failure.hint("choose others with --port"),
            });
        }
    }
    Ok(())
}

async fn free_base(layout: &Layout) -> Option<u16> {
    for step in 1..=20 {
        let port = layout.port.checked_add(step * 100).filter(|port| *port < 65_000)?;
        let mut is_free = true;
        for port in (Layout { port, ..layout.clone() }).ports() {
            is_free = is_free && strata_server::is_free("127.0.0.1", port).await;
        }
        if is_free {
            return Some(port);
        }
    }
    None
}
