//! Files: their size, their words, and the ids that documents promise.

use crate::assert_none;
use crate::sources::{self, SourceFile};

/// No file is longer. Aim at 250; think at 500.
const LINES_MAX: usize = 1_000;

/// The table of invariants. Each row begins with the id.
const INVARIANTS: &str = "docs/invariants.md";

#[test]
fn files_are_short() {
    let rust = sources::all().into_iter().filter(SourceFile::is_rust);
    let long = rust.filter(|file| file.text.lines().count() > LINES_MAX);
    let findings: Vec<String> = long.map(|file| format!("{}: {}", file.path, file.text.lines().count())).collect();
    assert_none(&findings, &format!("files have at most {LINES_MAX} lines"));
}

#[test]
fn banned_words_do_not_occur() {
    // Put together here, so that this file does not hold them.
    let banned = [
        (["FIX", "ME"].concat(), "finish it, or describe it in ROADMAP.md"),
        (["XX", "X:"].concat(), "finish it, or describe it in ROADMAP.md"),
        (["/ho", "me/"].concat(), "no absolute path of somebody's machine"),
        (["/Us", "ers/"].concat(), "no absolute path of somebody's machine"),
        (["/ro", "ot/"].concat(), "no absolute path of somebody's machine"),
    ];
    let mut findings = Vec::new();
    for file in sources::all() {
        for (number, line) in file.text.lines().enumerate() {
            for (word, advice) in banned.iter().filter(|(word, _)| line.contains(word.as_str())) {
                findings.push(format!("{}:{}: {word}: {advice}", file.path, number + 1));
            }
        }
    }
    assert_none(&findings, "banned words");
}

/// Whether an attribute on this line skips a test, always or under a condition.
fn skips(line: &str) -> bool {
    let word = ["ign", "ore"].concat();
    let is_in = |start: &str, end: &str| line.contains(&format!("{start}{word}{end}"));
    is_in("#[", "") || (line.contains("cfg_attr(") && [")", " ", ","].iter().any(|end| is_in(", ", end)))
}

/// Whether a file has tests on whose time a sleep would be real.
fn runs_in_real_time(text: &str) -> bool {
    let attribute = ["#[tokio::te", "st"].concat();
    text.lines().any(|line| line.trim_start().starts_with(&attribute) && !line.contains("start_paused = true"))
}

#[test]
fn tests_are_neither_ignored_nor_asleep() {
    let asleep = ["thread::sl", "eep("].concat();
    // Until a moment as well.
    let waiting = ["time::sl", "eep"].concat();
    let mut findings = Vec::new();
    for file in sources::all().iter().filter(|file| file.is_rust()) {
        let is_real = file.is_test() && runs_in_real_time(&file.text);
        for (number, line) in file.text.lines().enumerate() {
            let sleeps = (file.is_test() && line.contains(&asleep)) || (is_real && line.contains(&waiting));
            if skips(line) || sleeps {
                findings.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert_none(&findings, "no test is skipped, and none waits by the clock");
}

#[test]
fn what_skips_or_sleeps_is_recognised() {
    let word = ["ign", "ore"].concat();
    for skipped in [
        format!("#[{word}]"),
        format!("    #[{word} = \"slow\"]"),
        format!("#[cfg_attr(not(unix), {word})]"),
        format!("#[cfg_attr(unix, {word} = \"slow\")]"),
    ] {
        assert!(skips(&skipped), "{skipped}");
    }
    for other in [format!("#[cfg_attr(unix, allow(clippy::{word}d_unit_patterns))]"), format!("// {word} it")] {
        assert!(!skips(&other), "{other}");
    }
    let test = |arguments: &str| format!("    {}st{arguments}]\n    async fn a() {{}}\n", "#[tokio::te");
    assert!(runs_in_real_time(&test("")) && runs_in_real_time(&test("(flavor = \"multi_thread\")")));
    assert!(!runs_in_real_time(&test("(start_paused = true)")) && !runs_in_real_time("#[test]\nfn a() {}\n"));
}

/// Ids in the first column of the table: `| RAFT-3 | ...`.
fn invariant_ids(table: &str) -> Vec<String> {
    let cells = table.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.map(|cell| cell.trim().trim_matches('`')).filter(|cell| is_invariant_id(cell)).map(String::from).collect()
}

fn is_invariant_id(word: &str) -> bool {
    word.rsplit_once('-').is_some_and(|(area, number)| {
        area.len() >= 2
            && area.starts_with(|c: char| c.is_ascii_uppercase())
            && area.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
            && !number.is_empty()
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

/// Whether `text` has the id as a word of its own: `RAFT-1` is not in `RAFT-12`.
fn mentions(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(at, _)| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let before = text[..at].chars().next_back();
        let after = text[at + id.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(|c| c.is_ascii_digit())
    })
}

#[test]
fn invariants_occur_in_code_and_in_tests() {
    let files = sources::all();
    let Some(table) = files.iter().find(|file| file.path == INVARIANTS) else {
        panic!("{INVARIANTS} is missing");
    };
    let ids = invariant_ids(&table.text);
    assert!(!ids.is_empty(), "{INVARIANTS} lists no invariants");
    let mut findings = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        if ids[..at].contains(id) {
            findings.push(format!("{id} is listed twice"));
        }
        let mut in_code = false;
        let mut in_tests = false;
        for file in files.iter().filter(|file| file.is_rust() && mentions(&file.text, id)) {
            let (code, tests) = file.text.split_once("#[cfg(test)]").unwrap_or((&file.text, ""));
            let is_test = file.is_test() || file.path.contains("/conformance") || file.path.starts_with("crates/sim/");
            in_code |= !is_test && mentions(code, id);
            in_tests |= is_test || mentions(tests, id);
        }
        if !in_code {
            findings.push(format!("{id} is not in the code that keeps it"));
        }
        if !in_tests {
            findings.push(format!("{id} is not in a test"));
        }
    }
    assert_none(&findings, "invariants are written where they are kept and where they are tested");
}

#[test]
fn ids_are_recognised() {
    let table = "# Title\n| id | statement |\n|---|---|\n| RAFT-3 | x |\n| `STORE-12` | y |\n| not an id | z |\n| TIER2-1 | |\n";
    assert_eq!(invariant_ids(table), ["RAFT-3", "STORE-12", "TIER2-1"]);
    assert!(mentions("see RAFT-1.", "RAFT-1") && mentions("RAFT-1", "RAFT-1"));
    assert!(!mentions("RAFT-12", "RAFT-1") && !mentions("XRAFT-1", "RAFT-1"));
}
