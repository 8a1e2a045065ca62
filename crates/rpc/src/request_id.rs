//! The id of a request for logs and support: taken from `x-request-id` when it can hold nothing personal, else drawn.
//!
//! It is not the `request_id` of messages, which makes commands idempotent.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use ring::rand::{SecureRandom, SystemRandom};

/// The header, in and out.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The most characters that are taken over.
const LONGEST: usize = 64;
/// The fewest digits that are taken over: more than a telephone number has.
const DIGITS: usize = 16;

tokio::task_local! {
    static CURRENT: Option<Arc<str>>;
}

/// The id of the request that is being served here, if one is.
#[must_use]
pub fn current() -> Option<String> {
    CURRENT
        .try_with(|id| id.as_deref().map(str::to_owned))
        .ok()
        .flatten()
}

/// Runs something that asks for [`current`].
pub(crate) fn scope<T>(id: Option<impl Into<Arc<str>>>, run: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(id.map(Into::into), run)
}

/// Runs a future that asks for [`current`].
pub(crate) async fn within<F: Future>(id: Arc<str>, future: F) -> F::Output {
    CURRENT.scope(Some(id), future).await
}

/// The caller's id if it is 16 or more hexadecimal digits, with dashes (so no name, address or telephone number
/// fits), else a random one.
#[must_use]
pub fn of(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let fits = |text: &&str| {
        let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
        let dashes = text.bytes().filter(|byte| *byte == b'-').count();
        digits >= DIGITS && digits + dashes == text.len() && text.len() <= LONGEST
    };
    match given.filter(fits) {
        Some(text) => text.into(),
        None => random_hex::<16>().into(),
    }
}

/// `N` random bytes in hexadecimal; zeros if the machine has no randomness, which only costs telling requests apart.
pub(crate) fn random_hex<const N: usize>() -> String {
    use std::fmt::Write;
    random::<N>()
        .iter()
        .fold(String::with_capacity(2 * N), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// `N` random bytes, or zeros.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::error!("no randomness for ids of requests");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Arc<str> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, text.parse().expect("a header"));
        of(&headers)
    }

    #[test]
    fn only_hexadecimal_is_taken_over() {
        assert_eq!(&*of_text("0123abcd-EF456789"), "0123abcd-EF456789");
        let phone = "0049-170-123-45678";
        for text in [
            "",
            "abc",
            "anna.smith",
            "a b c d e f 0",
            phone,
            &"a".repeat(65),
        ] {
            let id = of_text(text);
            assert_eq!(id.len(), 32, "{text}");
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
