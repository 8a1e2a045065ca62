//! Every event and state comes back as it went in.

use hearth_engine::Aggregate;
use hearth_ingest_domain::{claim, devices, hub, pairing};
use hearth_kernel::laws::check_codec;
use hearth_kernel::{
    AreaId, Capability, ClaimId, DeviceId, HomeId, HubId, Origin, Owner, Part, Purpose, Sealed,
    Timestamp,
};

use crate::aggregates::{Claim, Devices, Hub, Pairing};

const HOME: HomeId = HomeId::from_bytes([1; 16]);

fn name() -> Part {
    Part::Sealed(Sealed {
        owner: Owner::Home(HOME),
        purpose: Purpose::Home,
        origin: Origin {
            aggregate: Claim::reference(uuid::Uuid::from_bytes([2; 16])),
            version: 3,
            event: 0,
            part: 0,
        },
        bytes: std::sync::Arc::from([7u8; 50].as_slice()),
    })
}

/// The public part of an event comes back; parts are the engine's.
fn event<A: Aggregate>(event: &A::Event) {
    let encoded = A::encode_event(event);
    let back = A::decode_event(encoded.name, encoded.major, &encoded.public).unwrap();
    assert_eq!(A::encode_event(&back), encoded);
    assert!(A::decode_event(encoded.name, 2, &encoded.public).is_err());
    let mut back = back;
    let mut original = event.clone();
    use hearth_kernel::Parts;
    assert_eq!(back.parts().len(), original.parts().len());
}

fn state<A: Aggregate>(state: &A::State) {
    check_codec(state, A::encode_state, |bytes| {
        A::decode_state(A::STATE_SCHEMA, bytes)
    })
    .unwrap();
    assert!(A::decode_state(A::STATE_SCHEMA, &[0xff; 9]).is_err());
}

#[test]
fn claims() {
    let made = Box::new(claim::Made {
        claim: ClaimId::from_bytes([2; 16]),
        hub: HubId::from_bytes([3; 16]),
        home: HOME,
        public_key: [4; 32],
        name: name(),
        model: name(),
        claimed_at: Timestamp::from_seconds(5),
    });
    event::<Claim>(&claim::Event::HubClaimed(made.clone()));
    event::<Claim>(&claim::Event::HubRevoked {
        claim: made.claim,
        hub: made.hub,
        home: HOME,
        at: Timestamp::from_seconds(6),
    });
    state::<Claim>(&claim::State::Absent);
    state::<Claim>(&claim::State::Active(made.clone()));
    state::<Claim>(&claim::State::Ended(made));
}

#[test]
fn devices() {
    let device = DeviceId::from_bytes([5; 16]);
    let traits = devices::Traits {
        area: Some(AreaId::from_bytes([6; 16])),
        kind: 3,
        capabilities: [Capability::MOTION, Capability::BATTERY_LEVEL].into(),
        hub: None,
    };
    event::<Devices>(&devices::Event::DeviceRegistered {
        home: HOME,
        device,
        traits: traits.clone(),
        name: name(),
        at: Timestamp::from_seconds(1),
    });
    for name in [None, Some(name())] {
        let traits = traits.clone();
        event::<Devices>(&devices::Event::DeviceUpdated {
            home: HOME,
            device,
            traits,
            name,
        });
    }
    event::<Devices>(&devices::Event::DeviceRemoved { home: HOME, device });
    event::<Devices>(&devices::Event::DevicesEnded {
        home: HOME,
        devices: vec![device, device],
    });
    state::<Devices>(&devices::State::default());
    let known = devices::Device {
        traits,
        name: name(),
        registered_at: Timestamp::from_seconds(1),
        ordinal: 0,
    };
    state::<Devices>(&devices::State {
        home: HOME,
        devices: [(device, known)].into(),
        registered: 1,
        ended: false,
    });
}

#[test]
fn hubs_and_pairings() {
    let current = hub::Current {
        claim: ClaimId::from_bytes([2; 16]),
        home: HOME,
    };
    event::<Hub>(&hub::Event::Taken(current));
    event::<Hub>(&hub::Event::Released);
    state::<Hub>(&hub::State::default());
    state::<Hub>(&hub::State {
        current: Some(current),
        former: Some(ClaimId::from_bytes([3; 16])),
    });
    let asked = pairing::Asked {
        hub: HubId::from_bytes([3; 16]),
        public_key: [4; 32],
        model: "box-1".into(),
        expires_at: Timestamp::from_seconds(600),
    };
    let taken = pairing::Taken {
        home: HOME,
        claim: current.claim,
    };
    event::<Pairing>(&pairing::Event::Begun(asked.clone()));
    event::<Pairing>(&pairing::Event::Taken(taken));
    state::<Pairing>(&pairing::State::default());
    state::<Pairing>(&pairing::State {
        asked: Some(asked),
        taken: Some(taken),
    });
}
