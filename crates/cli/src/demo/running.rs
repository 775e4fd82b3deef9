//! The demo while it runs: one loop over everything that can happen.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::commands::txn::Transactor;
use crate::commands::{cluster, kv};
use crate::demo::{Directory, Event, Fleet, Layout, NodeState, banner, restart_line};
use crate::failure::{Failure, STATUS_INTERRUPTED};
use crate::output::{Answer, Format, print_error_line, print_line};
use crate::session::Session;
use crate::shell::{Line, Lines, Parsed, ShellCommand, parse};
use crate::signals::Signals;

/// Nodes that start together wait for each other: only who waits longer is worth a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can happen, in one place.
enum Input {
    Signal,
    Fleet(Event),
    Line(Line),
}

/// Whether the demo goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Quit,
}

/// A demo whose nodes were started.
pub struct Running {
    layout: Layout,
    fleet: Fleet,
    session: Session,
    /// The transaction of the shell.
    transaction: Transactor,
    is_temporary: bool,
    has_shell: bool,
    format: Format,
    begin: Instant,
    /// All nodes have been ready once.
    is_open: bool,
    /// The shell, once the demo is open.
    lines: Option<Lines>,
    /// A line of a script failed.
    script_failed: bool,
    /// What nodes said on standard error before the demo was open.
    complaints: Vec<(u32, String)>,
}

impl Running {
    /// Of nodes that were started just now.
    pub fn new(
        layout: Layout,
        fleet: Fleet,
        session: Session,
        directory: &Directory,
        has_shell: bool,
        format: Format,
    ) -> Running {
        Running {
            session,
            transaction: Transactor::default(),
            layout,
            fleet,
            is_temporary: directory.is_temporary(),
            has_shell,
            format,
            begin: Instant::now(),
            is_open: false,
            lines: None,
            script_failed: false,
            complaints: Vec::new(),
        }
    }

    /// Goes on until somebody wants it to end, or it cannot.
    pub async fn run(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        loop {
            let next = match self.next(signals).await {
                Input::Signal | Input::Line(Line::Interrupted) => Next::Quit,
                Input::Line(Line::End) => Next::Quit,
                Input::Line(Line::Text(line)) => tokio::select! {
                    next = self.carry_out(&line) => next,
                    () = signals.next() => Next::Quit,
                },
                Input::Fleet(event) => {
                    self.handle(event)?;
                    Next::GoOn
                }
            };
            match next {
                Next::GoOn => {}
                Next::Quit if self.script_failed => {
                    return Err(Failure::new("not every line succeeded"));
                }
                Next::Quit => return Ok(()),
            }
        }
    }

    async fn next(&mut self, signals: &mut Signals) -> Input {
        let line = async {
            match &mut self.lines {
                Some(lines) => lines.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signals.next() => Input::Signal,
            // The fleet holds no sender, but each child's task does until it has told its end.
            Some(event) = self.fleet.next() => Input::Fleet(event),
            line = line => Input::Line(line),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Told(node, told) => {
                self.tell(node, &told);
                if !self.is_open && self.fleet.are_all(NodeState::Ready) {
                    self.open();
                }
            }
            Event::Complained(node, line) if self.is_open => {
                let json = json!({ "event": "complaint", "node": node, "line": line });
                self.say(&format!("n{node} | {line}"), json);
            }
            Event::Complained(node, line) => self.complaints.push((node, line)),
            Event::Ended(node, _) if !self.is_open => return Err(did_not_start(node, &self.complaints)),
            Event::Ended(node, status) => {
                self.lament(node, status);
                if self.fleet.are_all(NodeState::Ended) {
                    return Err(Failure::new("all nodes are gone"));
                }
            }
        }
        Ok(())
    }

    /// What a node tells about itself, shortly.
    fn tell(&mut self, node: u32, told: &Value) {
        if !is_news(told, self.begin.elapsed()) {
            return;
        }
        let text = match told["event"].as_str() {
            Some("phase") => told["phase"].as_str().map(str::to_owned),
            Some("ready") => {
                let seconds = told["seconds"].as_f64().unwrap_or_default();
                let client = told["client"].as_str().unwrap_or_default();
                Some(format!("ready in {seconds:.1} s at {client}"))
            }
            _ => None,
        };
        if let Some(text) = text {
            self.say(&format!("n{node}  {text}"), json!({ "event": "node", "node": node, "told": told }));
        }
    }

    /// Everything is ready.
    fn open(&mut self) {
        self.is_open = true;
        for (node, line) in std::mem::take(&mut self.complaints) {
            print_error_line(&format!("n{node} | {line}"));
        }
        let nodes: Vec<Value> = self.layout.numbers().map(|node| self.node_json(node)).collect();
        let json =
            json!({ "event": "ready", "nodes": nodes, "directory": self.layout.directory.display().to_string() });
        self.say(&banner(&self.layout, &self.fleet, self.is_temporary), json);
        if self.has_shell {
            let lines = Lines::open();
            if lines.is_terminal {
                self.say("Type help for the commands, Ctrl-D or quit to end.", Value::Null);
            }
            self.lines = Some(lines);
        }
    }

    fn node_json(&self, node: u32) -> Value {
        json!({
            "node": node,
            "pid": self.fleet.pid(node),
            "client": self.layout.client_address(node),
            "data": self.layout.data(node).display().to_string(),
            "restart": restart_line(&self.layout, node),
        })
    }

    fn lament(&mut self, node: u32, status: ExitStatus) {
        let line = restart_line(&self.layout, node);
        let others = if self.fleet.are_all(NodeState::Ended) { "" } else { "; the others go on" };
        let text = format!("n{node} ended ({status}){others}. This line starts it again:\n  {line}");
        let json = json!({ "event": "ended", "node": node, "status": status.to_string(), "restart": line });
        self.say(&text, json);
    }

    async fn carry_out(&mut self, line: &str) -> Next {
        let answer = match parse(line) {
            Ok(Parsed::Nothing) => return Next::GoOn,
            Ok(Parsed::Command(ShellCommand::Quit, _)) => return Next::Quit,
            Ok(Parsed::Help(help)) => Ok(Answer::new(help.clone(), json!({ "help": help }))),
            Ok(Parsed::Command(ShellCommand::Kv(command), encoding)) if self.transaction.is_open() => {
                self.transaction.key(&command, encoding).await
            }
            Ok(Parsed::Command(ShellCommand::Kv(command), encoding)) => {
                kv::ask(&self.session, &command, encoding).await
            }
            Ok(Parsed::Command(ShellCommand::Txn(command), encoding)) => {
                self.transaction.step(&self.session, &command, encoding).await
            }
            Ok(Parsed::Command(ShellCommand::Cluster(command), _)) => {
                cluster::ask(&self.session, &command, self.format).await
            }
            Err(failure) => Err(failure),
        };
        // Nobody reading our output shows at the next line, too.
        match answer.and_then(|answer| self.format.print(&answer)) {
            Ok(()) => {}
            Err(failure) => {
                // A person sees the error and goes on; a script goes on, but does not succeed.
                self.script_failed |= self.lines.as_ref().is_some_and(|lines| !lines.is_terminal);
                self.format.complain(&failure);
            }
        }
        Next::GoOn
    }

    /// Stops what still runs: in good order, or at once when asked again.
    pub async fn stop(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        // The shell's prompt is over: print plainly from here on.
        self.lines = None;
        let begin = Instant::now();
        if !self.fleet.are_all(NodeState::Ended) {
            let text = "stopping all nodes (Ctrl-C again to stop at once)";
            self.say(text, json!({ "event": "stopping" }));
        }
        self.fleet.stop();
        let mut is_cut = false;
        while !self.fleet.are_all(NodeState::Ended) {
            tokio::select! {
                () = signals.next() => {
                    is_cut = true;
                    self.fleet.kill();
                }
                Some(event) = self.fleet.next() => match event {
                    Event::Told(node, told) if told["event"] == "phase" => self.tell(node, &told),
                    Event::Ended(node, _) => {
                        self.say(&format!("n{node}  stopped"), json!({ "event": "stopped", "node": node }));
                    }
                    Event::Told(..) | Event::Complained(..) => {}
                },
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        self.say(&format!("stopped in {seconds:.1} s"), json!({ "event": "stopped", "seconds": seconds }));
        if is_cut { Err(Failure::new("stopped at once").status(STATUS_INTERRUPTED)) } else { Ok(()) }
    }

    /// Says something between what is typed. A script has no use for what has no JSON.
    pub fn say(&mut self, text: &str, json: Value) {
        let line = match self.format {
            Format::Text => text.to_owned(),
            Format::Json if json.is_null() => return,
            Format::Json => json.to_string(),
        };
        match &mut self.lines {
            Some(lines) => lines.print(&line),
            // Nobody reads: the nodes go on all the same.
            None => drop(print_line(line.as_bytes())),
        }
    }
}

/// Whether anybody wants to know so soon what a node tells.
fn is_news(told: &Value, since_begin: Duration) -> bool {
    told["waiting"] != true || since_begin >= PATIENCE
}

/// In the words of the node, if it had any.
fn did_not_start(node: u32, complaints: &[(u32, String)]) -> Failure {
    let own = complaints.iter().rev().filter(|(of, _)| *of == node).map(|(_, line)| line);
    let told = own.clone().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let failure = match (told.as_ref().and_then(|told| told["error"].as_str()), own.clone().next()) {
        (Some(error), _) => Failure::new(format!("n{node} did not start: {error}")),
        (None, Some(line)) => Failure::new(format!("n{node} did not start: {line}")),
        (None, None) => Failure::new(format!("n{node} did not start")),
    };
    match told.as_ref().and_then(|told| told["hint"].as_str()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_node_waits_for_the_others_is_no_news_at_first() {
        let phase = |waiting: bool| json!({ "event": "phase", "phase": "no answer yet", "waiting": waiting });
        assert!(!is_news(&phase(true), Duration::from_secs(1)));
        assert!(is_news(&phase(true), PATIENCE), "something is wrong");
        assert!(is_news(&phase(false), Duration::ZERO) && is_news(&json!({ "event": "ready" }), Duration::ZERO));
    }

    #[test]
    fn a_node_that_does_not_start_speaks_for_itself() {
        let complaints = vec![
            (1, "a log line".to_owned()),
            (2, json!({ "error": "the disk is full", "hint": "make room" }).to_string()),
            (1, "another".to_owned()),
        ];
        let failure = did_not_start(2, &complaints);
        assert_eq!(failure.message, "n2 did not start: the disk is full");
        assert_eq!(failure.hint.as_deref(), Some("make room"));
        assert_eq!(did_not_start(1, &complaints).message, "n1 did not start: another");
        assert_eq!(did_not_start(3, &complaints).message, "n3 did not start");
    }
}
