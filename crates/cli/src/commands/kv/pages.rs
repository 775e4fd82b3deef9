//! A scan, page by page. It is as long as the data, and each call of it is over after a while: the next one goes on.

use serde_json::Value;
use strata_proto::v1;
use strata_types::{ErrorCode, limits};
use tonic::Streaming;

use super::{bounds, json_of, line_of};
use crate::args::KvCommand;
use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::session::Session;

/// The pages of a scan.
pub struct Pages<'a> {
    session: &'a Session,
    /// What is still to be read; `None` at the end.
    rest: Option<v1::ScanRequest>,
    call: Option<Call>,
    encoding: Encoding,
    keys_only: bool,
}

/// One call, and whether it brought a page.
struct Call {
    pages: Streaming<v1::ScanReply>,
    is_fruitful: bool,
}

impl<'a> Pages<'a> {
    /// Of a scan that has asked nobody yet.
    pub fn of(session: &'a Session, command: &KvCommand, encoding: Encoding) -> Result<Pages<'a>, Failure> {
        let KvCommand::Scan { start, end, prefix, limit, keys_only, reads } = command else {
            return Err(Failure::new("not a scan"));
        };
        let (start, end) = bounds(encoding, start.as_deref(), end.as_deref(), prefix.as_deref())?;
        let ((level, max_staleness_millis), limit) = (reads.parts()?, limit.unwrap_or(0));
        let request = v1::ScanRequest { start, end, limit, level, max_staleness_millis, ..v1::ScanRequest::default() };
        Ok(Pages { session, rest: Some(request), call: None, encoding, keys_only: *keys_only })
    }

    /// The next items; `None` after the last ones.
    pub async fn next(&mut self) -> Result<Option<Vec<v1::Item>>, Failure> {
        loop {
            let Some(rest) = self.rest.take() else { return Ok(None) };
            let mut call = match self.call.take() {
                Some(call) => call,
                None => Call { pages: open(self.session, rest.clone()).await?, is_fruitful: false },
            };
            match self.session.page(&mut call.pages).await {
                Ok(Some(page)) => {
                    self.rest = rest_of(rest, &page);
                    self.call = Some(Call { is_fruitful: true, ..call });
                    return Ok(Some(page.items));
                }
                Ok(None) => return Ok(None),
                // Its time was over, or its node is gone. It brought the scan on, so another call does, too.
                Err(failure) if call.is_fruitful && may_go_on(&failure) => self.rest = Some(rest),
                Err(failure) => return Err(failure),
            }
        }
    }

    pub(super) fn line(&self, item: &v1::Item) -> String {
        line_of(item, self.keys_only, self.encoding)
    }

    pub(super) fn json(&self, item: &v1::Item) -> Value {
        json_of(item, self.keys_only, self.encoding)
    }
}

async fn open(session: &Session, request: v1::ScanRequest) -> Result<Streaming<v1::ScanReply>, Failure> {
    let call = session.kv_read(request, |mut client, mut request| async move {
        // The deadline of one operation is meant for each page.
        request.set_timeout(limits::REQUEST_DEADLINE_MAX);
        client.scan(request).await
    });
    call.await
}

/// What is left of a scan after a page; `None` if that was the last one.
fn rest_of(request: v1::ScanRequest, page: &v1::ScanReply) -> Option<v1::ScanRequest> {
    let start = page.resume.clone()?;
    let limit = match request.limit {
        0 => 0,
        limit => limit.checked_sub(page.items.len() as u64).filter(|left| *left > 0)?,
    };
    Some(v1::ScanRequest { start, limit, ..request })
}

fn may_go_on(failure: &Failure) -> bool {
    matches!(failure.code, Some(ErrorCode::DeadlineExceeded | ErrorCode::Unavailable | ErrorCode::NotReady))
}

#[cfg(test)]
mod tests;
