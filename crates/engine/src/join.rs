//! The macro that joins a decider of a domain crate to the engine.
//!
//! A domain crate knows no log and the engine knows no domain, so the type that is both has to be the
//! service's own: a marker that delegates every function.

/// Declares marker types that are the deciders they name: `aggregates! { /// Docs. Account = domain::Account; }`.
/// The service then implements [`crate::Aggregate`] for each.
#[macro_export]
macro_rules! aggregates {
    ($($(#[$doc:meta])* $name:ident = $domain:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl ::hearth_kernel::Decider for $name {
            type State = <$domain as ::hearth_kernel::Decider>::State;
            type Command = <$domain as ::hearth_kernel::Decider>::Command;
            type Event = <$domain as ::hearth_kernel::Decider>::Event;
            type Facts = <$domain as ::hearth_kernel::Decider>::Facts;
            type Rejection = <$domain as ::hearth_kernel::Decider>::Rejection;

            fn decide(
                state: &Self::State,
                command: &Self::Command,
                facts: &Self::Facts,
            ) -> ::core::result::Result<::std::vec::Vec<Self::Event>, Self::Rejection> {
                <$domain as ::hearth_kernel::Decider>::decide(state, command, facts)
            }

            fn evolve(state: Self::State, event: &Self::Event) -> Self::State {
                <$domain as ::hearth_kernel::Decider>::evolve(state, event)
            }

            fn invariant(state: &Self::State) -> ::core::result::Result<(), &'static str> {
                <$domain as ::hearth_kernel::Decider>::invariant(state)
            }

            fn is_closed(state: &Self::State) -> bool {
                <$domain as ::hearth_kernel::Decider>::is_closed(state)
            }
        }
    )+};
}
