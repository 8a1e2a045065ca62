//! What is stored comes back as it was, what nobody knows is refused, and every byte string ever released still decodes.
//!
//! `golden/v1.txt` is frozen: lines are added, never changed. A new event is added to the samples, and the lines that
//! the failing test prints go to the end of the file.

use std::sync::Arc;
use std::time::Duration;

use hearth_engine::{Aggregate, CodecError};
use hearth_kernel::{
    AccountId, AggregateRef, AreaId, ClaimId, DeviceId, EpisodeId, HomeId, MembershipId, Origin,
    Owner, Part, Parts, Purpose, RuleId, Sealed, Service, Timestamp,
};
use hearth_notifications_domain::notice::{self, Made, Place, Source};
use hearth_notifications_domain::preferences::{self, Channel, Channels, Mute, Topic};
use hearth_notifications_domain::rules::{self, Arming, Condition};
use hearth_notifications_domain::watch::{Flag, Known, Open, Progress, Subject, Watch};
use hearth_notifications_domain::{Outcome, episode, mail};

use crate::aggregates::{Episode, Mail, Notice, Preferences, Rules};

const NOW: Timestamp = Timestamp::from_micros(1_234_567);

fn sealed() -> Part {
    Part::Sealed(Sealed {
        owner: Owner::Account(AccountId::from_bytes([1; 16])),
        purpose: Purpose::Inbox,
        origin: Origin {
            aggregate: AggregateRef::new(
                Service::Notifications,
                "notice",
                HomeId::from_bytes([2; 16]),
            ),
            version: 1,
            event: 0,
            part: 0,
        },
        bytes: Arc::from([7u8; 50].as_slice()),
    })
}

const GOLDEN: &str = include_str!("golden/v1.txt");

/// Bytes as a word: an empty message is a dash.
fn word(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".to_owned(),
        bytes => hex::encode(bytes),
    }
}

fn of_word(word: &str) -> Vec<u8> {
    match word {
        "-" => Vec::new(),
        word => hex::decode(word).expect("hexadecimal"),
    }
}

/// Decodes a line of the corpus.
fn decode<A: Aggregate>(words: &[&str]) {
    match words {
        ["event", name, major, bytes] => {
            let major = major.parse().expect("a number");
            A::decode_event(name, major, &of_word(bytes)).expect("an event");
        }
        ["state", schema, bytes] => {
            let schema = schema.parse().expect("a number");
            A::decode_state(schema, &of_word(bytes)).expect("a state");
        }
        other => panic!("not a line of the corpus: {other:?}"),
    }
}

#[test]
fn whatever_was_released_decodes() {
    for line in GOLDEN.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            Rules::KIND => decode::<Rules>(&words[1..]),
            Episode::KIND => decode::<Episode>(&words[1..]),
            Preferences::KIND => decode::<Preferences>(&words[1..]),
            Notice::KIND => decode::<Notice>(&words[1..]),
            Mail::KIND => decode::<Mail>(&words[1..]),
            other => panic!("no such kind: {other}"),
        }
    }
}

/// Events come back without their parts, which the engine fills in; and the state they fold to comes back whole.
fn check<A: Aggregate>(events: Vec<A::Event>) {
    let mut state = A::State::default();
    let mut missing = String::new();
    let mut line = |line: String| {
        if !GOLDEN.lines().any(|known| known == line) {
            missing += &format!("\n{line}");
        }
    };
    for mut event in events {
        state = A::evolve(state, &event);
        let stored = A::encode_event(&event);
        let mut back = A::decode_event(stored.name, stored.major, &stored.public).expect("decodes");
        for (slot, from) in back.parts().into_iter().zip(event.parts()) {
            *slot.part = from.part.clone();
        }
        assert_eq!(back, event, "{}", stored.name);
        let public = word(&stored.public);
        line(format!(
            "{} event {} {} {public}",
            A::KIND,
            stored.name,
            stored.major
        ));
        let bytes = A::encode_state(&state);
        line(format!(
            "{} state {} {}",
            A::KIND,
            A::STATE_SCHEMA,
            word(&bytes)
        ));
        assert_eq!(
            A::decode_state(A::STATE_SCHEMA, &bytes).expect("decodes"),
            state
        );
        assert!(A::decode_state(A::STATE_SCHEMA + 1, &bytes).is_err());
        let newer = A::decode_event(stored.name, 2, &stored.public);
        assert!(matches!(newer, Err(CodecError::UnknownEvent { .. })));
    }
    assert!(A::decode_event("never_heard_of", 1, &[]).is_err());
    assert!(missing.is_empty(), "not in the corpus:{missing}");
}

#[test]
fn rules_come_back() {
    let rule = RuleId::from_bytes([3; 16]);
    let put = |condition| rules::Event::RulePut {
        rule,
        enabled: true,
        condition,
        at: NOW,
    };
    let arming = |arming| rules::Event::ArmingChanged {
        arming,
        by: MembershipId::from_bytes([4; 16]),
        at: NOW,
    };
    check::<Rules>(vec![
        put(Condition::HeatingLeftOn {
            devices: [DeviceId::from_bytes([5; 16])].into(),
            areas: [AreaId::from_bytes([6; 16])].into(),
            after: Duration::from_secs(1800),
            nobody_present: true,
        }),
        arming(Arming {
            whole_home: Some(NOW),
            areas: [].into(),
        }),
        arming(Arming {
            whole_home: None,
            areas: [(AreaId::from_bytes([6; 16]), NOW)].into(),
        }),
        rules::Event::RuleRemoved { rule, at: NOW },
        put(Condition::MotionWhileArmed {
            areas: [].into(),
            cooldown: Duration::from_secs(300),
        }),
    ]);
}

#[test]
fn episodes_come_back() {
    let of = episode::Of {
        home: HomeId::from_bytes([1; 16]),
        rule: RuleId::from_bytes([2; 16]),
        topic: Topic::Motion,
    };
    let content = sealed();
    check::<Episode>(vec![
        episode::Event::Began {
            of,
            content: content.clone(),
            at: NOW,
        },
        episode::Event::Ended {
            of,
            content,
            at: NOW,
        },
    ]);
}

#[test]
fn preferences_come_back() {
    let mute = |until| preferences::Event::Muted {
        mute: Mute { until },
        at: NOW,
    };
    check::<Preferences>(vec![
        preferences::Event::Chosen {
            topic: Topic::Heating,
            channel: Channel::Email,
            on: true,
        },
        mute(Some(NOW)),
        mute(None),
        preferences::Event::Unmuted,
    ]);
}

#[test]
fn notices_come_back() {
    let place = Place {
        account: AccountId::from_bytes([1; 16]),
        made_at: NOW,
    };
    let source = Source {
        home: HomeId::from_bytes([2; 16]),
        membership: MembershipId::from_bytes([3; 16]),
        rule: RuleId::from_bytes([4; 16]),
        episode: EpisodeId::from_bytes([5; 16]),
        topic: Topic::Heating,
    };
    let made = Made {
        place,
        source,
        channels: Channels {
            inbox: true,
            email: true,
        },
        content: sealed(),
    };
    let row = super::inbox_row(&made);
    assert_eq!(super::made_of_row(&row).expect("a row"), made);
    check::<Notice>(vec![
        notice::Event::Made(made),
        notice::Event::TryFailed {
            place,
            attempt: 1,
            due: NOW,
        },
        notice::Event::EpisodeEnded {
            place,
            content: sealed(),
        },
        notice::Event::MailDone {
            place,
            source,
            outcome: Outcome::GivenUp,
        },
        notice::Event::Read { place },
        notice::Event::Forgotten { place },
    ]);
}

#[test]
fn mails_come_back() {
    let account = AccountId::from_bytes([1; 16]);
    let mail = mail::Taken {
        account,
        sealed: Arc::from([1u8, 2, 3].as_slice()),
        expires_at: NOW,
    };
    check::<Mail>(vec![
        mail::Event::Taken { mail, at: NOW },
        mail::Event::TryFailed {
            attempt: 3,
            due: NOW,
        },
        mail::Event::Done {
            account,
            outcome: Outcome::Dropped,
        },
    ]);
}

#[test]
fn a_watch_comes_back() {
    let claim = ClaimId::from_bytes([1; 16]);
    let device = DeviceId::from_bytes([2; 16]);
    let rule = RuleId::from_bytes([3; 16]);
    let known = Known {
        on: true,
        since: NOW,
        at: NOW,
        claim,
    };
    let open = Open {
        began_at: NOW,
        silent: true,
        broken: Some(NOW),
    };
    let progress = Progress {
        frontier: NOW,
        received_at: NOW,
        late: true,
    };
    let subjects = [
        Subject::Device(device),
        Subject::Area(None),
        Subject::Area(Some(AreaId::from_bytes([4; 16]))),
    ];
    let watch = Watch {
        known: Flag::ALL.map(|flag| ((device, flag), known)).into(),
        claims: [(claim, progress)].into(),
        open: subjects.map(|subject| ((rule, subject), open)).into(),
    };
    let back = super::watch::decode(&super::watch::encode(&watch));
    assert_eq!(back.expect("decodes"), watch);
}
