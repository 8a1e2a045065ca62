//! What every aggregate is: a pure decision, a pure fold, and an invariant.

use crate::failure::Failure;
use crate::part::Parts;

/// An aggregate as three pure functions (J. Chassaing, "Functional Event Sourcing Decider", 2021).
///
/// History aggregates store the events; record aggregates store only the state that the events fold to.
/// Both obey the same laws, which [`crate::laws`] checks.
pub trait Decider: Send + Sync + 'static {
    /// What the past amounts to. `Default` is the aggregate that does not exist yet.
    type State: Clone + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static;
    /// What somebody wants.
    type Command: Send + Sync;
    /// What happened.
    type Event: Clone + PartialEq + std::fmt::Debug + Parts + Send + Sync + 'static;
    /// What the outside knows: the time, new ids, opened texts.
    type Facts: Send + Sync;
    /// Why a command is refused; says the state that stands in the way.
    type Rejection: Into<Failure> + PartialEq + std::fmt::Debug + Send;

    /// What the command makes happen in this state: nothing when it already has.
    ///
    /// # Errors
    /// A rejection, and then nothing has happened.
    fn decide(
        state: &Self::State,
        command: &Self::Command,
        facts: &Self::Facts,
    ) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// The state after the event. Total: it never fails, whatever the event.
    #[must_use]
    fn evolve(state: Self::State, event: &Self::Event) -> Self::State;

    /// What holds in every state that can be reached.
    ///
    /// # Errors
    /// The rule that is broken.
    fn invariant(state: &Self::State) -> Result<(), &'static str>;

    /// Whether the aggregate has ended for good, so that no later command may touch it.
    #[must_use]
    fn is_closed(_state: &Self::State) -> bool {
        false
    }
}

/// The state that a run of events folds to.
#[must_use]
pub fn fold<'a, D: Decider>(
    state: D::State,
    events: impl IntoIterator<Item = &'a D::Event>,
) -> D::State {
    events.into_iter().fold(state, D::evolve)
}
