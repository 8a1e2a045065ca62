//! The fields of requests: each is read, and every violation is noted, so that all are told at once.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use hearth_api::types::v1::CommitToken;
use hearth_kernel::{AreaId, Failure, Role, Secret, Timestamp, Violations};

use crate::app::text::{self, Address};

/// Tokens that a read may wait for.
const TOKENS: usize = 8;
/// Areas of a member's limits.
const AREAS: usize = 64;

/// Reads fields and gathers what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Fields(Violations);

impl Fields {
    pub(super) fn require(&mut self, holds: bool, field: &str, why: &'static str) {
        self.0.require(holds, field, why);
    }

    /// `value` when nothing is wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        self.0.finish(value)
    }

    /// Notes a violation where there is no value.
    fn some<T>(&mut self, value: Option<T>, field: &str, why: &'static str) -> Option<T> {
        self.require(value.is_some(), field, why);
        value
    }

    pub(super) fn request_id(&mut self, id: String) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let holds = (16..=64).contains(&id.len()) && id.bytes().all(plain);
        self.some(
            holds.then_some(id),
            "request_id",
            "16 to 64 characters of A-Z a-z 0-9 - _",
        )
    }

    pub(super) fn id<T: FromStr>(&mut self, field: &str, text: &str) -> Option<T> {
        self.some(text.parse().ok(), field, "32 hexadecimal digits")
    }

    pub(super) fn email(&mut self, text: &str) -> Option<Address> {
        let why = "an e-mail address of at most 254 bytes";
        self.some(Address::parse(text), "email", why)
    }

    pub(super) fn name(&mut self, field: &str, text: &str) -> Option<String> {
        let why = "1 to 64 characters, no control characters";
        self.some(text::name(text), field, why)
    }

    pub(super) fn locale(&mut self, text: &str) -> Option<String> {
        let why = "a BCP 47 tag of at most 35 characters";
        self.some(text::locale(text), "locale", why)
    }

    pub(super) fn time_zone(&mut self, text: &str) -> Option<String> {
        self.some(text::time_zone(text), "time_zone", "an IANA time zone")
    }

    pub(super) fn new_password(&mut self, text: &str) -> Option<Secret> {
        match text::new_password(text) {
            Ok(password) => Some(password),
            Err(fault) => self.some(None, "password", fault.description()),
        }
    }

    pub(super) fn shown_password(&mut self, text: &str) -> Option<Secret> {
        let why = "1 to 256 characters";
        self.some(text::shown_password(text), "password", why)
    }

    pub(super) fn bytes_32(&mut self, field: &str, bytes: &[u8]) -> Option<[u8; 32]> {
        self.some(bytes.try_into().ok(), field, "exactly 32 bytes")
    }

    /// A code of digits; spaces and hyphens between them are ignored.
    pub(super) fn digits(&mut self, field: &str, text: &str) -> Option<String> {
        let code: String = text.chars().filter(|c| !" -".contains(*c)).collect();
        let holds = text.len() <= 32 && code.len() == 8 && code.bytes().all(|b| b.is_ascii_digit());
        self.some(holds.then_some(code), field, "8 digits")
    }

    pub(super) fn secret_text(&mut self, field: &str, text: String) -> Option<String> {
        let holds = (1..=128).contains(&text.len());
        self.some(holds.then_some(text), field, "1 to 128 characters")
    }

    pub(super) fn role(&mut self, number: i32) -> Option<Role> {
        let role = u8::try_from(number).ok().and_then(Role::from_number);
        self.some(role, "role", "one of the roles")
    }

    pub(super) fn areas(&mut self, list: &[String]) -> Option<BTreeSet<AreaId>> {
        let areas: Result<BTreeSet<AreaId>, _> = list.iter().map(|text| text.parse()).collect();
        let areas = areas.ok().filter(|_| list.len() <= AREAS);
        self.some(areas, "area_ids", "at most 64 ids of 32 hexadecimal digits")
    }

    /// A time, where absence is one of the answers.
    pub(super) fn time(
        &mut self,
        field: &str,
        time: Option<prost_types::Timestamp>,
    ) -> Option<Option<Timestamp>> {
        let Some(time) = time else {
            return Some(None);
        };
        let micros = time.seconds.checked_mul(1_000_000);
        let micros = micros.and_then(|it| it.checked_add(i64::from(time.nanos) / 1000));
        let micros = micros.filter(|it| *it > 0 && (0..1_000_000_000).contains(&time.nanos));
        let read = self.some(micros, field, "a time after 1970")?;
        Some(Some(Timestamp::from_micros(read)))
    }

    /// A span of time, where absence is one of the answers.
    pub(super) fn span(
        &mut self,
        field: &str,
        span: Option<prost_types::Duration>,
        bounds: (Duration, Duration),
        why: &'static str,
    ) -> Option<Option<Duration>> {
        let Some(span) = span else {
            return Some(None);
        };
        // Field by field: the conversion of prost-types panics on the most negative spans.
        let seconds = u64::try_from(span.seconds).ok();
        let nanos = u32::try_from(span.nanos)
            .ok()
            .filter(|it| *it < 1_000_000_000);
        let read = seconds
            .zip(nanos)
            .map(|(seconds, nanos)| Duration::new(seconds, nanos));
        let read = read.filter(|it| (bounds.0..=bounds.1).contains(it));
        self.some(read, field, why).map(Some)
    }

    /// The changes that a read must show. What accounts answers comes from its own aggregates, as the leader has them,
    /// so there is nothing to wait for.
    pub(super) fn after(&mut self, tokens: &[CommitToken]) {
        let fits = tokens.len() <= TOKENS && tokens.iter().all(|it| it.value.len() <= 64);
        self.require(fits, "after", "at most 8 tokens of at most 64 bytes");
    }
}
