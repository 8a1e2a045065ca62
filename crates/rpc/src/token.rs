//! Access tokens: a JWT in one strict form, signed with Ed25519 (RFC 7519, RFC 8037), made and verified here alone.
//!
//! One algorithm, one header, one set of claims, no leeway, nothing optional: what a general library negotiates is
//! what attacks use. No roles stand in a token, so that losing one takes effect at once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_kernel::{AccountId, Secret, SessionId, Timestamp};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// The longest token that is looked at, in bytes.
pub const LONGEST: usize = 2048;
/// The longest life of a token in seconds: anything longer was not made by us.
pub const LONGEST_LIFE_SECONDS: i64 = 3600;
/// The longest key id, in bytes.
const LONGEST_KEY_ID: usize = 64;
/// The only algorithm.
const ALGORITHM: &str = "EdDSA";
/// The type of access tokens (RFC 9068, section 2.1), so that no other JWT of ours passes for one.
const TYPE: &str = "at+jwt";

/// Why a token does not count. Callers hear none of this: it is for tests and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not three parts of base64url, or is too long.
    #[error("not a token")]
    Malformed,
    /// Its header is not exactly ours.
    #[error("not a header of ours")]
    Header,
    /// No key has that id.
    #[error("no such key")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the signature is wrong")]
    Signature,
    /// Its claims are not exactly ours, or contradict each other.
    #[error("not claims of ours")]
    Claims,
    /// It is for somebody else, or by somebody else.
    #[error("another issuer or audience")]
    Audience,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// The seed of a key is not 32 bytes.
    #[error("not a signing seed")]
    Seed,
}

/// What a token says. Times are whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is.
    pub account: AccountId,
    /// The session it belongs to.
    pub session: SessionId,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it is void.
    pub expires_at: Timestamp,
    /// When the person last proved who she is.
    pub signed_in_at: Timestamp,
}

/// By whom and for whom tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// `iss`: the installation's name.
    pub issuer: String,
    /// `aud`: whom the token is for.
    pub audience: String,
}

impl Default for Parties {
    /// Hearth, for Hearth.
    fn default() -> Self {
        Self {
            issuer: "hearth".to_owned(),
            audience: "hearth".to_owned(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    iat: i64,
    exp: i64,
    auth_time: i64,
}

/// Makes tokens with one key.
pub struct TokenSigner {
    key_id: String,
    key: Ed25519KeyPair,
    parties: Parties,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSigner")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl TokenSigner {
    /// A signer with the key of a 32-byte seed. The key's id is made from its public half.
    ///
    /// # Errors
    /// [`TokenError::Seed`].
    pub fn new(seed: &Secret, parties: Parties) -> Result<Self, TokenError> {
        let key =
            Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| TokenError::Seed)?;
        let key_id = key_id(key.public_key().as_ref());
        Ok(Self {
            key_id,
            key,
            parties,
        })
    }

    /// The id of the key.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public key, for whoever verifies.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.key.public_key().as_ref());
        bytes
    }

    /// A token that says this.
    ///
    /// # Errors
    /// [`TokenError::Claims`] when the claims contradict each other or live too long.
    pub fn sign(&self, claims: &Claims) -> Result<Secret, TokenError> {
        let payload = Payload {
            iss: self.parties.issuer.clone(),
            aud: self.parties.audience.clone(),
            sub: claims.account.to_string(),
            sid: claims.session.to_string(),
            iat: claims.issued_at.seconds(),
            exp: claims.expires_at.seconds(),
            auth_time: claims.signed_in_at.seconds(),
        };
        consistent(&payload)?;
        let header = Header {
            alg: ALGORITHM.to_owned(),
            typ: TYPE.to_owned(),
            kid: self.key_id.clone(),
        };
        let mut token = String::with_capacity(512);
        URL_SAFE_NO_PAD.encode_string(json(&header)?, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(json(&payload)?, &mut token);
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(Secret::from(token))
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, TokenError> {
    serde_json::to_vec(value).map_err(|_| TokenError::Claims)
}

/// The id of a public key: the first 16 bytes of its SHA-256, in hexadecimal.
#[must_use]
pub fn key_id(public_key: &[u8]) -> String {
    use std::fmt::Write;
    let hash = ring::digest::digest(&ring::digest::SHA256, public_key);
    let mut text = String::with_capacity(32);
    for byte in &hash.as_ref()[..16] {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The claims of a token, if it is one of ours and its time is not over. `key` finds a public key by its id.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(
    token: &str,
    parties: &Parties,
    now: Timestamp,
    key: impl FnOnce(&str) -> Option<[u8; 32]>,
) -> Result<Claims, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let decode = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| TokenError::Malformed)
    };
    let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);

    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Header)?;
    if header.alg != ALGORITHM || header.typ != TYPE || header.kid.len() > LONGEST_KEY_ID {
        return Err(TokenError::Header);
    }
    let key = key(&header.kid).ok_or(TokenError::UnknownKey)?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| TokenError::Signature)?;

    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| TokenError::Claims)?;
    consistent(&payload)?;
    if payload.iss != parties.issuer || payload.aud != parties.audience {
        return Err(TokenError::Audience);
    }
    let expires_at = Timestamp::from_seconds(payload.exp);
    if expires_at <= now {
        return Err(TokenError::Expired);
    }
    Ok(Claims {
        account: payload.sub.parse().map_err(|_| TokenError::Claims)?,
        session: payload.sid.parse().map_err(|_| TokenError::Claims)?,
        issued_at: Timestamp::from_seconds(payload.iat),
        expires_at,
        signed_in_at: Timestamp::from_seconds(payload.auth_time),
    })
}

fn consistent(payload: &Payload) -> Result<(), TokenError> {
    let life = payload.exp.saturating_sub(payload.iat);
    let holds = life > 0 && life <= LONGEST_LIFE_SECONDS && payload.auth_time <= payload.iat;
    if holds {
        Ok(())
    } else {
        Err(TokenError::Claims)
    }
}

#[cfg(test)]
mod tests;
