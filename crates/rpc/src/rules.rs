//! The table of methods: who may call each, what makes it safe to repeat, and its bounds.
//!
//! A path without a row is refused, so a method that somebody forgot is closed, not open. [`RuleTable::check`] compares
//! the table with the descriptors, in a test of every binary and at start. The layer enforces what can be told
//! from the token alone; what a member may do in a home is decided in the service, which knows the home.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hearth_kernel::Role;

use crate::descriptor::{self, Described};
use crate::limits::Rate;

/// The deadline of a method whose row names none.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The largest message of a method whose row names none, in bytes.
pub const REQUEST_BYTES: usize = 64 * 1024;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authorisation {
    /// Anybody, within the limits per address.
    Public,
    /// The client that began it, which shows its secret; the handler checks.
    Client,
    /// A signed-in person, about herself.
    Account,
    /// A person who signed in within the last 15 minutes; the handler may ask for the password besides.
    AccountFresh,
    /// A member of the home with at least this role; the layer checks the sign-in, the service the home.
    HomeMember(Role),
    /// A hub, by a signature inside its stream; the handler checks.
    Hub,
    /// Whoever holds the secret that the request carries; the handler checks.
    BearerSecret,
    /// A signed-in person about herself, or whoever holds the secret in the request; the handler checks.
    AccountOrSecret,
}

impl Authorisation {
    /// Whether a call without a valid token is refused before the handler.
    #[must_use]
    pub const fn needs_sign_in(self) -> bool {
        matches!(
            self,
            Self::Account | Self::AccountFresh | Self::HomeMember(_)
        )
    }

    /// The number of `hearth.options.v1.Authorisation`.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Public => 1,
            Self::Client => 2,
            Self::Account => 3,
            Self::AccountFresh => 4,
            Self::HomeMember(Role::Guest) => 5,
            Self::HomeMember(Role::Adult) => 6,
            Self::HomeMember(Role::Admin) => 7,
            Self::HomeMember(Role::Owner) => 8,
            Self::Hub => 9,
            Self::BearerSecret => 10,
            Self::AccountOrSecret => 11,
        }
    }
}

/// What makes a method safe to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// It changes nothing.
    Read,
    /// The client's request id: the same request again gets the first answer.
    RequestId,
    /// The request names its own effect.
    Natural,
}

impl Idempotency {
    /// The number of `hearth.options.v1.Idempotency`.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Read => 1,
            Self::RequestId => 2,
            Self::Natural => 3,
        }
    }
}

/// One row: everything that holds for a method before its handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodRule {
    /// `/<package>.<Service>/<Method>`.
    pub path: &'static str,
    /// Who may call it.
    pub authorisation: Authorisation,
    /// What makes it safe to repeat.
    pub idempotency: Idempotency,
    /// The longest it may take; the client's own deadline is kept when shorter. `None`: a stream, which has none.
    pub deadline: Option<Duration>,
    /// The largest request message in bytes, as it is on the wire.
    pub max_request_bytes: usize,
    /// How often one caller may call it.
    pub rate: Rate,
}

impl MethodRule {
    /// A row with the usual bounds: 10 s, 64 KiB, [`Rate::USUAL`].
    #[must_use]
    pub const fn new(
        path: &'static str,
        authorisation: Authorisation,
        idempotency: Idempotency,
    ) -> Self {
        Self {
            path,
            authorisation,
            idempotency,
            deadline: Some(DEADLINE),
            max_request_bytes: REQUEST_BYTES,
            rate: Rate::USUAL,
        }
    }

    /// The same with another deadline.
    #[must_use]
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The same as a stream: no deadline of the server's, and counted with the streams.
    #[must_use]
    pub const fn streaming(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// The same with another largest message.
    #[must_use]
    pub const fn at_most_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// The same with another rate.
    #[must_use]
    pub const fn limited(mut self, rate: Rate) -> Self {
        self.rate = rate;
        self
    }

    /// Whether it is a stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.deadline.is_none()
    }
}

/// The rows of the infrastructure that every process serves beside its modules.
pub const INFRASTRUCTURE: &[MethodRule] = &[
    MethodRule::new(
        "/grpc.health.v1.Health/Check",
        Authorisation::Public,
        Idempotency::Read,
    ),
    MethodRule::new(
        "/grpc.health.v1.Health/List",
        Authorisation::Public,
        Idempotency::Read,
    ),
    MethodRule::new(
        "/grpc.health.v1.Health/Watch",
        Authorisation::Public,
        Idempotency::Read,
    )
    .streaming(),
    MethodRule::new(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Authorisation::Public,
        Idempotency::Read,
    )
    .streaming(),
    // Tools that are packaged for years ask this one alone, and say otherwise that there is no reflection.
    MethodRule::new(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Authorisation::Public,
        Idempotency::Read,
    )
    .streaming(),
];

/// A row that cannot be: two rows of one path, or a malformed one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Two rows name one path.
    #[error("two rows for {0}")]
    Twice(&'static str),
    /// A path is not `/<package>.<Service>/<Method>`.
    #[error("not the path of a method: {0}")]
    NotAPath(&'static str),
}

/// All rows of a process. Cheap to clone.
#[derive(Clone)]
pub struct RuleTable {
    rows: Arc<HashMap<&'static str, Row>>,
}

/// A row and its number in the table: the key of its buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) rule: MethodRule,
    pub(crate) number: u32,
}

impl RuleTable {
    /// The table of these rows, with those of the infrastructure.
    ///
    /// # Errors
    /// When two rows name one path, or one is not a path.
    pub fn new(rows: impl IntoIterator<Item = MethodRule>) -> Result<Self, RuleError> {
        let mut table = HashMap::new();
        for rule in rows.into_iter().chain(INFRASTRUCTURE.iter().copied()) {
            let well_formed = rule
                .path
                .strip_prefix('/')
                .and_then(|it| it.split_once('/'));
            if !well_formed.is_some_and(|(service, method)| {
                service.contains('.') && !method.is_empty() && !method.contains('/')
            }) {
                return Err(RuleError::NotAPath(rule.path));
            }
            let number = u32::try_from(table.len()).unwrap_or(u32::MAX);
            if table.insert(rule.path, Row { rule, number }).is_some() {
                return Err(RuleError::Twice(rule.path));
            }
        }
        Ok(Self {
            rows: Arc::new(table),
        })
    }

    /// The row of a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&MethodRule> {
        self.row(path).map(|row| &row.rule)
    }

    pub(crate) fn row(&self, path: &str) -> Option<&Row> {
        self.rows.get(path)
    }

    /// All rows, in the order of their paths.
    #[must_use]
    pub fn rows(&self) -> Vec<MethodRule> {
        let mut rows: Vec<_> = self.rows.values().map(|row| row.rule).collect();
        rows.sort_by_key(|rule| rule.path);
        rows
    }

    /// Everything in which this table and a descriptor set differ, for the services named (`hearth.accounts.v1.AccountsService`):
    /// methods without a row, rows without a method, and rows that say something else than the label
    /// `hearth.options.v1.rule`, or take a stream for a call.
    ///
    /// # Errors
    /// When the bytes are not a `google.protobuf.FileDescriptorSet`.
    pub fn check(
        &self,
        descriptor_set: &[u8],
        services: &[&str],
    ) -> Result<Vec<Mismatch>, prost::DecodeError> {
        let described = descriptor::methods(descriptor_set)?;
        let served = |path: &str| services.iter().any(|service| is_of(path, service));
        let mut found = Vec::new();
        for method in described.iter().filter(|method| served(&method.path)) {
            match self.get(&method.path) {
                None => found.push(Mismatch::MethodWithoutRow(method.path.clone())),
                Some(rule) => found.extend(differences(rule, method)),
            }
        }
        for rule in self
            .rows()
            .iter()
            .filter(|rule| !is_infrastructure(rule.path))
        {
            if !served(rule.path) || !described.iter().any(|method| method.path == rule.path) {
                found.push(Mismatch::RowWithoutMethod(rule.path));
            }
        }
        Ok(found)
    }
}

fn is_of(path: &str, service: &str) -> bool {
    let rest = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(service));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

fn is_infrastructure(path: &str) -> bool {
    INFRASTRUCTURE.iter().any(|rule| rule.path == path)
}

fn differences(rule: &MethodRule, method: &Described) -> Vec<Mismatch> {
    let mut found = Vec::new();
    if method.authorisation != rule.authorisation.number() {
        found.push(Mismatch::OtherAuthorisation(rule.path));
    }
    if method.idempotency != rule.idempotency.number() {
        found.push(Mismatch::OtherIdempotency(rule.path));
    }
    if method.is_stream() != rule.is_stream() {
        found.push(Mismatch::StreamOrNot(rule.path));
    }
    found
}

/// One way in which the table and the contract differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The contract has a method that the table lacks.
    MethodWithoutRow(String),
    /// The table has a row for a method that the contract lacks, or that no service of the process serves.
    RowWithoutMethod(&'static str),
    /// The label in the contract names another authorisation.
    OtherAuthorisation(&'static str),
    /// The label in the contract names another idempotency.
    OtherIdempotency(&'static str),
    /// One says that it is a stream and the other does not.
    StreamOrNot(&'static str),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MethodWithoutRow(path) => write!(f, "{path} has no row"),
            Self::RowWithoutMethod(path) => write!(f, "{path} has a row and is no method"),
            Self::OtherAuthorisation(path) => {
                write!(f, "{path}: row and contract differ in who may call it")
            }
            Self::OtherIdempotency(path) => {
                write!(f, "{path}: row and contract differ in idempotency")
            }
            Self::StreamOrNot(path) => write!(f, "{path}: a stream has no deadline, a call has"),
        }
    }
}

impl fmt::Debug for RuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleTable({} rows)", self.rows.len())
    }
}

#[cfg(test)]
mod tests;
