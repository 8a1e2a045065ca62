//! W3C trace context (<https://www.w3.org/TR/trace-context/>): read from `traceparent`, or begun here.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

use crate::request_id::random;

/// The header.
pub const HEADER: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Runs a future that asks for [`TraceContext::current`].
pub(crate) async fn within<F: Future>(trace: TraceContext, future: F) -> F::Output {
    CURRENT.scope(trace, future).await
}

/// Where a request stands in its trace. Ids are random and name nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span that caused this one, or the first one.
    pub span: [u8; 8],
    /// Whether the caller records it.
    pub sampled: bool,
}

impl TraceContext {
    /// A trace that begins here.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            trace: random(),
            span: random(),
            sampled: false,
        }
    }

    /// The caller's trace, or one that begins here when there is none or it is malformed.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(HEADER).and_then(|value| value.to_str().ok());
        text.and_then(|text| text.parse().ok())
            .unwrap_or_else(Self::begin)
    }

    /// The trace of the request that is being served here, if one is.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }

    /// The trace, in 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace))
    }
}

/// Why a text is not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct TraceParseError;

impl FromStr for TraceContext {
    type Err = TraceParseError;

    fn from_str(text: &str) -> Result<Self, TraceParseError> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            part.filter(|part| part.bytes().all(hex))
                .ok_or(TraceParseError)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Version 0 has four parts; later ones may add some; ff is forbidden (section 3.2.2.1).
        if version == "ff" || version == "00" && parts.next().is_some() {
            return Err(TraceParseError);
        }
        let trace = u128::from_str_radix(trace, 16).map_err(|_| TraceParseError)?;
        let span = u64::from_str_radix(span, 16).map_err(|_| TraceParseError)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| TraceParseError)?;
        if trace == 0 || span == 0 {
            return Err(TraceParseError);
        }
        Ok(Self {
            trace: trace.to_be_bytes(),
            span: span.to_be_bytes(),
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = u64::from_be_bytes(self.span);
        write!(
            f,
            "00-{}-{span:016x}-{:02x}",
            self.trace_id(),
            u8::from(self.sampled)
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn the_trace_of_a_request_is_known_while_it_is_served() {
        let trace = TraceContext::begin();
        let served = within(trace, async { TraceContext::current() }).await;
        assert_eq!((served, TraceContext::current()), (Some(trace), None));
    }

    #[test]
    fn the_examples_of_the_recommendation() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().expect("a context");
        assert!(context.sampled);
        assert_eq!(context.to_string(), text);
        assert!(
            text.replacen("00-", "cc-", 1)
                .parse::<TraceContext>()
                .is_ok()
        );
        assert!(
            format!("{}-later", text.replacen("00-", "cc-", 1))
                .parse::<TraceContext>()
                .is_ok()
        );
        for bad in [
            format!("{text}-x"),
            text.replacen("00-", "ff-", 1),
            text.to_uppercase(),
            text.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            text.replace("00f067aa0ba902b7", &"0".repeat(16)),
            text.replace("4bf9", "+bf9"),
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_goes_both_ways_and_garbage_does_not_panic(
            trace in 1_u128.., span in 1_u64.., sampled: bool, garbage in ".{0,80}",
        ) {
            let context = TraceContext { trace: trace.to_be_bytes(), span: span.to_be_bytes(), sampled };
            prop_assert_eq!(context.to_string().parse(), Ok(context));
            let _ = garbage.parse::<TraceContext>();
        }
    }
}
