//! Slots, budgets, expiry and the codec of a ring.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const WEEKLY: Purpose = Purpose::Telemetry(RetentionClass::Days7);

fn day(number: i64) -> Timestamp {
    Timestamp::from_seconds(number * 86_400)
}

#[test]
fn a_slot_of_seven_days_is_one_day_and_lives_a_period_longer() {
    let mut ring = KeyRing::new().unwrap();
    let first = ring.draw(WEEKLY, day(20_000)).unwrap();
    assert_eq!(ring.draw(WEEKLY, day(20_000).plus(DAY / 2)).unwrap(), first);
    let second = ring.draw(WEEKLY, day(20_001)).unwrap();
    assert_ne!(first, second);

    assert!(!ring.expire(Timestamp::from_micros(day(20_008).micros() - 1)));
    assert!(ring.expire(day(20_008)));
    assert!(ring.find(WEEKLY, first).is_none());
    assert!(ring.expired(WEEKLY, first));
    assert!(!ring.expired(WEEKLY, second));
    assert!(!ring.expired(WEEKLY, KeyId::from_bytes([5; 16])));
    assert!(!ring.expired(Purpose::Signals, first));
    assert_eq!(ring.next_expiry(), day(20_009));
}

#[test]
fn a_clock_set_back_never_brings_a_destroyed_slot_back() {
    let mut ring = KeyRing::new().unwrap();
    let first = ring.draw(WEEKLY, day(20_000)).unwrap();
    assert_eq!(ring.draw(WEEKLY, day(19_990)).unwrap(), first);
    ring.expire(day(20_100));
    assert!(ring.draw(WEEKLY, day(20_000)).is_err());
    assert!(ring.draw(WEEKLY, day(20_001)).is_ok());
}

#[test]
fn a_generation_is_replaced_when_its_blocks_are_drawn_and_still_opens() {
    let mut ring = KeyRing::new().unwrap();
    let first = ring.draw(Purpose::Profile, day(1)).unwrap();
    for _ in 1..MAX_BLOCKS {
        assert_eq!(ring.draw(Purpose::Profile, day(2)).unwrap(), first);
    }
    let second = ring.draw(Purpose::Profile, day(3)).unwrap();
    assert_ne!(first, second);
    assert!(ring.find(Purpose::Profile, first).is_some());
    assert_eq!(ring.first(Purpose::Profile).unwrap().id, first);
    assert_eq!(ring.current(Purpose::Profile, day(3)).unwrap().id, second);
    assert!(!ring.expire(Timestamp::MAX.minus(DAY)));
}

#[test]
fn destroying_leaves_nothing_of_a_purpose() {
    let mut ring = KeyRing::new().unwrap();
    let gone = ring.draw(WEEKLY, day(1)).unwrap();
    ring.draw(Purpose::Home, day(1)).unwrap();
    assert!(ring.destroy(&[WEEKLY]));
    assert!(!ring.destroy(&[WEEKLY]));
    assert!(ring.find(WEEKLY, gone).is_none());
    assert!(ring.destroy(&[Purpose::Home]));
    assert!(ring.is_empty());
}

proptest! {
    #[test]
    fn decode_takes_what_encode_wrote_and_refuses_the_rest(
        draws in proptest::collection::vec((0usize..4, 0i64..60), 0..40),
        noise in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let purposes = [WEEKLY, Purpose::Profile, Purpose::Inbox, Purpose::Signals];
        let mut ring = KeyRing::new().unwrap();
        let mut ids = Vec::new();
        for (purpose, at) in draws {
            if let Ok(id) = ring.draw(purposes[purpose], day(at)) {
                ids.push((purposes[purpose], id));
            }
            ring.expire(day(at));
        }
        let bytes = ring.encode();
        let back = KeyRing::decode(&bytes).unwrap();
        prop_assert_eq!(&bytes, &back.encode());
        for (purpose, id) in ids {
            // Every id ever given is alive or known to have expired.
            prop_assert!(back.find(purpose, id).is_some() != back.expired(purpose, id));
        }
        prop_assert!(KeyRing::decode(&bytes[..bytes.len() - 1]).is_none());
        prop_assert!(KeyRing::decode(&noise).is_none() || noise.first() == Some(&1));
    }
}
