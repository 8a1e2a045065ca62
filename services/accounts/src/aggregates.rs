//! The deciders of the domain as aggregates of this service.
//!
//! A domain crate knows no log, and the engine knows no domain: what joins the two has to be a type of this crate.

use hearth_accounts_domain as domain;
use hearth_kernel::Decider;

macro_rules! aggregates {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Decider for $name {
            type State = <domain::$name as Decider>::State;
            type Command = <domain::$name as Decider>::Command;
            type Event = <domain::$name as Decider>::Event;
            type Facts = <domain::$name as Decider>::Facts;
            type Rejection = <domain::$name as Decider>::Rejection;

            fn decide(
                state: &Self::State,
                command: &Self::Command,
                facts: &Self::Facts,
            ) -> Result<Vec<Self::Event>, Self::Rejection> {
                domain::$name::decide(state, command, facts)
            }

            fn evolve(state: Self::State, event: &Self::Event) -> Self::State {
                domain::$name::evolve(state, event)
            }

            fn invariant(state: &Self::State) -> Result<(), &'static str> {
                domain::$name::invariant(state)
            }

            fn is_closed(state: &Self::State) -> bool {
                domain::$name::is_closed(state)
            }
        }
    )+};
}

aggregates! {
    /// A person's account.
    Account;
    /// A home.
    Home;
    /// A registration.
    Registration;
    /// The reservation of an address.
    Email;
    /// What proves who somebody is.
    Credentials;
    /// The refresh tokens of a session.
    SessionFamily;
    /// Whose a membership is.
    Membership;
}
