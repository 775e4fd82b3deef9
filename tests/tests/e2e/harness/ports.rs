//! Ports that no other test uses.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports of one test.
const BLOCK: u16 = 100;
/// Below the range from which systems take ports for outgoing connections.
const FIRST: u16 = 12_000;
const BLOCKS: u16 = 180;

/// The first port of a block that is free: for a demo of up to ten nodes, or for nodes of a test's own.
pub fn free_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes on one machine start in different places.
    let offset = (std::process::id() % u32::from(BLOCKS)) as u16;
    for _ in 0..BLOCKS {
        let block = (NEXT.fetch_add(1, Ordering::Relaxed) + offset) % BLOCKS;
        let base = FIRST + block * BLOCK;
        if (base..base + BLOCK / 2).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no free ports from {FIRST} on");
}
