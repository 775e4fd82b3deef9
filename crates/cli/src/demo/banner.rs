//! Lines to paste.

use crate::demo::{Fleet, Layout};
use crate::output::count;
use crate::program;

/// How to use the cluster, for people.
pub fn banner(layout: &Layout, fleet: &Fleet, is_temporary: bool) -> String {
    let first = layout.client_address(1);
    let all = layout.numbers().map(|node| layout.client_address(node)).collect::<Vec<_>>().join(",");
    let pids = layout.numbers().filter_map(|node| Some(format!("n{node} {}", fleet.pid(node)?)));
    let pids = pids.collect::<Vec<_>>().join(", ");
    let directory = layout.directory.display();
    let ca = layout.certs().map(|certs| certs.join("ca.crt").display().to_string());
    let (flag, scheme, grpcurl) = match &ca {
        Some(ca) => (format!(" --ca {ca}"), format!("--cacert {ca} https"), format!("-cacert {ca}")),
        None => (String::new(), "http".to_owned(), "-plaintext".to_owned()),
    };
    let rust = match &ca {
        Some(ca) => format!("Client::builder().tls(ClientTls::new(std::fs::read(\"{ca}\")?)).connect([\"{first}\"])"),
        None => format!("strata_client::Client::connect([\"{first}\"])"),
    };
    let fate = if is_temporary { "removed when the demo ends; --keep DIR keeps it" } else { "kept" };
    let (ready, strata) = (ready(layout.nodes), program::name());
    format!(
        "\n{ready}. Data: {directory} ({fate})\n\n\
         \x20 write     {strata} kv put greeting hello --addr {first}{flag}\n\
         \x20 read      {strata} kv get greeting --addr {first}{flag}\n\
         \x20 look      {strata} cluster status --addr {first}{flag}\n\
         \x20 load      {strata} bench kv --addr {all}{flag}\n\
         \x20 gRPC      {all}   (grpcurl {grpcurl} {first} list)\n\
         \x20 metrics   curl {scheme}://{first}/metrics\n\
         \x20 Rust      let client = {rust}.await?;\n\
         \x20 failure   kill -9 one of: {pids}\n"
    )
}

fn ready(nodes: u32) -> String {
    format!("{} {} ready", count(nodes as usize, "node"), if nodes == 1 { "is" } else { "are" })
}

/// The line that starts a node again.
pub fn restart_line(layout: &Layout, node: u32) -> String {
    let words = std::iter::once(program::path()).chain(layout.arguments(node));
    words.map(program::quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_is_ready_and_several_are() {
        assert_eq!(ready(1), "1 node is ready");
        assert_eq!(ready(3), "3 nodes are ready");
    }
}
