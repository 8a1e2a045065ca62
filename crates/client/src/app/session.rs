//! What a signed-in client holds, and where it is kept.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hearth_api::accounts::v1::SessionTokens;
use hearth_api::types::v1::CommitToken;
use hearth_kernel::Secret;

/// The most changes that a read can be asked to show.
const MOST_CHANGES: usize = 8;

/// A session with its tokens. `Debug` shows no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The account: 32 lower-case hexadecimal digits.
    pub account_id: String,
    /// The session: 32 lower-case hexadecimal digits.
    pub session_id: String,
    /// For `authorization: Bearer`; lives for minutes.
    pub access_token: Secret,
    /// Changed for new tokens, once.
    pub refresh_token: Secret,
    /// The newest changes that it made, oldest first, at most 8: opaque.
    pub changes: Vec<Bytes>,
}

impl Session {
    /// A session from a server's answer; `None` when that holds no tokens.
    #[must_use]
    pub fn new(
        account_id: String,
        session_id: String,
        tokens: Option<SessionTokens>,
    ) -> Option<Self> {
        let mut session = Self {
            account_id,
            session_id,
            access_token: Secret::default(),
            refresh_token: Secret::default(),
            changes: Vec::new(),
        };
        session.renew(tokens?);
        (!session.access_token.is_empty()).then_some(session)
    }

    /// Takes new tokens.
    pub(super) fn renew(&mut self, tokens: SessionTokens) {
        self.access_token = tokens.access_token.into();
        self.refresh_token = tokens.refresh_token.into();
    }

    /// Takes the tokens of the same session, as it was kept by whoever renewed it last.
    pub(super) fn take_tokens_of(&mut self, kept: Self) {
        if kept.session_id == self.session_id {
            self.access_token = kept.access_token;
            self.refresh_token = kept.refresh_token;
        }
    }

    /// Remembers a change in place of the oldest one.
    pub(super) fn saw(&mut self, token: CommitToken) {
        self.changes.retain(|known| *known != token.value);
        self.changes.push(token.value);
        let surplus = self.changes.len().saturating_sub(MOST_CHANGES);
        self.changes.drain(..surplus);
    }

    /// The changes as reads take them.
    pub(super) fn after(self) -> Vec<CommitToken> {
        let changes = self.changes.into_iter();
        changes.map(|value| CommitToken { value }).collect()
    }
}

/// Where a session is kept. Each call is short and may block; the newest save wins.
pub trait SessionStore: Send + Sync + 'static {
    /// The session, if one is kept.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    fn load(&self) -> io::Result<Option<Session>>;

    /// Keeps a session in place of the one before. When this answers, it survives the process.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn save(&self, session: &Session) -> io::Result<()>;

    /// Forgets the session.
    ///
    /// # Errors
    /// When it cannot be forgotten.
    fn clear(&self) -> io::Result<()>;
}

/// A session in memory, which ends with the process.
#[derive(Debug, Default)]
pub struct MemorySessions(Mutex<Option<Session>>);

impl SessionStore for MemorySessions {
    fn load(&self) -> io::Result<Option<Session>> {
        Ok(self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone())
    }

    fn save(&self, session: &Session) -> io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}
