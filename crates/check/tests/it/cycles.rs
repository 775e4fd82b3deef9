//! Each anomaly of transactions once, by its exact name, and the harmless history that looks most like it.

use strata_check::{check_serializable, check_strictly_serializable};

use crate::script::history;

#[track_caller]
fn assert_clean(text: &str) {
    let verdict = check_strictly_serializable(&history(text));
    assert!(verdict.is_clean(), "{verdict}");
}

/// Exactly this anomaly, strictly and not.
#[track_caller]
fn assert_found(name: &str, line: &str, text: &str) {
    for verdict in [check_strictly_serializable(&history(text)), check_serializable(&history(text))] {
        assert_eq!(verdict.names(), [name], "{verdict}");
        assert_eq!(verdict.anomalies[0].to_string(), line);
    }
}

/// Exactly this anomaly, and none where real time does not count.
#[track_caller]
fn assert_found_in_time(name: &str, line: &str, text: &str) {
    let verdict = check_strictly_serializable(&history(text));
    assert_eq!(verdict.names(), [name], "{verdict}");
    assert_eq!(verdict.anomalies[0].to_string(), line);
    let verdict = check_serializable(&history(text));
    assert!(verdict.is_clean(), "serializable: {verdict}");
}

#[test]
fn g0_writes_interleave() {
    let text = |y| format!("c1 1-9 x+1 y+1\n c2 1-9 x+2 y+2\n c3 10-11 x=[1 2] y={y}");
    assert_clean(&text("[1 2]"));
    assert_found("G0", "G0: dirty write: t0 -ww key 120-> t1 -ww key 121-> t0", &text("[2 1]"));
}

#[test]
fn g1a_an_aborted_write_is_seen() {
    assert_clean("c1 1-abort x+1\n c2 1-9 x=[]");
    let line = "G1a: t1 read 1 of key 120, which t0 wrote and aborted";
    assert_found("G1a", line, "c1 1-abort x+1\n c2 1-9 x=[1]");
    assert_found("G1a", line, "c1 1-abort x:=1\n c2 1-9 x=1");
    let among_others = "c1 1-abort x+1\n c2 1-9 x=[2 1 3]\n c3 1-9 x+2\n c4 1-9 x+3";
    assert_found("G1a", line, among_others);
}

#[test]
fn g1b_an_intermediate_write_is_seen() {
    assert_clean("c1 1-9 x+1 x+2\n c2 1-9 x=[1 2]\n c3 1-9 x=[]");
    assert_clean("c1 1-9 x+1 x=[1] x+2 x=[1 2]\n c2 1-9 x=[1 2]");
    let line = "G1b: t1 read 1 of key 120, which t0 itself wrote over";
    assert_found("G1b", line, "c1 1-9 x+1 x+2\n c2 1-9 x=[1]\n c3 1-9 x=[1 2]");
    assert_found("G1b", line, "c1 1-9 x+1 x+2\n c2 1-9 x=[1]");
    assert_found("G1b", line, "c1 1-9 x:=1 x:=2\n c2 1-9 x=1");
}

#[test]
fn g1c_information_flows_in_a_circle() {
    let line = "G1c: information flows in a circle: t0 -wr key 120-> t1 -wr key 121-> t0";
    assert_clean("c1 1-9 x+1 y=[]\n c2 1-9 y+2 x=[1]");
    assert_found("G1c", line, "c1 1-9 x+1 y=[2]\n c2 1-9 y+2 x=[1]");
    assert_found("G1c", line, "c1 1-9 x:=1 y=2\n c2 1-9 y:=2 x=1");
}

#[test]
fn g_single_read_skew() {
    let line = "G-single: read skew: t0 -wr key 120-> t1 -rw key 121-> t0";
    assert_clean("c1 1-9 x+1 y+1\n c2 1-9 x=[1] y=[1]");
    assert_clean("c1 1-9 x:=1 y:=1\n c2 1-9 x=nil y=nil");
    assert_found("G-single", line, "c1 1-9 x+1 y+1\n c2 1-9 x=[1] y=[]\n c3 1-9 y=[1]");
    assert_found("G-single", line, "c1 1-9 x+1 y+1\n c2 1-9 x=[1] y=[]");
    assert_found("G-single", line, "c1 1-9 x:=1 y:=1\n c2 1-9 x=1 y=nil");
    let line = "G-single: read skew: t1 -wr key 120-> t2 -rw key 121-> t1";
    let replaced = "c1 1-9 y:=7\n c2 1-9 x:=1 y=7 y:=1\n c3 1-9 x=1 y=7";
    assert_found("G-single", line, replaced);
}

#[test]
fn g2_write_skew() {
    let line = "G2: write skew: t0 -rw key 120-> t1 -rw key 121-> t0";
    assert_clean("c1 1-9 x=[] y+1\n c2 1-9 y=[1] x+1");
    assert_found("G2", line, "c1 1-9 x=[] y+1\n c2 1-9 y=[] x+1");
    assert_found("G2", line, "c1 1-9 x=[] y+1\n c2 1-9 y=[] x+1\n c3 1-9 x=[1] y=[1]");
    assert_found("G2", line, "c1 1-9 x=nil y:=1\n c2 1-9 y=nil x:=1");
}

#[test]
fn g2_long_fork() {
    let line = "G2: write skew: t0 -wr key 120-> t2 -rw key 121-> t1 -wr key 121-> t3 -rw key 120-> t0";
    assert_found("G2", line, "c1 1-9 x+1\n c2 1-9 y+1\n c3 1-9 x=[1] y=[]\n c4 1-9 x=[] y=[1]");
}

#[test]
fn lost_update() {
    let line = "lost-update: t0 and t1 both read 0 values of key 120 and both replaced it";
    assert_clean("c1 1-9 x=[] x+1\n c2 1-9 x=[1] x+2\n c3 1-9 x=[1 2]");
    assert_found("lost-update", line, "c1 1-9 x=[] x+1\n c2 1-9 x=[] x+2\n c3 1-9 x=[1 2]");
    assert_found("lost-update", line, "c1 1-9 x=[] x+1\n c2 1-9 x=[] x+2");
    let line = "lost-update: t1 and t2 both read 7 of key 120 and both replaced it";
    assert_clean("c1 1-9 x:=7\n c2 1-9 x=7 x:=1\n c3 1-9 x=1 x:=2");
    assert_found("lost-update", line, "c1 1-9 x:=7\n c2 1-9 x=7 x:=1\n c3 1-9 x=7 x:=2");
    let line = "lost-update: t0 and t1 both read nothing of key 120 and both replaced it";
    assert_found("lost-update", line, "c1 1-9 x=nil x:=1\n c2 1-9 x=nil x:=2");
}

#[test]
fn internal_contradictions() {
    for (what, text) in [
        ("missed its own writes in a read", "c1 1-9 x+1 x=[]"),
        ("missed its own writes in a read", "c1 1-9 x+1 x=[1 2]\n c2 1-9 x+2"),
        ("saw its own writes too early in a read", "c1 1-9 x=[1] x+1"),
        ("saw its own writes too early in a read", "c1 1-9 x=1 x:=1"),
        ("has its own writes missing or out of order in reads", "c1 1-9 x+1 x+2\n c2 1-9 x=[2 1]"),
        ("has its own writes missing or out of order in reads", "c1 1-9 x+1 x+2\n c2 1-9 x=[2]"),
        ("got different answers to two reads", "c1 1-9 x=[] x=[1]\n c2 1-9 x+1"),
        ("got different answers to two reads", "c1 1-9 x=nil x=1\n c2 1-9 x:=1"),
        ("found something else than it wrote or found before in a read", "c1 1-9 x:=1 x=2\n c2 1-9 x:=2"),
    ] {
        assert_found("internal", &format!("internal: t0 {what} of key 120"), text);
    }
    assert_clean("c1 1-9 x=[] x=[] x+1 x=[1] x+2 x=[1 2]");
    assert_clean("c1 1-9 x=nil x=nil x:=1 x=1 x:=2 x=2");
}

#[test]
fn duplicates_garbage_and_incompatible_orders() {
    assert_found("duplicate", "duplicate: t1 found 1 twice in key 120", "c1 1-9 x+1\n c2 1-9 x=[1 1]");
    let garbage = "garbage-read: t0 read 5 of key 120, which nobody wrote";
    assert_found("garbage-read", garbage, "c1 1-9 x=[5]");
    assert_found("garbage-read", garbage, "c1 1-9 x=5");
    assert_found(
        "incompatible-order",
        "incompatible-order: t3 read key 120 with 2 at position 0, t2 with 1: neither list begins the other",
        "c1 1-9 x+1\n c2 1-9 x+2\n c3 1-9 x=[1 2]\n c4 1-9 x=[2 1]",
    );
    // The first read is the strange one: the others are right.
    assert_found("garbage-read", garbage, "c1 1-9 x=[5]\n c2 1-9 x+1\n c3 1-9 x+2\n c4 1-9 x=[1 2]\n c5 1-9 x=[1]");
}

#[test]
fn stale_reads() {
    let line = "G-single-realtime: stale read: t0 -realtime-> t1 -rw key 120-> t0";
    assert_clean("c1 1-3 x+1\n c2 3-4 x=[]");
    assert_found_in_time("G-single-realtime", line, "c1 1-2 x+1\n c2 3-4 x=[]");
    assert_found_in_time("G-single-realtime", line, "c1 1-2 x+1\n c2 3-4 x=[]\n c3 1-9 x=[1]");
    assert_found_in_time("G-single-realtime", line, "c1 1-2 x:=1\n c2 3-4 x=nil");
    let line = "G-single-realtime: stale read: t1 -realtime-> t2 -rw key 120-> t1";
    assert_found_in_time("G-single-realtime", line, "c1 1-2 x:=1\n c2 3-4 x:=2\n c3 5-6 x=1");
    assert_clean("c1 1-2 x:=1\n c2 3-5 x:=2\n c3 5-6 x=1");
}

#[test]
fn causal_reverse() {
    let line = "G-single-realtime: causal reverse: t0 -realtime-> t1 -wr key 121-> t2 -rw key 120-> t0";
    assert_found_in_time("G-single-realtime", line, "c1 1-2 x+1\n c2 3-4 y+1\n c3 1-9 x=[] y=[1]");
    assert_found_in_time("G-single-realtime", line, "c1 1-2 x:=1\n c2 3-4 y:=1\n c3 1-9 x=nil y=1");
    assert_clean("c1 1-3 x+1\n c2 3-4 y+1\n c3 1-9 x=[] y=[1]");
}

#[test]
fn other_cycles_in_time() {
    assert_found_in_time(
        "G0-realtime",
        "G0-realtime: dirty write: t0 -realtime-> t1 -ww key 120-> t0",
        "c1 1-2 x+1\n c2 3-4 x+2\n c3 5-6 x=[2 1]",
    );
    assert_found_in_time(
        "G1c-realtime",
        "G1c-realtime: read from the future: t0 -realtime-> t1 -wr key 120-> t0",
        "c1 1-2 x=[1]\n c2 3-4 x+1",
    );
    assert_found_in_time(
        "G2-realtime",
        "G2-realtime: write skew or long fork in time: t0 -rw key 120-> t1 -realtime-> t2 -rw key 121-> t3 -wr key 121-> t0",
        "c1 1-9 x=[] y=[1]\n c2 2-3 x+1\n c3 4-5 y=[]\n c4 2-9 y+1",
    );
}

#[test]
fn clients_see_their_own_order() {
    // Ends and begins at one time: real time says nothing, the client does.
    let line = "G-single-process: stale read: t0 -process-> t1 -rw key 120-> t0";
    assert_found("G-single-process", line, "c1 1-2 x+1\n c1 2-3 x=[]");
    assert_clean("c1 1-2 x+1\n c2 2-3 x=[]");
    // After an answer that never came a client cannot know.
    assert_clean("c1 1-? x+1\n c1 2-3 x=[]\n c1 4-5 x=[1]");
}

#[test]
fn unknown_transactions_count_when_they_are_seen() {
    assert_clean("c1 1-? x+1\n c2 1-9 x=[]");
    assert_clean("c1 1-? x+1 y+1\n c2 2-3 x=[] y=[]\n c2 4-5 x=[1] y=[1]");
    let line = "G-single: read skew: t0 -wr key 120-> t1 -rw key 121-> t0";
    assert_found("G-single", line, "c1 1-? x+1 y+1\n c2 1-9 x=[1] y=[]");
    let line = "G-single-realtime: stale read: t0 -wr key 120-> t1 -realtime-> t2 -rw key 120-> t0";
    assert_found_in_time("G-single-realtime", line, "c1 1-? x+1\n c2 2-3 x=[1]\n c3 4-5 x=[]");
    // Its reads count with it.
    let line = "lost-update: t0 and t1 both read nothing of key 120 and both replaced it";
    assert_found("lost-update", line, "c1 1-? x=nil x:=1\n c2 1-9 x=nil x:=2\n c3 1-9 x=1");
    assert_clean("c1 1-? x=nil x:=1\n c2 1-9 x=nil x:=2");
}

#[test]
fn separate_anomalies_are_told_separately() {
    let text = "c1 1-9 a=[] b+1\n c2 1-9 b=[] a+1\n c3 1-9 x+1 y+1\n c4 1-9 x+2 y+2\n c5 10-11 x=[1 2] y=[2 1]";
    let verdict = check_strictly_serializable(&history(text));
    assert_eq!(
        verdict.to_string(),
        "2 anomalies in 5 transactions\n  \
         G0: dirty write: t2 -ww key 120-> t3 -ww key 121-> t2\n  \
         G2: write skew: t0 -rw key 97-> t1 -rw key 98-> t0"
    );
    assert_eq!(verdict.anomalies[1].keys, [97, 98]);
}

#[test]
#[should_panic(expected = "two writes with one value")]
fn a_value_is_written_once() {
    check_serializable(&history("c1 1-2 x+1\n c2 1-2 x+1"));
}
