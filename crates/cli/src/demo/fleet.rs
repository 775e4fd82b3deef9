//! The child processes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};

use crate::demo::Layout;

/// Lines of children that wait to be printed.
const EVENTS_MAX: usize = 1_000;

/// What happened to a child.
#[derive(Debug)]
pub enum Event {
    /// It said something about itself on standard output.
    Told(u32, Value),
    /// It complained on standard error.
    Complained(u32, String),
    /// It is gone, and everything it said was told before.
    Ended(u32, ExitStatus),
}

/// How a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// On its way up.
    Starting,
    /// It serves.
    Ready,
    /// Gone.
    Ended,
}

/// One child.
struct Member {
    state: NodeState,
    pid: Option<u32>,
    /// Closing it asks the child to stop.
    stdin: Option<ChildStdin>,
    /// Using it kills the child.
    kill: Option<oneshot::Sender<()>>,
}

/// All children. They are killed when this is dropped.
pub struct Fleet {
    members: Vec<Member>,
    events: mpsc::Receiver<Event>,
}

impl Fleet {
    /// Starts all nodes of a layout.
    pub fn start(layout: &Layout) -> std::io::Result<Fleet> {
        let program = std::env::current_exe()?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let members = layout.numbers().map(|node| start(&program, layout, node, sender.clone()));
        Ok(Fleet { members: members.collect::<std::io::Result<_>>()?, events })
    }

    /// What happens next. Never ends before every child has.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        match &event {
            Event::Told(node, told) if told["event"] == "ready" => self.member(*node).state = NodeState::Ready,
            Event::Told(..) | Event::Complained(..) => {}
            Event::Ended(node, _) => {
                let member = self.member(*node);
                *member = Member { state: NodeState::Ended, pid: None, stdin: None, kill: None };
            }
        }
        Some(event)
    }

    /// Whether every child is in this state.
    pub fn are_all(&self, state: NodeState) -> bool {
        self.members.iter().all(|member| member.state == state)
    }

    /// Process id of a node that runs.
    pub fn pid(&self, node: u32) -> Option<u32> {
        self.members[node as usize - 1].pid
    }

    /// Asks every child to stop.
    pub fn stop(&mut self) {
        self.members.iter_mut().for_each(|member| member.stdin = None);
    }

    /// Ends every child at once.
    pub fn kill(&mut self) {
        for kill in self.members.iter_mut().filter_map(|member| member.kill.take()) {
            // It may have ended just now.
            let _ = kill.send(());
        }
    }

    fn member(&mut self, node: u32) -> &mut Member {
        &mut self.members[node as usize - 1]
    }
}

fn start(program: &PathBuf, layout: &Layout, node: u32, events: mpsc::Sender<Event>) -> std::io::Result<Member> {
    let mut command = Command::new(program);
    command.args(layout.arguments(node)).args(["--stop-with-stdin", "--format", "json"]);
    // The environment of the demo is about the demo: the nodes have their settings file.
    let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"STRATA_") && name != "STRATA_LOG";
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
        command.env_remove(name);
    }
    if std::env::var_os("STRATA_LOG").is_none() {
        // A killed node makes the others warn all the time, and the shell is for people.
        command.env("STRATA_LOG", "error");
    }
    // A group of its own: Ctrl-C is for the demo, which then stops the nodes in good order.
    #[cfg(unix)]
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (pid, stdin) = (child.id(), child.stdin.take());
    let (kill, killed) = oneshot::channel();
    tokio::spawn(watch(node, child, killed, events));
    Ok(Member { state: NodeState::Starting, pid, stdin, kill: Some(kill) })
}

async fn watch(node: u32, mut child: Child, killed: oneshot::Receiver<()>, events: mpsc::Sender<Event>) {
    let told = child.stdout.take().map(|stdout| {
        each_line(stdout, events.clone(), move |line| match serde_json::from_str(&line) {
            Ok(value) => Event::Told(node, value),
            Err(_) => Event::Complained(node, line),
        })
    });
    let complained =
        child.stderr.take().map(|stderr| each_line(stderr, events.clone(), move |line| Event::Complained(node, line)));
    let ended = async {
        tokio::select! {
            status = child.wait() => return status,
            // An error means that the fleet is gone: then the child goes as well.
            _ = killed => {}
        }
        child.start_kill()?;
        child.wait().await
    };
    let (status, (), ()) = tokio::join!(ended, or_nothing(told), or_nothing(complained));
    let status = status.unwrap_or_default();
    // Without a receiver the demo is over.
    let _ = events.send(Event::Ended(node, status)).await;
}

async fn or_nothing(future: Option<impl Future<Output = ()>>) {
    if let Some(future) = future {
        future.await;
    }
}

async fn each_line(stream: impl AsyncRead + Unpin, events: mpsc::Sender<Event>, event_of: impl Fn(String) -> Event) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if events.send(event_of(line)).await.is_err() {
            return;
        }
    }
}
