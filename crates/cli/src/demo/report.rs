//! What was seen, for scripts.

use serde::Serialize;

use super::client::Answer;
use super::golden::{Difference, Walk};
use crate::text::Fields;

/// Every exchange.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    exchanges: Vec<Exchange>,
    #[serde(skip)]
    pub(super) values: usize,
}

#[derive(Debug, Serialize)]
struct Exchange {
    id: &'static str,
    method: &'static str,
    path: &'static str,
    status: u16,
    /// Name and value, in order.
    headers: Fields,
    body: String,
    differences: Vec<Difference>,
}

impl Report {
    pub(super) fn add(&mut self, walk: &Walk, answer: &Answer, differences: &[Difference]) {
        self.values += walk.expect.len();
        self.exchanges.push(Exchange {
            id: walk.id,
            method: walk.ask.method,
            path: walk.ask.path,
            status: answer.status,
            headers: answer.headers.clone(),
            body: String::from_utf8_lossy(&answer.body).into_owned(),
            differences: differences.to_vec(),
        });
    }

    pub(super) fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// The rows that differ.
    pub(super) fn differing(&self) -> Vec<&'static str> {
        self.exchanges.iter().filter(|exchange| !exchange.differences.is_empty()).map(|exchange| exchange.id).collect()
    }

    pub(super) fn differs(&self) -> bool {
        !self.differing().is_empty()
    }
}
