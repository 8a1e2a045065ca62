//! The one mapping of failures to gRPC statuses with `google.rpc` details, and back for clients and tests.
//!
//! No status is built anywhere else. A status carries what the failure says and nothing of its cause: the
//! cause is logged here, once, with its whole chain. Kind decides code, details and log level.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use hearth_kernel::{Failure, Kind, Reason, Violation};
use hearth_ports::tasks::Chain;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt};

use crate::request_id;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "hearth";
/// The most violations that travel; the rest is counted in a last one.
pub const MOST_VIOLATIONS: usize = 32;
/// The most bytes that all violations may take together, fields and descriptions: with what protobuf and base64 add, the
/// details stay under the 4 KiB that a header may well hold (style, section 6).
const MOST_VIOLATION_BYTES: usize = 2048;
/// The longest field path that travels, in bytes.
const LONGEST_FIELD: usize = 128;
/// How long a client waits after a conflict when the failure does not say.
const AFTER_CONFLICT: Duration = Duration::from_millis(50);
/// How long a client waits after a limit when the failure does not say.
const AFTER_LIMIT: Duration = Duration::from_secs(1);
/// How long a client waits when something is unavailable and the failure does not say.
const AFTER_UNAVAILABLE: Duration = Duration::from_millis(500);

/// Types of resources that [`failure_of`] gives back by name; others come back as `resource`.
const RESOURCES: &[&str] = &[
    "account",
    "area",
    "capability",
    "claim",
    "device",
    "erasure",
    "home",
    "hub",
    "invitation",
    "member",
    "notice",
    "pairing",
    "receipt",
    "registration",
    "rule",
    "session",
    "token",
];

/// Logs a failure at the level of its kind, with the chain of its cause, and makes the status of it.
///
/// This is where an error stops: call it once, at the edge.
#[must_use]
pub fn fail(failure: &Failure, cause: Option<&(dyn Error + 'static)>) -> Status {
    let reason = failure.reason.name();
    let cause = cause.map(|cause| tracing::field::display(Chain(cause)));
    match failure.kind() {
        Kind::Invalid | Kind::Rejected | Kind::NotFound | Kind::Exists | Kind::Conflict => {
            tracing::debug!(reason, cause, "request refused");
        }
        Kind::Unauthenticated | Kind::Forbidden | Kind::Limited | Kind::Deadline => {
            tracing::info!(reason, cause, "request refused");
        }
        Kind::Unavailable => tracing::warn!(reason, cause, "request not served"),
        Kind::Unknown | Kind::Bug | Kind::Corrupt => {
            tracing::error!(reason, cause, "request failed");
        }
    }
    status_of(failure)
}

/// The status of a failure, without logging it.
#[must_use]
pub fn status_of(failure: &Failure) -> Status {
    let code = code_of(failure.reason);
    let message = failure.reason.message();
    let mut details = ErrorDetails::new();
    if matches!(failure.kind(), Kind::Bug | Kind::Corrupt) {
        // Nothing about the inside leaves; the id lets an operator find the log line.
        details.set_request_info(request_id::current().unwrap_or_default(), "");
        return Status::with_error_details(code, message, details);
    }
    details.set_error_info(failure.reason.name(), DOMAIN, HashMap::new());
    let violations = bounded(&failure.violations);
    match failure.kind() {
        Kind::Invalid => {
            details.set_bad_request(violations.into_iter().map(field).collect::<Vec<_>>());
        }
        Kind::Rejected => {
            details.set_precondition_failure(preconditions(failure, violations));
        }
        Kind::Limited => {
            details.set_quota_failure(quotas(failure, violations));
        }
        _ => {}
    }
    if let Some((kind, id)) = &failure.resource {
        details.set_resource_info(*kind, cut(id), "", message);
    }
    let wait = failure.retry_after.or_else(|| match failure.kind() {
        Kind::Conflict => Some(AFTER_CONFLICT),
        Kind::Limited => Some(AFTER_LIMIT),
        Kind::Unavailable => Some(AFTER_UNAVAILABLE),
        _ => None,
    });
    if wait.is_some() {
        details.set_retry_info(wait);
    }
    Status::with_error_details(code, message, details)
}

/// The code of a reason: that of its kind, but for a method and an encoding that do not exist here, for which gRPC has
/// one of its own.
#[must_use]
pub fn code_of(reason: Reason) -> Code {
    if reason == Reason::UNKNOWN_RPC || reason == Reason::UNSUPPORTED_ENCODING {
        return Code::Unimplemented;
    }
    match reason.kind() {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Rejected => Code::FailedPrecondition,
        Kind::NotFound => Code::NotFound,
        Kind::Exists => Code::AlreadyExists,
        Kind::Conflict => Code::Aborted,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::Limited => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Deadline => Code::DeadlineExceeded,
        Kind::Unknown => Code::Unknown,
        Kind::Bug => Code::Internal,
        Kind::Corrupt => Code::DataLoss,
    }
}

/// The failure that a status carries: for clients and tests. A reason that this release does not know, and a status
/// that is not Hearth's, are told by their code.
#[must_use]
pub fn failure_of(status: &Status) -> Failure {
    let details = status.get_error_details();
    let reason = details
        .error_info()
        .filter(|info| info.domain == DOMAIN)
        .and_then(|info| Reason::ALL.iter().find(|it| it.name() == info.reason))
        .copied()
        .unwrap_or_else(|| reason_of(status.code()));
    let mut violations = Vec::new();
    if let Some(bad) = details.bad_request() {
        let found = bad.field_violations.iter();
        violations.extend(found.map(|it| violation(&it.field, &it.description)));
    }
    if let Some(precondition) = details.precondition_failure() {
        let found = precondition
            .violations
            .iter()
            .filter(|it| !it.subject.is_empty());
        violations.extend(found.map(|it| violation(&it.subject, &it.description)));
    }
    if let Some(quota) = details.quota_failure() {
        let found = quota.violations.iter().filter(|it| !it.subject.is_empty());
        violations.extend(found.map(|it| violation(&it.subject, &it.description)));
    }
    Failure {
        reason,
        violations,
        retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        resource: details.resource_info().map(|resource| {
            let known = RESOURCES.iter().find(|it| **it == resource.resource_type);
            (
                known.copied().unwrap_or("resource"),
                resource.resource_name.clone(),
            )
        }),
    }
}

/// The failure behind a status that a request stream gave to a handler: what the client sent cannot be read, is too
/// large, or the client is gone.
#[must_use]
pub fn inbound(status: &Status) -> Failure {
    if is_ours(status) {
        return failure_of(status);
    }
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Failure::new(Reason::MESSAGE_TOO_LARGE),
        Code::Cancelled | Code::Unavailable | Code::Unknown => {
            Failure::new(Reason::TEMPORARILY_UNAVAILABLE)
        }
        Code::DeadlineExceeded => Failure::new(Reason::DEADLINE_EXCEEDED),
        _ => malformed(),
    }
}

/// A request whose bytes are not a message of its method.
#[must_use]
pub fn malformed() -> Failure {
    Failure::new(Reason::INVALID_REQUEST)
        .violation("", "the bytes are not one message of this method")
}

/// Whether a status came from [`status_of`].
#[must_use]
pub fn is_ours(status: &Status) -> bool {
    if status.details().is_empty() {
        return false;
    }
    let details = status.get_error_details();
    let fixed = matches!(status.code(), Code::Internal | Code::DataLoss);
    details
        .error_info()
        .is_some_and(|info| info.domain == DOMAIN)
        || fixed && details.request_info().is_some()
}

fn reason_of(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Reason::INVALID_REQUEST,
        Code::Unimplemented => Reason::UNKNOWN_RPC,
        Code::NotFound => Reason::NOT_FOUND,
        Code::Aborted => Reason::TOO_MANY_CONFLICTS,
        Code::Unauthenticated => Reason::NOT_SIGNED_IN,
        Code::PermissionDenied => Reason::NOT_ALLOWED,
        Code::ResourceExhausted => Reason::TOO_MANY_REQUESTS,
        Code::Unavailable => Reason::TEMPORARILY_UNAVAILABLE,
        // Servers that enforce a deadline below this stack answer CANCELLED.
        Code::DeadlineExceeded | Code::Cancelled => Reason::DEADLINE_EXCEEDED,
        Code::Unknown => Reason::WRITE_OUTCOME_UNKNOWN,
        Code::DataLoss => Reason::DATA_CORRUPT,
        Code::Ok | Code::Internal | Code::FailedPrecondition | Code::AlreadyExists => {
            Reason::INTERNAL
        }
    }
}

fn violation(field: &str, description: &str) -> Violation {
    Violation {
        field: field.to_owned(),
        description: Cow::Owned(description.to_owned()),
    }
}

/// The violations that fit, and one more that counts the others.
fn bounded(violations: &[Violation]) -> Vec<Violation> {
    let mut room = MOST_VIOLATION_BYTES;
    let mut kept = Vec::with_capacity(violations.len().min(MOST_VIOLATIONS));
    for one in violations {
        let field = cut(&one.field);
        let size = field.len() + one.description.len();
        if kept.len() == MOST_VIOLATIONS || size > room {
            break;
        }
        room -= size;
        kept.push(violation(field, &one.description));
    }
    let left_off = violations.len() - kept.len();
    if left_off > 0 {
        kept.push(violation(
            "",
            &format!("{left_off} more violations are left off"),
        ));
    }
    kept
}

/// At most [`LONGEST_FIELD`] bytes, cut between characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_FIELD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn field(violation: Violation) -> FieldViolation {
    FieldViolation::new(violation.field, violation.description)
}

fn preconditions(failure: &Failure, violations: Vec<Violation>) -> Vec<PreconditionViolation> {
    let name = failure.reason.name();
    if violations.is_empty() {
        return vec![PreconditionViolation::new(
            name,
            "",
            failure.reason.message(),
        )];
    }
    let all = violations.into_iter();
    all.map(|it| PreconditionViolation::new(name, it.field, it.description))
        .collect()
}

fn quotas(failure: &Failure, violations: Vec<Violation>) -> Vec<QuotaViolation> {
    if violations.is_empty() {
        return vec![QuotaViolation::new("", failure.reason.message())];
    }
    violations
        .into_iter()
        .map(|it| QuotaViolation::new(it.field, it.description))
        .collect()
}

#[cfg(test)]
mod tests;
