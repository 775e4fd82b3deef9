//! Reads lines: with history and hints from a terminal, plainly from anything else.

use std::borrow::Cow;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use tokio::sync::mpsc;

use crate::output::{print_line, print_text};

const PROMPT: &str = "strata> ";

/// Goes to the beginning of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Commands and what belongs after them.
const USAGE: &[(&str, &str)] = &[
    ("get", " KEY"),
    ("put", " KEY VALUE"),
    ("del", " KEY"),
    ("cas", " KEY VALUE --if-value OLD"),
    ("scan", " --prefix KEY --limit N"),
    ("begin", ""),
    ("getforupdate", " KEY"),
    ("savepoint", ""),
    ("rollback", " to SAVEPOINT"),
    ("commit", ""),
    ("outcome", " HANDLE"),
    ("status", ""),
    ("nodes", ""),
    ("shards", ""),
    ("jobs", ""),
    ("drain", " NODE"),
    ("undrain", " NODE"),
    ("remove", " NODE"),
    ("replace", " NODE"),
    ("move", " SHARD --to NODE"),
    ("transfer", " SHARD --to NODE"),
    ("balance", " --dry-run"),
    ("upgrade", " --dry-run"),
    ("transactions", ""),
    ("help", ""),
    ("quit", ""),
];

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line.
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Nothing more will come.
    End,
}

/// Lines from standard input, read on a thread of their own and only when asked for.
pub struct Lines {
    wanted: Sender<()>,
    lines: mpsc::Receiver<Line>,
    is_waiting: bool,
    /// Whether a person types.
    pub is_terminal: bool,
}

impl Lines {
    /// Takes standard input over.
    pub fn open() -> Lines {
        let (wanted, asked) = channel();
        let (sender, lines) = mpsc::channel(1);
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let editor = if is_terminal { editor() } else { None };
        match editor {
            Some(editor) => std::thread::spawn(move || edit(editor, &asked, &sender)),
            None => std::thread::spawn(move || read(&asked, &sender)),
        };
        Lines { wanted, lines, is_waiting: false, is_terminal }
    }

    /// The next line. Safe to drop and call again: the line is not lost.
    pub async fn next(&mut self) -> Line {
        if !self.is_waiting {
            self.is_waiting = self.wanted.send(()).is_ok();
        }
        let line = self.lines.recv().await.unwrap_or(Line::End);
        self.is_waiting = false;
        line
    }

    /// Prints a line where the prompt is, and the prompt again below it. What is typed there shows again with the next
    /// key. (The editor's own printer for this waits for keys without looking at those it has read already: of a
    /// line that comes in one piece, it took the first letter and left the rest until another key was pressed.)
    pub fn print(&mut self, text: &str) {
        let line = if self.is_terminal { format!("{CLEAR_LINE}{text}") } else { text.to_owned() };
        // Nobody reads: the demo goes on all the same.
        let _ = print_line(line.as_bytes());
        if self.is_terminal && self.is_waiting {
            let _ = print_text(PROMPT.as_bytes());
        }
    }
}

impl Drop for Lines {
    /// Somebody may still be at the prompt, and the terminal in the editor's hands: give it back as it should be.
    fn drop(&mut self) {
        if self.is_terminal && self.is_waiting {
            // Without stty the terminal needs a `reset` by hand.
            drop(Command::new("stty").arg("sane").status());
        }
    }
}

fn editor() -> Option<Editor<Assistant, FileHistory>> {
    let mut editor = Editor::new().ok()?;
    editor.set_helper(Some(Assistant));
    if let Some(path) = history_path() {
        // The first time there is none.
        let _ = editor.load_history(&path);
    }
    Some(editor)
}

fn history_path() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".strata_history"))
}

fn edit(mut editor: Editor<Assistant, FileHistory>, asked: &Receiver<()>, sender: &mpsc::Sender<Line>) {
    while asked.recv().is_ok() {
        let line = match editor.readline(PROMPT) {
            Ok(line) => {
                let _ = editor.add_history_entry(line.as_str());
                Line::Text(line)
            }
            Err(ReadlineError::Interrupted) => Line::Interrupted,
            Err(_) => Line::End,
        };
        if let (true, Some(path)) = (line != Line::Interrupted, history_path()) {
            let _ = editor.save_history(&path);
        }
        if sender.blocking_send(line).is_err() {
            return;
        }
    }
}

fn read(asked: &Receiver<()>, sender: &mpsc::Sender<Line>) {
    let mut lines = std::io::stdin().lock().lines();
    while asked.recv().is_ok() {
        let line = match lines.next() {
            Some(Ok(line)) => Line::Text(line),
            Some(Err(_)) | None => Line::End,
        };
        if sender.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Completes commands and shows what belongs after them.
struct Assistant;

impl Helper for Assistant {}
impl Validator for Assistant {}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..position];
        let fitting = USAGE.iter().filter(|(command, _)| command.starts_with(typed));
        Ok((0, fitting.map(|(command, _)| format!("{command} ")).collect()))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        hint_after(line).filter(|_| position == line.len())
    }
}

impl Highlighter for Assistant {
    /// The whole line is drawn with each key, because something else may have been printed where it was.
    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

/// What could follow the typed text: the rest of a command, or what the command wants.
fn hint_after(line: &str) -> Option<String> {
    if line.is_empty() {
        return None;
    }
    USAGE.iter().find_map(|(command, usage)| {
        if let Some(rest) = command.strip_prefix(line) {
            return Some(format!("{rest}{usage}"));
        }
        let typed = line.strip_prefix(command)?;
        (typed == " ").then(|| usage.trim_start().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_follow_the_typed_text() {
        assert_eq!(hint_after("pu"), Some("t KEY VALUE".to_owned()));
        assert_eq!(hint_after("put"), Some(" KEY VALUE".to_owned()));
        assert_eq!(hint_after("put "), Some("KEY VALUE".to_owned()));
        assert_eq!(hint_after("put k"), None);
        assert_eq!(hint_after(""), None);
        assert_eq!(hint_after("xyz"), None);
    }
}
