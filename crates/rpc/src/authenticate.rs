//! From `authorization: Bearer <token>` to a [`Principal`].
//!
//! No token means anonymous; a token that does not count is refused on every method, public ones too, so that nobody
//! is taken for less than she says she is. What is not known well enough is neither yes nor no: UNAVAILABLE.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::{AccountId, Failure, Reason, SessionId, Timestamp};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::principal::Principal;
use crate::rules::Authorisation;
use crate::token::{self, Parties, TokenError};

/// How long ago a sign-in may be for [`Authorisation::AccountFresh`].
pub const FRESH: Duration = Duration::from_secs(15 * 60);
/// How long a client waits when what this process knows is stale.
const AFTER_STALE: Duration = Duration::from_secs(1);

/// The public keys of access tokens: a cache of what accounts publishes.
pub trait TokenKeys: Send + Sync + 'static {
    /// The key of that id, if it is one now.
    fn key(&self, kid: &str) -> Option<[u8; 32]>;

    /// Whether the keys are known up to now: if not, an unknown key id is no proof of a bad token.
    fn is_fresh(&self) -> bool {
        true
    }
}

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stands.
    Active,
    /// It was ended, or its account was.
    Revoked,
    /// What this process knows is too old to tell.
    Unknown,
}

/// Which sessions were revoked: a cache of what accounts publishes.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Whether that session of that account stands, for a token that was made then.
    async fn check(&self, account: AccountId, session: SessionId, issued_at: Timestamp) -> Verdict;
}

/// Everything that authentication asks. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    /// By whom and for whom tokens must be.
    pub parties: Parties,
    /// The keys.
    pub keys: Arc<dyn TokenKeys>,
    /// The sessions.
    pub sessions: Arc<dyn Sessions>,
}

impl Authority {
    /// Who sent these headers.
    ///
    /// # Errors
    /// `NOT_SIGNED_IN` for a token that does not count, `STALE_KNOWLEDGE` when that cannot be told.
    pub async fn principal(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Principal, Failure> {
        let Some(token) = bearer(headers)? else {
            return Ok(Principal::Anonymous);
        };
        let claims = token::verify(token, &self.parties, now, |kid| self.keys.key(kid));
        let claims = claims.map_err(|error| {
            if error == TokenError::UnknownKey && !self.keys.is_fresh() {
                return stale();
            }
            tracing::debug!(%error, "token refused");
            Failure::new(Reason::NOT_SIGNED_IN)
        })?;
        let verdict = self
            .sessions
            .check(claims.account, claims.session, claims.issued_at);
        match verdict.await {
            Verdict::Active => Ok(Principal::Account {
                account: claims.account,
                session: claims.session,
                signed_in_at: claims.signed_in_at,
            }),
            Verdict::Revoked => Err(Failure::new(Reason::NOT_SIGNED_IN)),
            Verdict::Unknown => Err(stale()),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("parties", &self.parties)
            .finish_non_exhaustive()
    }
}

/// What is known here is too old; the caller may try again soon.
#[must_use]
pub const fn stale() -> Failure {
    Failure::new(Reason::STALE_KNOWLEDGE).retry_after(AFTER_STALE)
}

/// Whether a principal may call a method, as far as the token tells.
///
/// # Errors
/// `NOT_SIGNED_IN`, `FRESH_SIGN_IN_REQUIRED`.
pub fn permit(
    principal: &Principal,
    authorisation: Authorisation,
    now: Timestamp,
) -> Result<(), Failure> {
    match (principal, authorisation) {
        (Principal::Account { signed_in_at, .. }, Authorisation::AccountFresh) => {
            // A sign-in that lies ahead is another machine's clock, and fresh.
            if now.since(*signed_in_at) > FRESH {
                return Err(Failure::new(Reason::FRESH_SIGN_IN_REQUIRED));
            }
            Ok(())
        }
        (Principal::Anonymous, rule) if rule.needs_sign_in() => {
            Err(Failure::new(Reason::NOT_SIGNED_IN))
        }
        _ => Ok(()),
    }
}

/// The token of the one `authorization` header. Another scheme, or more than one header, is refused.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let refused = || Failure::new(Reason::NOT_SIGNED_IN);
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    if all.next().is_some() {
        return Err(refused());
    }
    let text = first.to_str().map_err(|_| refused())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused());
    }
    Ok(Some(token))
}

#[cfg(test)]
pub(crate) mod tests {
    //! Headers to principals, with doubles for keys and sessions.

    use hearth_kernel::Secret;
    use http::HeaderValue;

    use super::*;
    use crate::token::{Claims, TokenSigner};

    pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    pub(crate) fn parties() -> Parties {
        Parties {
            issuer: "test".to_owned(),
            audience: "test".to_owned(),
        }
    }

    pub(crate) fn signer() -> TokenSigner {
        TokenSigner::new(&Secret::new(vec![9; 32]), parties()).expect("a signer")
    }

    /// `Bearer <token>` of an account whose sign-in was that long ago.
    pub(crate) fn bearer_of(account: AccountId, ago: Duration) -> HeaderValue {
        let claims = Claims {
            account,
            session: SessionId::from_bytes([2; 16]),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_secs(300)),
            signed_in_at: NOW.minus(ago),
        };
        let token = signer().sign(&claims).expect("a token");
        let text = format!("Bearer {}", token.expose_text().expect("text"));
        HeaderValue::from_str(&text).expect("a header")
    }

    /// One key, fresh or not; the same verdict for every session.
    pub(crate) struct Fixed {
        pub(crate) verdict: Verdict,
        pub(crate) fresh: bool,
    }

    impl TokenKeys for Fixed {
        fn key(&self, kid: &str) -> Option<[u8; 32]> {
            let signer = signer();
            (self.fresh && kid == signer.key_id()).then(|| signer.public_key())
        }

        fn is_fresh(&self) -> bool {
            self.fresh
        }
    }

    #[async_trait]
    impl Sessions for Fixed {
        async fn check(&self, _: AccountId, _: SessionId, _: Timestamp) -> Verdict {
            self.verdict
        }
    }

    pub(crate) fn authority(verdict: Verdict, fresh: bool) -> Authority {
        Authority {
            parties: parties(),
            keys: Arc::new(Fixed { verdict, fresh }),
            sessions: Arc::new(Fixed { verdict, fresh }),
        }
    }

    const ANNA: AccountId = AccountId::from_bytes([1; 16]);

    async fn found(
        verdict: Verdict,
        fresh: bool,
        header: Option<HeaderValue>,
    ) -> Result<Principal, Reason> {
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|header| (AUTHORIZATION, header)));
        let found = authority(verdict, fresh).principal(&headers, NOW).await;
        found.map_err(|failure| failure.reason)
    }

    #[tokio::test]
    async fn a_token_counts_while_its_session_stands() {
        let good = || Some(bearer_of(ANNA, Duration::ZERO));
        let principal = found(Verdict::Active, true, good())
            .await
            .expect("a principal");
        assert_eq!(principal.account(), Some(ANNA));
        assert_eq!(
            found(Verdict::Revoked, true, good()).await,
            Err(Reason::NOT_SIGNED_IN)
        );
        assert_eq!(
            found(Verdict::Unknown, true, good()).await,
            Err(Reason::STALE_KNOWLEDGE)
        );
        assert_eq!(
            found(Verdict::Active, false, good()).await,
            Err(Reason::STALE_KNOWLEDGE)
        );
        assert_eq!(
            found(Verdict::Active, true, None).await,
            Ok(Principal::Anonymous)
        );
    }

    #[tokio::test]
    async fn what_is_not_one_bearer_token_is_refused() {
        for text in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer a.b.c",
            "\u{fc}",
        ] {
            let header = HeaderValue::from_bytes(text.as_bytes()).expect("a header");
            let answer = found(Verdict::Active, true, Some(header)).await;
            assert_eq!(answer, Err(Reason::NOT_SIGNED_IN), "{text:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, bearer_of(ANNA, Duration::ZERO));
        headers.append(AUTHORIZATION, bearer_of(ANNA, Duration::ZERO));
        assert!(
            authority(Verdict::Active, true)
                .principal(&headers, NOW)
                .await
                .is_err()
        );
    }

    #[test]
    fn rules_are_kept() {
        let anna = |ago| Principal::Account {
            account: ANNA,
            session: SessionId::from_bytes([2; 16]),
            signed_in_at: NOW.minus(ago),
        };
        let fresh = |ago| permit(&anna(ago), Authorisation::AccountFresh, NOW);
        assert_eq!(fresh(FRESH), Ok(()));
        let stale = fresh(FRESH + Duration::from_secs(1)).map_err(|it| it.reason);
        assert_eq!(stale, Err(Reason::FRESH_SIGN_IN_REQUIRED));
        for rule in [
            Authorisation::Account,
            Authorisation::AccountFresh,
            Authorisation::HomeMember(hearth_kernel::Role::Guest),
        ] {
            assert!(permit(&Principal::Anonymous, rule, NOW).is_err());
            assert!(permit(&anna(Duration::ZERO), rule, NOW).is_ok());
        }
        for rule in [
            Authorisation::Public,
            Authorisation::Client,
            Authorisation::Hub,
            Authorisation::BearerSecret,
            Authorisation::AccountOrSecret,
        ] {
            assert!(permit(&Principal::Anonymous, rule, NOW).is_ok());
        }
    }
}
