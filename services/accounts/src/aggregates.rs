//! The deciders of the domain as aggregates of this service.

use hearth_accounts_domain as domain;

hearth_engine::aggregates! {
    /// A person's account.
    Account = domain::Account;
    /// A home.
    Home = domain::Home;
    /// A registration.
    Registration = domain::Registration;
    /// The reservation of an address.
    Email = domain::Email;
    /// What proves who somebody is.
    Credentials = domain::Credentials;
    /// The refresh tokens of a session.
    SessionFamily = domain::SessionFamily;
    /// Whose a membership is.
    Membership = domain::Membership;
    /// The keys that access tokens are signed with.
    TokenKeys = domain::TokenKeys;
}
