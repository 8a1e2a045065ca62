//! The laws, and what a home's devices never are.

use hearth_kernel::Decider;
use hearth_kernel::laws::{Step, check};
use proptest::prelude::*;

use super::*;

fn traits() -> impl Strategy<Value = Traits> {
    let all = Capability::catalogue();
    let some = prop::collection::btree_set((0..all.len()).prop_map(|n| all[n].capability), 0..5);
    (prop::option::of(1u8..3), 0u8..16, some).prop_map(|(area, kind, capabilities)| Traits {
        area: area.map(|n| AreaId::from_bytes([n; 16])),
        kind,
        capabilities,
        hub: None,
    })
}

fn step() -> impl Strategy<Value = (Command, Facts)> {
    let device = |n: u8| DeviceId::from_bytes([n; 16]);
    (0u8..10, 1u8..4, traits()).prop_map(move |(what, n, traits)| {
        let command = match what {
            0..=4 => Command::Register {
                home: HomeId::from_bytes([7; 16]),
                traits,
                name: Part::clear("lamp"),
            },
            5..=7 => Command::Update {
                device: device(n),
                change: Change {
                    area: Some(traits.area),
                    name: None,
                    kind: Some(traits.kind),
                    capabilities: traits.capabilities,
                },
            },
            8 => Command::Remove { device: device(n) },
            _ => Command::End,
        };
        let facts = Facts {
            now: Timestamp::from_seconds(1),
            device: device(n),
        };
        (command, facts)
    })
}

proptest! {
    #[test]
    fn obeys_the_laws(script in prop::collection::vec(step(), 0..24), cut in 0usize..24) {
        let step = |(command, facts)| Step::<Devices> { command, facts, idempotent: true };
        let script: Vec<_> = script.into_iter().map(step).collect();
        let outcome = check::<Devices>(&script, cut).map(|(events, _)| events);
        prop_assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[test]
fn a_device_needs_a_known_capability_and_kind() {
    let facts = Facts {
        now: Timestamp::EPOCH,
        device: DeviceId::from_bytes([1; 16]),
    };
    let register = |kind, capabilities: &[Capability]| {
        let traits = Traits {
            area: None,
            kind,
            capabilities: capabilities.iter().copied().collect(),
            hub: None,
        };
        let home = HomeId::from_bytes([7; 16]);
        let command = Command::Register {
            home,
            traits,
            name: Part::clear("x"),
        };
        Devices::decide(&State::default(), &command, &facts).map(|events| events.len())
    };
    assert_eq!(register(1, &[Capability::MOTION]), Ok(1));
    assert_eq!(register(1, &[]), Err(Rejection::Malformed("capabilities")));
    assert_eq!(
        register(1, &[Capability::from_stored(9999)]),
        Err(Rejection::Malformed("capabilities"))
    );
    assert_eq!(
        register(14, &[Capability::MOTION]),
        Err(Rejection::Malformed("kind"))
    );
}
