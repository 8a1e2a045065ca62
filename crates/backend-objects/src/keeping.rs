//! What a bucket may have that keeps deleted objects, and how its answers about that are read.
//!
//! | answer | means |
//! | --- | --- |
//! | versioning `Enabled` or `Suspended` (older versions stay), a lock that is enabled, any rule of replication | it has it |
//! | a configuration without that, or the 404 that says there is no configuration | it has it not |
//! | 501 or 405, or the code `NotImplemented` or `MethodNotAllowed` | the store has no such thing at all |
//! | anything else: 403, a failure, an answer about something else | unclear, which is refused as well |

use std::fmt;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::wire::Refusal;

/// Something that keeps what was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeping {
    /// A deletion only hides the last version.
    Versioning,
    /// Objects cannot be deleted for a time.
    ObjectLock,
    /// Another bucket has copies.
    Replication,
}

impl Keeping {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Versioning, Self::ObjectLock, Self::Replication];

    /// The name by which settings allow it: `versioning`, `object-lock`, `replication`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Versioning => "versioning",
            Self::ObjectLock => "object-lock",
            Self::Replication => "replication",
        }
    }

    /// The one with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The query that a bucket answers with its configuration.
    pub(crate) const fn query(self) -> &'static str {
        // The same three names, by chance of S3.
        self.name()
    }

    /// What the answer's outermost element is called.
    const fn element(self) -> &'static str {
        match self {
            Self::Versioning => "VersioningConfiguration",
            Self::ObjectLock => "ObjectLockConfiguration",
            Self::Replication => "ReplicationConfiguration",
        }
    }

    /// The code that says that there is no configuration.
    const fn none(self) -> &'static str {
        match self {
            // It is always there, empty at first.
            Self::Versioning => "",
            Self::ObjectLock => "ObjectLockConfigurationNotFoundError",
            Self::Replication => "ReplicationConfigurationNotFoundError",
        }
    }

    /// What an answer says.
    pub(crate) fn verdict(self, answer: Result<&[u8], &Refusal>) -> Verdict {
        let body = match answer {
            Ok(body) => body,
            Err(refusal) => return self.refused(refusal),
        };
        let Some(xml) = Xml::parse(body).filter(|xml| xml.root() == Some(self.element())) else {
            return Verdict::Unclear("the answer is about something else".to_owned());
        };
        let on = match self {
            Self::Versioning => xml.first("Status").is_some_and(|it| !it.is_empty()),
            Self::ObjectLock => {
                let enabled = xml.first("ObjectLockEnabled");
                enabled.is_some_and(|it| !it.is_empty()) || xml.has("Rule")
            }
            Self::Replication => xml.has("Rule"),
        };
        if on { Verdict::On } else { Verdict::Off }
    }

    fn refused(self, refusal: &Refusal) -> Verdict {
        let code = refusal.code.as_str();
        let none = refusal.status == 404 && !code.is_empty() && code == self.none();
        let never = matches!(refusal.status, 405 | 501)
            || matches!(code, "NotImplemented" | "MethodNotAllowed");
        if none {
            Verdict::Off
        } else if never {
            Verdict::NotOffered
        } else {
            Verdict::Unclear(refusal.to_string())
        }
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The bucket has it.
    On,
    /// It has it not.
    Off,
    /// The store has no such thing.
    NotOffered,
    /// It cannot be told, and why.
    Unclear(String),
}

/// The elements of a small document, each with the text directly inside it.
pub(crate) struct Xml(Vec<(String, String)>);

impl Xml {
    /// The document, if it is one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_reader(bytes);
        let mut elements: Vec<(String, String)> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    open.push(elements.len());
                    elements.push((local(start.local_name().as_ref())?, String::new()));
                }
                Event::Empty(empty) => {
                    elements.push((local(empty.local_name().as_ref())?, String::new()));
                }
                Event::Text(text) => {
                    if let Some(element) = open.last().and_then(|it| elements.get_mut(*it)) {
                        element.1.push_str(text.decode().ok()?.trim());
                    }
                }
                Event::End(_) => {
                    open.pop();
                }
                Event::Eof => break,
                _ => {}
            }
        }
        (open.is_empty() && !elements.is_empty()).then_some(Self(elements))
    }

    /// The outermost element.
    fn root(&self) -> Option<&str> {
        self.0.first().map(|it| it.0.as_str())
    }

    /// Whether there is an element of that name.
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|it| it.0 == name)
    }

    /// The text of the first element of that name.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|it| it.0 == name);
        found.map(|it| it.1.as_str())
    }
}

fn local(name: &[u8]) -> Option<String> {
    String::from_utf8(name.to_vec()).ok()
}
