//! Outbound in memory: keeps what was sent for a test to look at, and fails when it is told to.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hearth_ports::{Mail, Outbound, OutboundError};

use crate::guard::lock;

/// The most mails kept; the oldest go first.
const KEPT: usize = 10_000;

/// Outbound in memory.
#[derive(Debug, Default)]
pub struct MemoryOutbound {
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    sent: VecDeque<Mail>,
    /// What the next calls answer, first come first served.
    failures: VecDeque<OutboundError>,
    /// What every call answers until it is taken back.
    broken: Option<OutboundError>,
}

impl MemoryOutbound {
    /// Every mail that was taken, repetitions included, oldest first.
    #[must_use]
    pub fn sent(&self) -> Vec<Mail> {
        lock(&self.state).sent.iter().cloned().collect()
    }

    /// What a receiver that tells repetitions by their attempt shows: each attempt once, oldest first.
    #[must_use]
    pub fn delivered(&self) -> Vec<Mail> {
        let mut seen = HashSet::new();
        let mut mails = self.sent();
        mails.retain(|mail| seen.insert(mail.attempt.clone()));
        mails
    }

    /// The next call answers this; called again, the one after it too.
    pub fn fail_next(&self, error: OutboundError) {
        lock(&self.state).failures.push_back(error);
    }

    /// Every call answers this, until it is called with `None`.
    pub fn break_down(&self, error: Option<OutboundError>) {
        lock(&self.state).broken = error;
    }

    /// An independent copy of everything kept.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            state: Mutex::new(lock(&self.state).clone()),
        }
    }
}

#[async_trait]
impl Outbound for MemoryOutbound {
    async fn mail(&self, mail: &Mail) -> Result<(), OutboundError> {
        if let Some(field) = mail.wrong_field() {
            return Err(OutboundError::Refused(Arc::new(std::io::Error::other(
                format!("the mail has no valid {field}"),
            ))));
        }
        let mut state = lock(&self.state);
        if let Some(error) = state.failures.pop_front().or_else(|| state.broken.clone()) {
            return Err(error);
        }
        if state.sent.len() == KEPT {
            state.sent.pop_front();
        }
        state.sent.push_back(mail.clone());
        Ok(())
    }
}
