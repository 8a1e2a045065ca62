//! The history of one notice to one person: made, carried by its channels, read, forgotten.

use hearth_kernel::{
    AccountId, Decider, EpisodeId, Failure, HomeId, MembershipId, Owner, Part, PartSlot, Parts,
    Purpose, Reason, RuleId, Timestamp,
};

use crate::delivery::{Delivery, Outcome, Tried};
use crate::limits::NOTICE_EXPIRES;
use crate::preferences::{Channels, Topic};

/// The aggregate.
#[derive(Debug)]
pub struct Notice;

/// Where a notice stands in somebody's inbox: in every event, because its rows are found by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose inbox.
    pub account: AccountId,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Where a notice comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The home it is about.
    pub home: HomeId,
    /// Whom it is for, as the home knows her.
    pub membership: MembershipId,
    /// The rule that made it.
    pub rule: RuleId,
    /// The episode that it tells of.
    pub episode: EpisodeId,
    /// What it is about.
    pub topic: Topic,
}

/// A notice that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Whose it is, and when it was made.
    pub place: Place,
    /// Where it comes from.
    pub source: Source,
    /// The channels that were on then.
    pub channels: Channels,
    /// Device, area and time.
    pub content: Part,
}

/// What the past amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The notice; `None` before it was made and after it was forgotten.
    pub made: Option<Made>,
    /// The end of its episode, once there is one.
    pub ended: Option<Part>,
    /// Whether it was read.
    pub read: bool,
    /// How its mail fares.
    pub email: Delivery,
    /// Whether its time was over.
    pub forgotten: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To make it.
    Make {
        /// Whose it is.
        account: AccountId,
        /// Where it comes from.
        source: Source,
        /// The channels that are on.
        channels: Channels,
        /// Device, area and time.
        content: Part,
    },
    /// To note the end of its episode.
    NoteEnd {
        /// The time.
        content: Part,
    },
    /// To note what a try to mail it came to.
    NoteTry {
        /// Which try.
        attempt: u8,
        /// What came of it.
        tried: Tried,
    },
    /// To mark it as read.
    MarkRead {
        /// Who read it.
        account: AccountId,
    },
    /// To forget it: its time is over.
    Forget,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was made.
    Made(Made),
    /// Its episode is over.
    EpisodeEnded {
        /// Whose it is.
        place: Place,
        /// The time.
        content: Part,
    },
    /// A try to mail it failed; another comes.
    TryFailed {
        /// Whose it is.
        place: Place,
        /// Which try comes next.
        attempt: u8,
        /// When.
        due: Timestamp,
    },
    /// Its mail is done.
    MailDone {
        /// Whose it is.
        place: Place,
        /// Where it comes from.
        source: Source,
        /// What came of it.
        outcome: Outcome,
    },
    /// It was read.
    Read {
        /// Whose it is.
        place: Place,
    },
    /// Its time was over.
    Forgotten {
        /// Whose it was.
        place: Place,
    },
}

impl Event {
    /// Whose notice, and when it was made.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self {
            Self::Made(made) => made.place,
            Self::EpisodeEnded { place, .. }
            | Self::TryFailed { place, .. }
            | Self::MailDone { place, .. }
            | Self::Read { place }
            | Self::Forgotten { place } => *place,
        }
    }
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        let owner = Owner::Account(self.place().account);
        match self {
            Self::Made(Made { content, .. }) | Self::EpisodeEnded { content, .. } => {
                vec![PartSlot {
                    owner,
                    purpose: Purpose::Inbox,
                    part: content,
                }]
            }
            _ => Vec::new(),
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is none, or it is somebody else's.
    IsAbsent,
    /// It takes no channel.
    IsUnwanted,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::new(match rejection {
            Rejection::IsAbsent => Reason::NOT_FOUND,
            Rejection::IsUnwanted => Reason::INTERNAL,
        })
    }
}

impl Decider for Notice {
    type State = State;
    type Command = Command;
    type Event = Event;
    /// Now.
    type Facts = Timestamp;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Rejection> {
        if state.forgotten {
            return Ok(Vec::new());
        }
        let Some(made) = &state.made else {
            return make(command, *now);
        };
        let place = made.place;
        Ok(match command {
            Command::NoteEnd { content } if state.ended.is_none() => vec![Event::EpisodeEnded {
                place,
                content: content.clone(),
            }],
            Command::NoteTry { attempt, tried } => {
                let expires_at = place.made_at.plus(NOTICE_EXPIRES);
                let after = state.email.after(*attempt, *tried, *now, expires_at);
                Vec::from_iter(after.and_then(|after| tried_event(made, after)))
            }
            Command::MarkRead { account } if *account != place.account => {
                return Err(Rejection::IsAbsent);
            }
            Command::MarkRead { .. } if !state.read => vec![Event::Read { place }],
            Command::Forget => vec![Event::Forgotten { place }],
            // It stands already.
            Command::Make { .. } | Command::NoteEnd { .. } | Command::MarkRead { .. } => Vec::new(),
        })
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::Made(made) => {
                state.email = match made.channels.email {
                    true => Delivery::begin(made.place.made_at),
                    false => Delivery::Off,
                };
                state.made = Some(made.clone());
            }
            Event::EpisodeEnded { content, .. } => state.ended = Some(content.clone()),
            Event::TryFailed { attempt, due, .. } => {
                state.email = Delivery::Queued {
                    attempt: *attempt,
                    due: *due,
                };
            }
            Event::MailDone { outcome, .. } => state.email = Delivery::Done(*outcome),
            Event::Read { .. } => state.read = true,
            Event::Forgotten { .. } => {
                return State {
                    forgotten: true,
                    ..State::default()
                };
            }
        }
        state
    }

    fn invariant(state: &State) -> Result<(), &'static str> {
        if state.made.is_none() && (state.read || state.email != Delivery::Off) {
            return Err("nothing is read or sent before it is made");
        }
        if state.made.as_ref().is_some_and(|made| !made.channels.any()) {
            return Err("a notice takes a channel");
        }
        Ok(())
    }
}

fn make(command: &Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Make { channels, .. } if !channels.any() => Err(Rejection::IsUnwanted),
        Command::Make {
            account,
            source,
            channels,
            content,
        } => Ok(vec![Event::Made(Made {
            place: Place {
                account: *account,
                made_at: now,
            },
            source: *source,
            channels: *channels,
            content: content.clone(),
        })]),
        Command::MarkRead { .. } => Err(Rejection::IsAbsent),
        // A member who was told nothing hears of no end.
        Command::NoteEnd { .. } | Command::NoteTry { .. } | Command::Forget => Ok(Vec::new()),
    }
}

fn tried_event(made: &Made, after: Delivery) -> Option<Event> {
    let place = made.place;
    match after {
        Delivery::Off => None,
        Delivery::Queued { attempt, due } => Some(Event::TryFailed {
            place,
            attempt,
            due,
        }),
        Delivery::Done(outcome) => Some(Event::MailDone {
            place,
            source: made.source,
            outcome,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hearth_kernel::laws::{self, Step};
    use proptest::prelude::*;

    use super::*;

    const ANNA: AccountId = AccountId::from_bytes([1; 16]);
    const BEN: AccountId = AccountId::from_bytes([2; 16]);

    fn make(inbox: bool, email: bool) -> Command {
        Command::Make {
            account: ANNA,
            source: Source {
                home: HomeId::from_bytes([3; 16]),
                membership: MembershipId::from_bytes([4; 16]),
                rule: RuleId::from_bytes([5; 16]),
                episode: EpisodeId::from_bytes([6; 16]),
                topic: Topic::Motion,
            },
            channels: Channels { inbox, email },
            content: Part::clear("content"),
        }
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let tried = [
            Tried::Accepted,
            Tried::Refused,
            Tried::Failed,
            Tried::Failed,
            Tried::Unwanted,
        ];
        prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(inbox, email)| make(inbox, email)),
            Just(Command::NoteEnd {
                content: Part::clear("end")
            }),
            (0u8..8, 0usize..5).prop_map(move |(attempt, n)| Command::NoteTry {
                attempt,
                tried: tried[n]
            }),
            any::<bool>().prop_map(|anna| Command::MarkRead {
                account: if anna { ANNA } else { BEN }
            }),
            Just(Command::Forget),
        ]
    }

    #[test]
    fn nobody_reads_another_persons_notice() {
        let made = Notice::decide(&State::default(), &make(true, false), &Timestamp::EPOCH);
        let state = hearth_kernel::decider::fold::<Notice>(State::default(), &made.unwrap());
        let read = Command::MarkRead { account: BEN };
        assert_eq!(
            Notice::decide(&state, &read, &Timestamp::EPOCH),
            Err(Rejection::IsAbsent)
        );
    }

    proptest! {
        #[test]
        fn laws_hold_and_its_mail_is_done_once(
            script in prop::collection::vec((any_command(), 0u64..4000), 0..40),
            cut in 0usize..40,
        ) {
            let mut now = Timestamp::from_seconds(1_000);
            let first = std::iter::once((make(true, true), 0));
            let script: Vec<Step<Notice>> = first.chain(script).map(|(command, seconds)| {
                now = now.plus(Duration::from_secs(seconds));
                Step { command, facts: now, idempotent: true }
            }).collect();
            let (events, _) = laws::check(&script, cut).map_err(|broken| TestCaseError::fail(format!("{broken:?}")))?;
            let done = events.iter().filter(|event| matches!(event, Event::MailDone { .. })).count();
            let made = events.iter().filter(|event| matches!(event, Event::Made(_))).count();
            prop_assert!(done <= 1 && made <= 1);
        }
    }
}
