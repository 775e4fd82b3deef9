//! `strata start`.

use std::mem::Discriminant;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use strata_net::tls::ClientAuth;
use strata_server::settings::{Resolved, Settings};
use strata_server::{
    Listener, Metrics, Phase, Server, ServerParts, StartError, connections_within, raise_open_files_limit,
};
use strata_storage::{StorageResult, Tablets};
use strata_storage_rocksdb::{RocksOptions, RocksTablets};
use tokio::io::AsyncReadExt;

use crate::args::StartArgs;
use crate::failure::{Failure, STATUS_INTERRUPTED, STATUS_USAGE};
use crate::output::{Answer, Format, count};
use crate::program;
use crate::signals::Signals;

/// A phase that says how far it is says so again after this much time.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        let failure = Failure::new(error.to_string());
        let failure = if error.is_of_settings() { failure.status(STATUS_USAGE) } else { failure };
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Runs one node until it is told to stop.
pub async fn run(args: StartArgs, format: Format) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut settings = Resolved::of_process(args.node.flags(), args.node.config.as_deref())?.settings;
    let mut signals = Signals::take()?;
    let open_files = raise_open_files_limit();
    let teller = Teller::new(format);
    teller.say(&opening(&settings));
    let connections_max = connections_within(open_files, settings.connections_max);
    if connections_max < settings.connections_max {
        teller.say(&fewer_connections(connections_max, settings.connections_max, open_files));
        settings.connections_max = connections_max;
    }
    let tablet_memory = settings.tablet_memory;
    let parts = ServerParts {
        settings: settings.clone(),
        metrics: Metrics::install().map_err(|error| Failure::new(error.to_string()))?,
        tablets: Box::new(move |directory| open_tablets(directory, tablet_memory)),
        progress: teller.clone().listener(),
    };
    let server = {
        let mut stop = std::pin::pin!(stop_asked(&mut signals, args.stop_with_stdin));
        let server = tokio::select! {
            started = Server::start(parts) => started?,
            () = &mut stop => {
                teller.say(&Answer::new("stopped before the node was ready", json!({ "event": "stopped" })));
                return Ok(());
            }
        };
        teller.say(&ready(&server, &settings, begin.elapsed()));
        stop.await;
        server
    };
    shut_down(server, &teller, &mut signals).await
}

/// Completes at the first request to stop.
async fn stop_asked(signals: &mut Signals, with_stdin: bool) {
    tokio::select! {
        () = signals.next() => {}
        () = end_of_stdin(), if with_stdin => {}
    }
}

/// In good order, or at once when asked again. The signals are those that were taken at the start: one that comes
/// while the first is looked at is not lost.
async fn shut_down(server: Server, teller: &Arc<Teller>, signals: &mut Signals) -> Result<(), Failure> {
    let begin = Instant::now();
    let text = "stopping: leaders move first (again to stop at once)";
    teller.say(&Answer::new(text, json!({ "event": "stopping" })));
    tokio::select! {
        () = server.shutdown() => {
            let seconds = begin.elapsed().as_secs_f64();
            teller.say(&Answer::new(
                format!("stopped in {seconds:.1} s"),
                json!({ "event": "stopped", "seconds": seconds }),
            ));
            Ok(())
        }
        () = signals.next() => {
            Err(Failure::new("stopped at once; what was acknowledged is safe").status(STATUS_INTERRUPTED))
        }
    }
}

fn open_tablets(directory: &Path, memory_bytes: u64) -> StorageResult<Arc<dyn Tablets>> {
    let memory_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
    let options = RocksOptions { memory_bytes, ..RocksOptions::default() };
    Ok(Arc::new(RocksTablets::new(directory, options)?))
}

/// Completes when whoever holds the other end of standard input is gone.
async fn end_of_stdin() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    while !matches!(stdin.read(&mut ignored).await, Ok(0) | Err(_)) {}
}

fn opening(settings: &Settings) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    let data = settings.data.display().to_string();
    Answer::new(
        format!("strata {version}, data in {data}"),
        json!({ "event": "starting", "version": version, "data": data }),
    )
}

/// The node would rather refuse clients than stop because it cannot open its own files.
fn fewer_connections(connections: u32, wanted: u32, open_files: Option<u64>) -> Answer {
    let open_files = open_files.unwrap_or_default();
    Answer::new(
        format!("  at most {connections} clients, not {wanted}: this process may open {open_files} files (ulimit -Hn)"),
        json!({ "event": "fewer_connections", "connections_max": connections, "open_files": open_files }),
    )
}

fn ready(server: &Server, settings: &Settings, took: Duration) -> Answer {
    let ca = settings.tls.as_ref().map(|files| files.ca.display().to_string());
    let asks = settings.client_auth == ClientAuth::Required;
    // Where the certificates of clients are is theirs to know.
    let (flag, curl) = match &ca {
        Some(ca) if asks => {
            let shown = "--cert DIR/client.crt --key DIR/client.key";
            (" --certs DIR".to_owned(), format!("curl --cacert {ca} {shown} https:"))
        }
        Some(ca) => (format!(" --ca {ca}"), format!("curl --cacert {ca} https:")),
        None => (String::new(), "curl http:".to_owned()),
    };
    let clients =
        if asks { "  clients  need a certificate: strata cert client DIR --from CADIR --name NAME\n" } else { "" };
    let (client, peer) = (server.client_address(), server.peer_address());
    let identity = server.identity();
    let (nodes, shards) = (server.map().nodes.len(), server.map().shards.len());
    let (seconds, strata) = (took.as_secs_f64(), program::name());
    let text = format!(
        "ready in {seconds:.1} s: {} of cluster {} ({}, {})\n\
         \n\
         \x20 write    {strata} kv put greeting hello --addr {client}{flag}\n\
         \x20 look     {strata} cluster status --addr {client}{flag}\n\
         \x20 metrics  {curl}//{client}/metrics\n\
         \x20 gRPC     {client}\n\
         {clients}\
         \x20 stop     Ctrl-C\n",
        identity.node,
        identity.cluster,
        count(nodes, "node"),
        count(shards, "shard"),
    );
    let json = json!({
        "event": "ready",
        "seconds": seconds,
        "node": identity.node.0,
        "cluster": identity.cluster.to_string(),
        "client": client.to_string(),
        "peer": peer.to_string(),
        "nodes": nodes,
        "shards": shards,
        "encrypted": ca.is_some(),
        "client_certificates": asks,
        "pid": std::process::id(),
    });
    Answer::new(text, json)
}

/// Tells what is going on, without saying the same thing over and over.
struct Teller {
    format: Format,
    last: Mutex<Option<(Discriminant<Phase>, Instant)>>,
}

impl Teller {
    fn new(format: Format) -> Arc<Teller> {
        Arc::new(Teller { format, last: Mutex::new(None) })
    }

    /// A closed standard output is no reason to stop a node.
    fn say(&self, answer: &Answer) {
        let _ = self.format.print(answer);
    }

    fn listener(self: Arc<Teller>) -> Listener {
        Arc::new(move |phase| self.phase(&phase))
    }

    fn phase(&self, phase: &Phase) {
        // These two have lines of their own, with more in them.
        if matches!(phase, Phase::Ready | Phase::Stopped) || !self.is_due(phase) {
            return;
        }
        let text = phase.to_string();
        let waiting = matches!(phase, Phase::Waiting { .. });
        let json = json!({ "event": "phase", "phase": text, "waiting": waiting });
        self.say(&Answer::new(format!("  {text}"), json));
    }

    fn is_due(&self, phase: &Phase) -> bool {
        let (kind, now) = (std::mem::discriminant(phase), Instant::now());
        let mut last = self.last.lock();
        if last.is_some_and(|(said, when)| said == kind && now.duration_since(when) < PROGRESS_INTERVAL) {
            return false;
        }
        *last = Some((kind, now));
        true
    }
}
