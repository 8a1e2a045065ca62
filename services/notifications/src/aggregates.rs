//! The deciders of the domain as aggregates of this service.

use hearth_notifications_domain as domain;

hearth_engine::aggregates! {
    /// The rules of a home, and what is armed in it.
    Rules = domain::Rules;
    /// One run of a rule's condition.
    Episode = domain::Episode;
    /// What one person wants to be told.
    Preferences = domain::Preferences;
    /// One notice to one person.
    Notice = domain::Notice;
    /// A mail that another service asked for.
    Mail = domain::Mail;
}
