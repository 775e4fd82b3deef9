//! `strata txn` that is given its lines one by one.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::{LONG, Ran, command, poll};

/// A running `strata txn --format json`. Killed when dropped.
pub struct Lines {
    process: Child,
    answers: Receiver<Value>,
}

impl Lines {
    /// Starts it at these nodes.
    pub fn start(addresses: &str) -> Lines {
        let mut command = command(&["txn", "--addr", addresses, "--format", "json"]);
        let mut process = command.stdin(std::process::Stdio::piped()).spawn().expect("the program starts");
        let stdout = process.stdout.take().expect("it is piped");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let values = lines.filter_map(|line| serde_json::from_str(&line).ok());
            // An error means that the test is over.
            values.map(|value: Value| sender.send(value)).all(|sent| sent.is_ok());
        });
        Lines { process, answers }
    }

    /// Gives it a line without waiting for what comes of it.
    pub fn say(&mut self, line: &str) {
        let stdin = self.process.stdin.as_mut().expect("it is piped");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// Gives it a line and waits for the answer.
    pub fn ask(&mut self, line: &str) -> Value {
        self.say(line);
        poll(&format!("the answer to `{line}`"), LONG, || {
            let answer = self.answers.try_iter().next();
            if answer.is_none()
                && let Some(status) = self.process.try_wait().expect("it can be waited for")
            {
                panic!("it ended ({status}) instead of answering `{line}`: {}", self.complaint());
            }
            answer
        })
    }

    /// Waits until it ends by itself, as it does after a line that fails.
    pub fn wait_end(mut self) -> Ran {
        let ended = || self.process.try_wait().expect("it can be waited for");
        let status = poll("the end of the lines", LONG, ended);
        Ran { status: status.code().unwrap_or(-1), stdout: String::new(), stderr: self.complaint() }
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.end();
    }

    fn complaint(&mut self) -> String {
        let mut complaint = String::new();
        let stderr = self.process.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut complaint).expect("text");
        complaint
    }

    fn end(&mut self) {
        // It may be gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}
