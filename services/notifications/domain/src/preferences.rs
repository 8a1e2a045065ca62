//! The history of what one person wants to be told, and how.

use std::collections::BTreeMap;

use hearth_kernel::{Decider, Failure, PartSlot, Parts, Reason, Timestamp};

/// The aggregate.
#[derive(Debug)]
pub struct Preferences;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Heating: of the service class.
    Heating,
    /// Motion in an armed area: of the safety class.
    Motion,
    /// What protects the account: always on.
    Account,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::Heating, Self::Motion, Self::Account];

    /// A stable number, for encodings; 0 is never used.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Heating => 1,
            Self::Motion => 2,
            Self::Account => 3,
        }
    }

    /// The topic with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }

    /// Whether its notices stand in the inbox while everything is muted.
    #[must_use]
    pub const fn breaks_through(self) -> bool {
        matches!(self, Self::Motion | Self::Account)
    }
}

/// A way to reach somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// The inbox in the app.
    Inbox,
    /// Mail, which third parties carry: off until it is chosen.
    Email,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 2] = [Self::Inbox, Self::Email];

    /// A stable number, for encodings; 0 is never used.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inbox => 1,
            Self::Email => 2,
        }
    }

    /// The channel with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }
}

/// The channels that a notice takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// It stands in the inbox.
    pub inbox: bool,
    /// It goes out by mail.
    pub email: bool,
}

impl Channels {
    /// Whether it takes any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.inbox || self.email
    }
}

/// A mute of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute {
    /// When it ends by itself; `None` is not before it is taken back.
    pub until: Option<Timestamp>,
}

/// What the past amounts to. The default is what holds for who never chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What was chosen.
    pub chosen: BTreeMap<(Topic, Channel), bool>,
    /// The mute, over or not.
    pub mute: Option<Mute>,
    /// When everything was muted last: what was made before stays unsent, also when the mute is over.
    pub muted_at: Option<Timestamp>,
}

impl State {
    /// Whether a topic is on, on a channel; mutes aside.
    #[must_use]
    pub fn is_on(&self, topic: Topic, channel: Channel) -> bool {
        let usual = topic == Topic::Account || channel == Channel::Inbox;
        let chosen = self.chosen.get(&(topic, channel));
        chosen.copied().unwrap_or(usual)
    }

    /// The mute that holds now.
    #[must_use]
    pub fn muted(&self, now: Timestamp) -> Option<Mute> {
        self.mute
            .filter(|mute| mute.until.is_none_or(|until| now < until))
    }

    /// Whether a notice that was made then may still go out by mail now.
    #[must_use]
    pub fn may_mail(&self, topic: Topic, made_at: Timestamp, now: Timestamp) -> bool {
        let silenced = self.muted_at.is_some_and(|muted_at| made_at <= muted_at);
        self.channels(topic, now).email && (!silenced || topic == Topic::Account)
    }

    /// The channels that a notice of that topic takes now.
    #[must_use]
    pub fn channels(&self, topic: Topic, now: Timestamp) -> Channels {
        let muted = self.muted(now).is_some();
        let inbox = self.is_on(topic, Channel::Inbox) && (!muted || topic.breaks_through());
        let email = self.is_on(topic, Channel::Email) && (!muted || topic == Topic::Account);
        Channels { inbox, email }
    }
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A topic on or off, on a channel.
    Set {
        /// The topic.
        topic: Topic,
        /// The channel.
        channel: Channel,
        /// On or off.
        on: bool,
    },
    /// Nothing any more, until then or until it is taken back.
    MuteAll(Mute),
    /// To take that back.
    Unmute,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A topic was turned on or off.
    Chosen {
        /// The topic.
        topic: Topic,
        /// The channel.
        channel: Channel,
        /// On or off.
        on: bool,
    },
    /// Everything was muted.
    Muted {
        /// Until when.
        mute: Mute,
        /// When.
        at: Timestamp,
    },
    /// The mute was taken back.
    Unmuted,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// What protects the account stays on.
    TopicIsAlwaysOn,
}

impl From<Rejection> for Failure {
    fn from(Rejection::TopicIsAlwaysOn: Rejection) -> Self {
        Self::new(Reason::INVALID_REQUEST).violation(
            "preference.topic",
            "what protects the account cannot be turned off",
        )
    }
}

impl Decider for Preferences {
    type State = State;
    type Command = Command;
    type Event = Event;
    /// Now.
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        match *command {
            Command::Set {
                topic: Topic::Account,
                on: false,
                ..
            } => Err(Rejection::TopicIsAlwaysOn),
            Command::Set { topic, channel, on } => {
                let changes = state.is_on(topic, channel) != on;
                Ok(Vec::from_iter(changes.then_some(Event::Chosen {
                    topic,
                    channel,
                    on,
                })))
            }
            Command::MuteAll(mute) if state.muted(*now) == Some(mute) => Ok(Vec::new()),
            Command::MuteAll(mute) => Ok(vec![Event::Muted { mute, at: *now }]),
            Command::Unmute if state.mute.is_some() => Ok(vec![Event::Unmuted]),
            Command::Unmute => Ok(Vec::new()),
        }
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match *event {
            Event::Chosen { topic, channel, on } => {
                state.chosen.insert((topic, channel), on);
            }
            Event::Muted { mute, at } => {
                state.mute = Some(mute);
                state.muted_at = Some(at);
            }
            Event::Unmuted => state.mute = None,
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        let off = |((topic, _), on): (&(Topic, Channel), &bool)| *topic == Topic::Account && !on;
        if state.chosen.iter().any(off) {
            return Err("what protects the account is always on");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Defaults, mutes, and the laws.

    use std::time::Duration;

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn inbox_is_on_and_mail_is_off_until_it_is_chosen() {
        let state = State::default();
        for topic in [Topic::Heating, Topic::Motion] {
            let channels = state.channels(topic, NOW);
            assert!(channels.inbox && !channels.email, "{topic:?}");
        }
        let account = state.channels(Topic::Account, NOW);
        assert!(account.inbox && account.email);
    }

    #[test]
    fn a_mute_leaves_safety_in_the_inbox_and_the_account_alone() {
        let on = Event::Chosen {
            topic: Topic::Motion,
            channel: Channel::Email,
            on: true,
        };
        let until = NOW.plus(Duration::from_secs(60));
        let mute = Mute { until: Some(until) };
        let muted = Event::Muted { mute, at: NOW };
        let state = hearth_kernel::decider::fold::<Preferences>(State::default(), [&on, &muted]);
        let motion = state.channels(Topic::Motion, NOW);
        assert!(motion.inbox && !motion.email);
        assert!(!state.channels(Topic::Heating, NOW).any());
        assert!(state.channels(Topic::Account, NOW).email);
        assert!(state.channels(Topic::Motion, until).email, "it ended");
        assert!(
            !state.may_mail(Topic::Motion, NOW, until),
            "what was muted stays unsent"
        );
        assert!(state.may_mail(Topic::Motion, until, until));
    }

    #[test]
    fn what_protects_the_account_stays_on() {
        for channel in Channel::ALL {
            let off = Command::Set {
                topic: Topic::Account,
                channel,
                on: false,
            };
            let refused = Preferences::decide(&State::default(), &off, &NOW);
            assert_eq!(refused, Err(Rejection::TopicIsAlwaysOn));
        }
    }

    fn any_command() -> impl Strategy<Value = Command> {
        prop_oneof![
            (0usize..3, 0usize..2, any::<bool>()).prop_map(|(topic, channel, on)| Command::Set {
                topic: Topic::ALL[topic],
                channel: Channel::ALL[channel],
                on,
            }),
            prop::option::of(0i64..4000).prop_map(|seconds| Command::MuteAll(Mute {
                until: seconds.map(Timestamp::from_seconds),
            })),
            Just(Command::Unmute),
        ]
    }

    proptest! {
        #[test]
        fn laws_hold(script in prop::collection::vec((any_command(), 0i64..3000), 0..40), cut in 0usize..40) {
            let script: Vec<Step<Preferences>> = script.into_iter().map(|(command, seconds)| {
                // A mute that is over already is asked for anew each time.
                let now = Timestamp::from_seconds(seconds);
                let over = matches!(command, Command::MuteAll(Mute { until: Some(until) }) if until <= now);
                Step { command, facts: now, idempotent: !over }
            }).collect();
            let checked = laws::check(&script, cut);
            prop_assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
