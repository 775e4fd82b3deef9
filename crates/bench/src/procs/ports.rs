//! Ports that are free just now.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below the ports that the system gives to outgoing connections, so that ours stay free while a node is down.
const FIRST: u32 = 20_000;
const LAST: u32 = 32_000;

/// So many different loopback addresses `127.0.0.1:PORT`.
pub(crate) fn free_addresses(count: usize) -> Result<Vec<String>> {
    // Runs at the same time start at different places; two that meet find the other's ports taken.
    let start = FIRST + std::process::id().wrapping_mul(97) % (LAST - FIRST);
    let all = (start..LAST).chain(FIRST..start).map(|port| port as u16);
    let mut held = Vec::with_capacity(count);
    for port in all {
        if held.len() == count {
            break;
        }
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    }
    if held.len() < count {
        bail!("only {} of {count} ports are free between {FIRST} and {LAST}", held.len());
    }
    held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_different_and_free() {
        let addresses = free_addresses(6).expect("six ports");
        for (at, address) in addresses.iter().enumerate() {
            assert!(!addresses[..at].contains(address));
            TcpListener::bind(address).expect("free");
        }
    }
}
