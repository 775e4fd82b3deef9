//! Letting others go first.

use std::fmt;
use std::task::{Context, Poll};

use crate::BoxFuture;

/// For whoever takes everything that is there and hands it on at a price: before it takes, all others on its thread go
/// first who can go now. What they add goes along, for the same price. Where nobody else can go it costs next to nothing.
#[derive(Default)]
pub struct Courtesy {
    others: Option<BoxFuture<()>>,
}

impl Courtesy {
    /// Ready when the others had their turn; the next call begins anew.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let others = self.others.get_or_insert_with(|| Box::pin(courtesy()));
        let had_turn = others.as_mut().poll(context);
        if had_turn.is_ready() {
            self.others = None;
        }
        had_turn
    }
}

impl fmt::Debug for Courtesy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Courtesy").field("waits", &self.others.is_some()).finish()
    }
}

/// The same, once.
pub async fn courtesy() {
    tokio::task::yield_now().await;
}
