//! The name of one aggregate: whose log it is in, its kind and its id.

use std::borrow::Cow;
use std::fmt;

use uuid::Uuid;

use crate::service::Service;

/// The kind of an aggregate (`account`, `home`, `session`): one token of a subject, lower case.
pub type AggregateKind = Cow<'static, str>;

/// One aggregate: the thing that one subject holds the commits of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AggregateRef {
    /// The service that owns it.
    pub service: Service,
    /// Its kind.
    pub kind: AggregateKind,
    /// Its id, unique within the kind.
    pub id: Uuid,
}

impl AggregateRef {
    /// The aggregate of that service, kind and id.
    #[must_use]
    pub fn new(service: Service, kind: &'static str, id: impl Into<Uuid>) -> Self {
        Self {
            service,
            kind: Cow::Borrowed(kind),
            id: id.into(),
        }
    }
}

impl fmt::Display for AggregateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.service, self.kind, self.id.as_simple())
    }
}
