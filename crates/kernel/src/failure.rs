//! Failures as clients see them: a kind, a stable reason, and every violation at once.
//!
//! A failure never carries the text of a driver or another person's data: its message is a constant of
//! the source, its violations name fields of the caller's own request. The cause is logged where it is
//! handled and does not travel.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::reason::Reason;

/// The class of a failure: decides the gRPC code, the details and the log level (see `hearth-rpc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed: INVALID_ARGUMENT.
    Invalid,
    /// The state forbids it: FAILED_PRECONDITION.
    Rejected,
    /// There is none, or none that the caller may know of: NOT_FOUND.
    NotFound,
    /// There already is one: ALREADY_EXISTS.
    Exists,
    /// Others changed it again and again: ABORTED.
    Conflict,
    /// Who is calling is not proved: UNAUTHENTICATED.
    Unauthenticated,
    /// The caller may know of it but not do this: PERMISSION_DENIED.
    Forbidden,
    /// Too much, too fast: RESOURCE_EXHAUSTED.
    Limited,
    /// Nothing was written; try again: UNAVAILABLE.
    Unavailable,
    /// It took too long: DEADLINE_EXCEEDED.
    Deadline,
    /// The write may have happened; repeat with the same request id: UNKNOWN.
    Unknown,
    /// A defect of ours: INTERNAL.
    Bug,
    /// Stored bytes are not what was written: DATA_LOSS.
    Corrupt,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request, such as `areas[2].name`.
    pub field: String,
    /// What is wrong with it; names bounds, never the value.
    pub description: Cow<'static, str>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable reason; it decides the kind.
    pub reason: Reason,
    /// Every violation of the request.
    pub violations: Vec<Violation>,
    /// When to try again, if the server knows.
    pub retry_after: Option<Duration>,
    /// What it is about: a type name and an id, for `google.rpc.ResourceInfo`.
    pub resource: Option<(&'static str, String)>,
}

impl Failure {
    /// A failure for that reason, and nothing more to say.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            violations: Vec::new(),
            retry_after: None,
            resource: None,
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.reason.kind()
    }

    /// The same, with the time after which to try again.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same, naming the resource it is about.
    #[must_use]
    pub fn about(mut self, kind: &'static str, id: impl fmt::Display) -> Self {
        self.resource = Some((kind, id.to_string()));
        self
    }

    /// The same, with one more violation.
    #[must_use]
    pub fn violation(
        mut self,
        field: impl Into<String>,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.violations.push(Violation {
            field: field.into(),
            description: description.into(),
        });
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.name(), self.reason.message())
    }
}

impl std::error::Error for Failure {}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

/// Gathers every violation of a request, so that all are reported at once.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes one.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<Cow<'static, str>>) {
        self.0.push(Violation {
            field: field.into(),
            description: description.into(),
        });
    }

    /// Notes one unless the condition holds.
    pub fn require(
        &mut self,
        holds: bool,
        field: impl Into<String>,
        description: impl Into<Cow<'static, str>>,
    ) {
        if !holds {
            self.add(field, description);
        }
    }

    /// Keeps the value, or notes a violation.
    pub fn take<T, E>(
        &mut self,
        value: Result<T, E>,
        field: impl Into<String>,
        description: impl Into<Cow<'static, str>>,
    ) -> Option<T> {
        value.map_err(|_| self.add(field, description)).ok()
    }

    /// `value` when nothing was noted and there is one.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with everything that was noted.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Failure {
                violations: self.0,
                ..Failure::new(Reason::INVALID_REQUEST)
            }),
        }
    }
}
