//! Lines to paste.

use crate::demo::{Fleet, Layout};

/// How to use the cluster, for people.
pub fn banner(layout: &Layout, fleet: &Fleet, is_temporary: bool) -> String {
    let first = layout.client_address(1);
    let all = layout.numbers().map(|node| layout.client_address(node)).collect::<Vec<_>>().join(",");
    let pids = layout.numbers().filter_map(|node| Some(format!("n{node} {}", fleet.pid(node)?)));
    let pids = pids.collect::<Vec<_>>().join(", ");
    let directory = layout.directory.display();
    let fate = if is_temporary { "removed when the demo ends; --keep DIR keeps it" } else { "kept" };
    format!(
        "\n{} nodes are ready. Data: {directory} ({fate})\n\n\
         \x20 write     strata kv put greeting hello --addr {first}\n\
         \x20 read      strata kv get greeting --addr {first}\n\
         \x20 look      strata cluster status --addr {first}\n\
         \x20 load      strata bench kv --addr {all}\n\
         \x20 gRPC      {all}   (grpcurl -plaintext {first} list)\n\
         \x20 metrics   curl http://{first}/metrics\n\
         \x20 Rust      let client = strata_client::Client::connect([\"{first}\"]).await?;\n\
         \x20 failure   kill -9 one of: {pids}\n",
        layout.nodes
    )
}

/// The line that starts a node again.
pub fn restart_line(layout: &Layout, node: u32) -> String {
    let program = std::env::current_exe().map_or_else(|_| "strata".to_owned(), |path| path.display().to_string());
    let words = std::iter::once(program).chain(layout.arguments(node));
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// As a Unix shell wants it.
fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_they_must_be() {
        assert_eq!(quoted("/tmp/demo-1/n1".to_owned()), "/tmp/demo-1/n1");
        assert_eq!(quoted("my demo's".to_owned()), r"'my demo'\''s'");
    }
}
