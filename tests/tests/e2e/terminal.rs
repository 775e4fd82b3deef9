//! The demo's shell as a person has it: in a terminal, which `script` of util-linux plays.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::harness::{LONG, free_base, poll, program, signal};

const PROMPT: &str = "strata> ";

struct Terminal {
    process: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(line: &str, home: &std::path::Path) -> Terminal {
        let mut script = Command::new("script");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STRATA_")) {
            script.env_remove(name);
        }
        script.args(["--quiet", "--flush", "--return", "--command", line, "/dev/null"]);
        script.env("HOME", home).env("TERM", "xterm").env_remove("NO_COLOR");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = script.spawn().expect("the program `script` is installed (package util-linux or bsdutils)");
        let mut stdout = process.stdout.take().expect("it is piped");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error means that one of the two ends is gone.
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { process, output, seen: String::new() }
    }

    /// Everything in one write, as a busy machine delivers what was typed meanwhile.
    fn type_at_once(&mut self, text: &str) {
        self.process.stdin.as_mut().expect("it is piped").write_all(text.as_bytes()).expect("writable");
    }

    /// Waits until this is shown, and forgets everything up to there. Gives what was shown before it.
    fn wait_shown(&mut self, what: &str) -> String {
        poll(&format!("{what:?} on the terminal"), LONG, || {
            for bytes in self.output.try_iter() {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
            let (before, after) = self.seen.split_once(what)?;
            let (before, after) = (before.to_owned(), after.to_owned());
            self.seen = after;
            Some(before)
        })
    }

    fn wait_end(&mut self) -> ExitStatus {
        poll("the end of the shell", LONG, || self.process.try_wait().expect("it can be waited for"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Without its terminal the demo ends, too.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn start(home: &std::path::Path) -> Terminal {
    let line = format!("{} demo --port {}", program().display(), free_base());
    Terminal::start(&line, home)
}

#[test]
fn a_line_that_comes_in_one_piece_is_carried_out() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut terminal = start(home.path());
    terminal.wait_shown(PROMPT);
    terminal.type_at_once("status\r");
    terminal.wait_shown("healthy");
    terminal.wait_shown(PROMPT);
    terminal.type_at_once("quit\r");
    assert!(terminal.wait_end().success());
}

#[test]
fn news_do_not_spoil_what_is_being_typed() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut terminal = start(home.path());
    terminal.wait_shown("kill -9 one of: n1 ");
    let pid = terminal.wait_shown(",").parse().expect("a process id");
    terminal.wait_shown(PROMPT);
    terminal.type_at_once("qu");
    signal("KILL", pid);
    terminal.wait_shown("n1 ended");
    terminal.wait_shown(PROMPT);
    terminal.type_at_once("i");
    // The line is drawn again, with what was typed before the news.
    terminal.wait_shown("qui");
    terminal.type_at_once("t\r");
    assert!(terminal.wait_end().success());
}
