//! A long-running process of the program that tells what it does in JSON lines.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::wait::INTERVAL;
use super::{Ran, command, leashed, poll, signal};

/// How long a process that is dropped may take to end after each signal.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// `strata start` or `strata demo`, with `--format json`. Ended when dropped: the first is killed, the other is told to
/// stop, because it has children to stop and a directory to remove.
pub struct Node {
    process: Child,
    lines: Receiver<Value>,
    told: Vec<Value>,
    has_children: bool,
}

impl Node {
    /// Starts it.
    pub fn start(arguments: &[&str]) -> Node {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        let mut node = Node::spawn(command(&all));
        node.has_children = arguments.first() == Some(&"demo");
        node
    }

    /// Starts what another line says, such as the one that a demo prints.
    pub fn start_line(line: &str) -> Node {
        let mut shell = leashed("sh", "KILL");
        shell.arg("-c").arg(format!("exec {line} --format json"));
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Node::spawn(shell)
    }

    /// Starts a command that tells the same.
    pub fn spawn(mut command: Command) -> Node {
        let mut process = command.spawn().expect("the program starts");
        let stdout = process.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let values = lines.filter_map(|line| serde_json::from_str(&line).ok());
            // An error means that the test is over.
            values.map(|value: Value| sender.send(value)).all(|sent| sent.is_ok());
        });
        Node { process, lines, told: Vec::new(), has_children: false }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The first thing it tells, or has told, for which the condition holds.
    pub fn wait_told(&mut self, what: &str, deadline: Duration, is_it: impl Fn(&Value) -> bool) -> Value {
        poll(what, deadline, || {
            self.told.extend(self.lines.try_iter());
            if let Some(found) = self.told.iter().find(|told| is_it(told)) {
                return Some(found.clone());
            }
            if let Some(status) = self.process.try_wait().expect("it can be waited for") {
                let mut complaint = String::new();
                let stderr = self.process.stderr.as_mut().expect("it is piped");
                stderr.read_to_string(&mut complaint).expect("text");
                panic!("it ended ({status}) instead of {what}; it told {:?} and complained: {complaint}", self.told);
            }
            None
        })
    }

    /// Until it tells an event of this name.
    pub fn wait_event(&mut self, event: &str, deadline: Duration) -> Value {
        self.wait_told(event, deadline, |told| told["event"] == event)
    }

    /// Asks it to stop, and waits until it has. Gives how it ended and everything it told.
    pub fn stop(mut self, deadline: Duration) -> (Ran, Vec<Value>) {
        signal("TERM", self.pid());
        let ran = self.wait_end(deadline);
        self.told.extend(self.lines.iter());
        (ran, std::mem::take(&mut self.told))
    }

    /// Waits until it ends by itself.
    pub fn wait_end(&mut self, deadline: Duration) -> Ran {
        let status =
            poll("the end of the process", deadline, || self.process.try_wait().expect("it can be waited for"));
        let mut stderr = String::new();
        self.process.stderr.as_mut().expect("it is piped").read_to_string(&mut stderr).expect("text");
        Ran { status: status.code().unwrap_or(-1), stdout: String::new(), stderr }
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        // It may be gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The second one means: at once.
        for _ in 0..2 {
            if self.has_children && matches!(self.process.try_wait(), Ok(None)) {
                signal("TERM", self.pid());
                let begin = Instant::now();
                while matches!(self.process.try_wait(), Ok(None)) && begin.elapsed() < DROP_PATIENCE {
                    std::thread::park_timeout(INTERVAL);
                }
            }
        }
        self.kill();
    }
}
