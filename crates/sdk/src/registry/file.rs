//! The file as it is read.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::condition::Condition;
use crate::{LocalReply, LocalReplyScope, OnError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) chain: Vec<Entry>,
    #[serde(default)]
    pub(super) local_reply_scope: Scope,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) processor: Spanned<String>,
    pub(super) options: Option<Spanned<serde_json::Value>>,
    pub(super) when: Option<Condition>,
    pub(super) on_error: Option<Policy>,
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    #[default]
    All,
    Earlier,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    Fail,
    Skip,
    Reply(u16),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) concurrency: Option<usize>,
    pub(super) rate: Option<Rate>,
    pub(super) request_body: Option<u64>,
    pub(super) response_body: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    pub(super) requests: NonZeroU32,
    #[serde(default = "one")]
    seconds: NonZeroU64,
}

const fn one() -> NonZeroU64 {
    NonZeroU64::MIN
}

impl Rate {
    pub(super) const fn time(self) -> Duration {
        Duration::from_secs(self.seconds.get())
    }
}

impl From<Scope> for LocalReplyScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => Self::All,
            Scope::Earlier => Self::Earlier,
        }
    }
}

impl From<Policy> for OnError {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Fail => Self::Fail,
            Policy::Skip => Self::Skip,
            Policy::Reply(status) => Self::Reply(LocalReply::new(status)),
        }
    }
}
