//! Who is calling, as the stack found out: put into the extensions of every request.

use std::net::IpAddr;

use hearth_kernel::{AccountId, Failure, Reason, SessionId, Timestamp};

/// Who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody who proved anything. Clients and hubs prove themselves inside the request.
    Anonymous,
    /// A signed-in person.
    Account {
        /// Her account.
        account: AccountId,
        /// The session of this client.
        session: SessionId,
        /// When she last proved her password or passkey, to the second.
        signed_in_at: Timestamp,
    },
}

impl Principal {
    /// What the stack put there; anonymous when there is nothing, as in a test without a stack.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().copied().unwrap_or(Self::Anonymous)
    }

    /// What the stack put into a request.
    #[must_use]
    pub fn of_request<T>(request: &tonic::Request<T>) -> Self {
        request
            .extensions()
            .get::<Self>()
            .copied()
            .unwrap_or(Self::Anonymous)
    }

    /// The signed-in account, if somebody is signed in.
    #[must_use]
    pub const fn account(&self) -> Option<AccountId> {
        match self {
            Self::Account { account, .. } => Some(*account),
            Self::Anonymous => None,
        }
    }

    /// The signed-in account and its session.
    ///
    /// # Errors
    /// `NOT_SIGNED_IN` for everybody else.
    pub const fn signed_in(&self) -> Result<(AccountId, SessionId), Failure> {
        match self {
            Self::Account {
                account, session, ..
            } => Ok((*account, *session)),
            Self::Anonymous => Err(Failure::new(Reason::NOT_SIGNED_IN)),
        }
    }
}

/// The other end of the connection, put into the extensions by whoever accepted it. It is personal: it counts in
/// limits and stands in no log and no metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The network that limits count: an IPv4 address, or the first 64 bits of an IPv6 one, which is what one
    /// subscriber gets.
    #[must_use]
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_one_network() {
        let network = |text: &str| {
            Peer(text.parse().expect("an address"))
                .network()
                .to_string()
        };
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
