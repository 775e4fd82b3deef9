//! Counters of a node, from its `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A page that takes longer does not come.
const DEADLINE: Duration = Duration::from_secs(5);

/// Sums of all series of each name.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricsPage {
    sums: BTreeMap<String, f64>,
}

impl MetricsPage {
    /// The pages of these nodes together.
    pub(crate) async fn of_all(addresses: &[String]) -> Result<MetricsPage> {
        let mut all = MetricsPage::default();
        for address in addresses {
            let page = tokio::time::timeout(DEADLINE, fetch(address, "/metrics")).await;
            let page = page.with_context(|| format!("{address}/metrics did not come in time"))??;
            all.add(&page);
        }
        Ok(all)
    }

    /// A counter; zero before it first counts.
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.sums.get(name).copied().unwrap_or(0.0)
    }

    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or(series).trim();
            if let Ok(value) = value.parse::<f64>() {
                *self.sums.entry(name.to_owned()).or_default() += value;
            }
        }
    }
}

/// The body behind a path. One connection a page: whoever asks once in seven seconds needs no more.
async fn fetch(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("nobody answers at {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("{address}{path} answers: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PAGE: &str = "# HELP strata_raft_entries_total log entries\n# TYPE strata_raft_entries_total counter\n\
                        strata_raft_entries_total 7\nstrata_raft_commands_total{shard=\"1\"} 30\n\
                        strata_raft_commands_total{shard=\"2\"} 12\n";

    #[test]
    fn series_of_a_name_are_added_up() {
        let mut page = MetricsPage::default();
        page.add(PAGE);
        page.add(PAGE);
        assert_eq!(page.value("strata_raft_entries_total"), 14.0);
        assert_eq!(page.value("strata_raft_commands_total"), 84.0);
        assert_eq!(page.value("strata_raft_unheard_of_total"), 0.0);
    }

    #[tokio::test]
    async fn a_page_is_fetched() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = tokio::spawn(async move {
            for head in ["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = [0; 1_024];
                let length = stream.read(&mut request).await.expect("a request");
                assert!(request[..length].starts_with(b"GET /metrics HTTP/1.1\r\n"));
                stream.write_all(format!("{head}\r\n\r\n{PAGE}").as_bytes()).await.expect("sent");
            }
        });
        let page = MetricsPage::of_all(std::slice::from_ref(&address)).await.expect("a page");
        assert_eq!(page.value("strata_raft_commands_total"), 42.0);
        let error = MetricsPage::of_all(&[address]).await.expect_err("not ready").to_string();
        assert!(error.contains("503"), "{error}");
        server.await.expect("served");
    }
}
