//! The questions that every handler asks, answered from the cache of accounts' facts.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use hearth_api::events::v1::{self as events, access::Status, accounts_fact::Fact};
use hearth_engine::{CommitToken, FactCache, Stale, Watermarks};
use hearth_kernel::{
    AccountId, Failure, HomeId, MembershipId, Reason, Role, Service, SessionId, Timestamp,
};
use hearth_ports::{Clock, Log, Tasks};
use hearth_rpc::{Principal, Sessions, TokenKeys, Verdict};
use uuid::Uuid;

use crate::fact;
use crate::member::{HomeFacts, Member};

/// The id of the fact `keys` that holds the public keys of access tokens.
pub const TOKEN_KEYS: Uuid = Uuid::from_u128(1);

/// How many facts are kept in memory: a few hundred bytes each.
const CAPACITY: u64 = 50_000;
/// How long a reader waits for what it has written itself.
const READ_YOUR_WRITES: Duration = Duration::from_secs(2);
/// How often the token keys are looked at, beside each change of a fact.
const KEYS_EVERY: Duration = Duration::from_millis(500);
/// And while they are not known.
const KEYS_SOON: Duration = Duration::from_millis(10);
/// How long a client waits when this process does not know enough.
const AFTER_STALE: Duration = Duration::from_secs(1);

/// What this process knows of people. One per process; all services share it.
pub struct Access {
    facts: FactCache,
    clock: Arc<dyn Clock>,
    keys: RwLock<HashMap<String, [u8; 32]>>,
}

fn stale(_: Stale) -> Failure {
    Failure::new(Reason::STALE_KNOWLEDGE).retry_after(AFTER_STALE)
}

impl Access {
    /// Begins to follow the facts.
    #[must_use]
    pub fn start(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        watermarks: Watermarks,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let facts = FactCache::new(
            Service::Accounts,
            log,
            Arc::clone(&clock),
            watermarks,
            CAPACITY,
        );
        let following = facts.clone();
        tasks.supervise("access facts", move || {
            let facts = following.clone();
            async move { facts.run().await }
        });
        let access = Arc::new(Self {
            facts,
            clock,
            keys: RwLock::default(),
        });
        let refreshing = Arc::clone(&access);
        tasks.spawn("token keys", async move { refreshing.follow_keys().await });
        access
    }

    /// Keeps the token keys at hand: they are asked for where nothing can be awaited.
    async fn follow_keys(&self) {
        let mut changes = self.facts.changes();
        loop {
            let known = self.fact("keys", TOKEN_KEYS).await;
            let again = match known {
                Ok(Some(Fact::Keys(keys))) => {
                    let mut held = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                    *held = token_keys(&keys, self.clock.now());
                    KEYS_EVERY
                }
                // Just started: nobody can be signed in until they are known.
                _ => KEYS_SOON,
            };
            let _ = tokio::time::timeout(again, changes.changed()).await;
        }
    }

    async fn fact(&self, kind: &str, id: impl Into<Uuid>) -> Result<Option<Fact>, Stale> {
        Ok(self
            .facts
            .get(kind, id)
            .await?
            .and_then(|bytes| fact::read(&bytes)))
    }

    async fn account(&self, account: AccountId) -> Result<Option<events::Access>, Stale> {
        Ok(match self.fact("access", account).await? {
            Some(Fact::Access(access)) => Some(access),
            _ => None,
        })
    }

    /// The account's place in a home, if it has one now.
    ///
    /// # Errors
    /// `Stale` when that cannot be known.
    pub async fn member(&self, account: AccountId, home: HomeId) -> Result<Option<Member>, Stale> {
        Ok(self.place(account, home).await?.map(|(member, _)| member))
    }

    /// The account's place in a home, and whether the account is closing: then it reads, and no more.
    async fn place(
        &self,
        account: AccountId,
        home: HomeId,
    ) -> Result<Option<(Member, bool)>, Stale> {
        let Some(access) = self.account(account).await? else {
            return Ok(None);
        };
        let closing = match access.status() {
            Status::Active => false,
            Status::Closing => true,
            Status::Unspecified | Status::Unverified | Status::Closed => return Ok(None),
        };
        let member = fact::grant(&access, home).filter(|member| member.stands(self.clock.now()));
        Ok(member.map(|member| (member, closing)))
    }

    /// The caller's place in a home, if it has at least that role.
    ///
    /// # Errors
    /// `NOT_SIGNED_IN`; `NOT_FOUND` for a home that the caller is no member of, so that nobody learns which
    /// homes there are; `NOT_ALLOWED` when the role is too low; `ACCOUNT_CLOSING` for more than a guest may do
    /// when the account is in its grace; `STALE_KNOWLEDGE`.
    pub async fn require(
        &self,
        principal: &Principal,
        home: HomeId,
        role: Role,
    ) -> Result<Member, Failure> {
        let (account, _) = principal.signed_in()?;
        let mut place = self.place(account, home).await.map_err(stale)?;
        if place.is_none() {
            // She may have joined a moment ago: "no" is said only by who knows all that was decided before she asked.
            let asked = self.clock.now();
            if !self.facts.knows_as_of(asked).await {
                return Err(stale(Stale));
            }
            place = self.place(account, home).await.map_err(stale)?;
        }
        let (member, closing) =
            place.ok_or_else(|| Failure::new(Reason::NOT_FOUND).about("home", home))?;
        if member.role < role {
            return Err(Reason::NOT_ALLOWED.into());
        }
        if closing && role > Role::Guest {
            return Err(Reason::ACCOUNT_CLOSING.into());
        }
        Ok(member)
    }

    /// What is known of a home.
    ///
    /// # Errors
    /// `Stale` when that cannot be known.
    pub async fn home(&self, home: HomeId) -> Result<Option<HomeFacts>, Stale> {
        Ok(match self.fact("home", home).await? {
            Some(Fact::Home(home)) => fact::home(home),
            _ => None,
        })
    }

    /// Whose membership that is.
    ///
    /// # Errors
    /// `Stale` when that cannot be known.
    pub async fn account_of(&self, membership: MembershipId) -> Result<Option<AccountId>, Stale> {
        Ok(match self.fact("member", membership).await? {
            Some(Fact::Member(member)) => AccountId::from_slice(&member.account_id),
            _ => None,
        })
    }

    /// The sealed delivery address of an account, as accounts publishes it.
    ///
    /// # Errors
    /// `Stale` when that cannot be known.
    pub async fn address(&self, account: AccountId) -> Result<Option<events::Address>, Stale> {
        Ok(match self.fact("address", account).await? {
            Some(Fact::Address(address)) => Some(address),
            _ => None,
        })
    }

    /// Waits until what these commits of accounts decided is known here.
    ///
    /// # Errors
    /// `STALE_KNOWLEDGE` when that takes longer than 2 s.
    pub async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure> {
        let of_accounts = tokens
            .iter()
            .filter(|token| token.service == Service::Accounts);
        for token in of_accounts {
            tokio::time::timeout(READ_YOUR_WRITES, self.facts.reached(*token))
                .await
                .map_err(|_| stale(Stale))?;
        }
        Ok(())
    }

    /// The facts themselves, for what is asked rarely.
    #[must_use]
    pub const fn facts(&self) -> &FactCache {
        &self.facts
    }
}

fn token_keys(keys: &events::SigningKeys, now: Timestamp) -> HashMap<String, [u8; 32]> {
    let counts = |key: &&events::SigningKey| {
        let begun = key
            .not_before
            .as_ref()
            .is_none_or(|time| fact::timestamp(time) <= now);
        let ended = key
            .not_after
            .as_ref()
            .is_some_and(|time| fact::timestamp(time) <= now);
        key.r#use() == events::signing_key::Use::AccessToken && begun && !ended
    };
    let pair = |key: &events::SigningKey| {
        let public = <[u8; 32]>::try_from(key.public_key.as_ref()).ok()?;
        Some((key.key_id.clone(), public))
    };
    keys.keys.iter().filter(counts).filter_map(pair).collect()
}

impl TokenKeys for Access {
    fn key(&self, kid: &str) -> Option<[u8; 32]> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(kid)
            .copied()
    }

    fn is_fresh(&self) -> bool {
        let held = !self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        held && self.facts.is_fresh()
    }
}

#[async_trait]
impl Sessions for Access {
    async fn check(&self, account: AccountId, session: SessionId, issued_at: Timestamp) -> Verdict {
        let access = match self.account(account).await {
            Ok(Some(access)) => access,
            // A token of ours for an account without facts: it was erased.
            Ok(None) => return Verdict::Revoked,
            Err(Stale) => return Verdict::Unknown,
        };
        let revoked = access
            .revoked_sessions
            .iter()
            .any(|it| it.session_id.as_ref() == session.as_bytes());
        let not_before = access.tokens_not_before.as_ref().map(fact::timestamp);
        let outdated = not_before.is_some_and(|bound| issued_at < bound);
        if revoked || outdated || access.status() == Status::Closed {
            return Verdict::Revoked;
        }
        Verdict::Active
    }
}

#[cfg(test)]
mod tests;
