//! Timestamps from whichever node answers.

use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Env;
use strata_net::tls::Dialer;
use strata_proto::v1::txn_client::TxnClient;
use strata_proto::{error_of, v1};
use strata_router::TimestampKind;
use strata_types::{ClusterId, Error, ErrorCode, Outcome, Result, Timestamp};
use tonic::transport::Channel;

use super::wire::{endpoint, explain, of_cluster};

/// The node that is asked for timestamps: the same one as long as it answers.
pub(super) struct Clock {
    env: Env,
    dialer: Option<Dialer>,
    asked: Mutex<Option<TxnClient<Channel>>>,
}

impl Clock {
    pub(super) fn new(env: Env, dialer: Option<Dialer>) -> Clock {
        Clock { env, dialer, asked: Mutex::default() }
    }

    /// One question to one node, or, if the last one did not answer, to the first of `candidates`.
    pub(super) async fn timestamp(
        &self,
        cluster: ClusterId,
        candidates: impl Fn() -> Vec<String>,
        kind: Option<TimestampKind>,
        hold: Timestamp,
        deadline: Duration,
    ) -> Result<Timestamp> {
        let kind = match kind {
            Some(TimestampKind::Begin) => v1::TimestampKind::Begin,
            Some(TimestampKind::Floor) => v1::TimestampKind::Floor,
            None => v1::TimestampKind::None,
        };
        let mut request = of_cluster(v1::TimestampRequest { kind: kind.into(), hold: hold.0 }, cluster);
        // The node ends sooner, so that its reason arrives.
        request.set_timeout(deadline - deadline / 10);
        let ask = async {
            let known = self.asked.lock().clone();
            let mut client = match known {
                Some(client) => client,
                None => self.connect(candidates()).await?,
            };
            let reply = client.timestamp(request).await.map_err(|status| error_of(&status))?;
            *self.asked.lock() = Some(client);
            Ok(Timestamp(reply.into_inner().timestamp))
        };
        let late = |_| {
            let message = format!("no timestamp came within {deadline:?}");
            Err(Error::not_applied(ErrorCode::DeadlineExceeded, message))
        };
        let answer = self.env.timeout(deadline, ask).await.unwrap_or_else(late);
        // Whatever went wrong, another node may know better. Nothing was written.
        answer
            .inspect_err(|_| *self.asked.lock() = None)
            .map_err(|error| Error { outcome: Outcome::NotApplied, ..error })
    }

    async fn connect(&self, candidates: Vec<String>) -> Result<TxnClient<Channel>> {
        let unavailable = |message: String| Error::not_applied(ErrorCode::Unavailable, message);
        let address = candidates.into_iter().next().ok_or_else(|| unavailable("no node is known".to_owned()))?;
        let channel = strata_net::grpc::connect(&endpoint(&address)?, self.dialer.as_ref()).await;
        let channel = channel.map_err(|error| unavailable(format!("{address}: {}", explain(&error))))?;
        Ok(TxnClient::new(channel))
    }
}
