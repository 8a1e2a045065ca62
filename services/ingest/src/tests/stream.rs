//! The stream of a hub: proof, acks, refusals, resuming, former claims, and knowledge that is too old.

use std::time::Duration;

use hearth_api::ingest::v1::{ingest_response, reading};
use hearth_ingest_domain::claim;
use hearth_ingest_domain::window::CREDIT;
use hearth_kernel::{Capability, HubStreamId, Reason};
use hearth_rpc::failure_of;

use super::kit::{HALL, Line, METER, World, call, power, reading};
use crate::aggregates::Claim;
use crate::batch::WHOLE_BATCH;
use crate::observed::Observed;

/// What a test does to a hello.
type Spoil = Box<dyn FnOnce(&mut hearth_api::ingest::v1::Hello)>;

#[tokio::test]
async fn what_is_acked_is_there_after_a_crash() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let batches: Vec<_> = (1..=20u32)
        .map(|n| hub.batch(u64::from(n), vec![power(i64::from(100 - n), f64::from(n))]))
        .collect();
    world.send(&hub, &batches).await;
    let world = world.crash().await;
    let line = world.connect(&hub).await.unwrap();
    assert_eq!(line.welcome.positions[0].durable_through, 20);
    let found = world.raw(METER, Capability::PLUG_POWER).await;
    let values: Vec<_> = found.into_iter().map(|it| it.1).collect();
    let expected: Vec<_> = (1..=20).map(|n| Observed::Number(f64::from(n))).collect();
    assert_eq!(values, expected);
}

#[tokio::test]
async fn less_credit_is_told_by_the_next_ack_and_takes_back_none_that_was_used() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    assert_eq!(line.welcome.credit, CREDIT);
    let granted = &world.running.app.core.credit;
    granted.store(2, std::sync::atomic::Ordering::Relaxed);
    // Sent by the credit of before.
    for sequence in 1..=u64::from(CREDIT) {
        line.send(hub.batch(sequence, vec![])).await;
    }
    line.acked(u64::from(CREDIT)).await;
    assert!(line.acks.iter().all(|ack| ack.credit == 2));
    assert_eq!(line.refused(), []);
    assert_eq!(world.connect(&hub).await.unwrap().welcome.credit, 2);
}

#[tokio::test]
async fn acks_are_cumulative_and_name_what_was_refused() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    line.send(hub.batch(2, vec![power(1, 2e9)])).await;
    line.send(hub.batch(3, vec![])).await;
    line.send(hub.batch(600, vec![power(1, 1.0)])).await;
    line.send(hub.batch(1, vec![power(2, 5.0), power(3 * 365 * 86_400, 5.0)]))
        .await;
    line.acked(3).await;
    let mut refused = line.refused();
    refused.sort();
    let expected = [
        (1, 1, Reason::EXPIRED.name().to_owned()),
        (2, 0, Reason::VALUE_OUT_OF_RANGE.name().to_owned()),
        (
            600,
            WHOLE_BATCH,
            Reason::SEQUENCE_BEYOND_WINDOW.name().to_owned(),
        ),
    ];
    assert_eq!(refused, expected);
    assert!(line.acks.is_sorted_by_key(|ack| ack.durable_through));
    // A batch that left no reading counts as stored too, after a crash as well.
    let world = world.crash().await;
    let line = world.connect(&hub).await.unwrap();
    assert_eq!(line.welcome.positions[0].durable_through, 3);
}

#[tokio::test]
async fn a_hub_proves_itself_or_learns_nothing() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let other = world.hub(2).await;
    let reason = |result: Result<Line, tonic::Status>| match result {
        Ok(_) => panic!("a stream was opened"),
        Err(status) => failure_of(&status).reason,
    };
    let spoiled: Vec<Spoil> = vec![
        Box::new(|it| it.signature = vec![0; 64].into()),
        Box::new(|it| it.nonce = vec![1; 32].into()),
        Box::new(|it| it.hub_id = vec![9; 16].into()),
        Box::new(|it| it.claim_id = vec![9; 16].into()),
        Box::new(|it| it.claim_id = bytes::Bytes::new()),
        Box::new(move |it| it.claim_id = bytes::Bytes::copy_from_slice(other.claim.as_bytes())),
    ];
    for spoil in spoiled {
        let opened = Line::open(&world, &hub, &[], spoil).await;
        assert_eq!(reason(opened), Reason::HUB_NOT_PROVED);
    }
    let many: Vec<HubStreamId> = (0..17u8)
        .map(|n| HubStreamId::from_bytes([n; 16]))
        .collect();
    let opened = Line::open(&world, &hub, &many, |_| {}).await;
    assert_eq!(reason(opened), Reason::INVALID_REQUEST);
}

#[tokio::test]
async fn a_claim_that_ends_ends_its_stream_and_opens_none() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    let facts = claim::Facts {
        now: super::kit::NOW,
    };
    let end = claim::Command::End;
    let request = call();
    let ended = world
        .engine
        .execute::<Claim, _>(&request, hub.claim, &end, async move |_| Ok(facts));
    ended.await.unwrap();
    let status = loop {
        match line.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(failure_of(&status).reason, Reason::CLAIM_ENDED);
    let again = world.connect(&hub).await.map(|_| ()).unwrap_err();
    assert_eq!(failure_of(&again).reason, Reason::CLAIM_ENDED);
}

#[tokio::test]
async fn a_newer_stream_takes_the_place_of_the_older() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut older = world.connect(&hub).await.unwrap();
    let mut newer = world.connect(&hub).await.unwrap();
    assert!(older.next().await.unwrap().is_none());
    newer.send(hub.batch(1, vec![power(1, 1.0)])).await;
    newer.acked(1).await;
}

#[tokio::test]
async fn a_device_that_was_just_registered_is_known() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    let facts = hearth_ingest_domain::devices::Facts {
        now: super::kit::NOW,
        device: hearth_kernel::DeviceId::from_bytes([0x77; 16]),
    };
    let command = hearth_ingest_domain::devices::Command::Register {
        home: super::kit::HOME,
        traits: hearth_ingest_domain::devices::Traits {
            area: None,
            kind: 1,
            capabilities: [Capability::MOTION].into(),
            hub: None,
        },
        name: hearth_kernel::Part::clear("new"),
    };
    let engine = &world.engine;
    let home = super::kit::HOME;
    let request = call();
    let registered = engine.execute::<crate::aggregates::Devices, _>(
        &request,
        home,
        &command,
        async move |_| Ok(facts),
    );
    registered.await.unwrap();
    let seen = reading(
        facts.device,
        Capability::MOTION,
        1,
        reading::Value::Flag(true),
    );
    line.send(hub.batch(1, vec![seen])).await;
    line.acked(1).await;
    assert_eq!(line.refused(), []);
}

#[tokio::test]
async fn the_newest_observation_wins_in_any_order_and_the_future_never() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mode = |ago, word: &str| {
        reading(
            HALL,
            Capability::HEATING_MODE,
            ago,
            reading::Value::Text(word.into()),
        )
    };
    world
        .send(
            &hub,
            &[
                hub.batch(1, vec![power(10, 10.0), mode(5, "eco")]),
                hub.batch(
                    2,
                    vec![power(20, 20.0), power(-3_600, 99.0), mode(50, "heat")],
                ),
                hub.batch(3, vec![power(5, 5.0)]),
            ],
        )
        .await;
    let newest = |found: Vec<crate::observed::Reading>| -> Vec<Observed> {
        found.into_iter().map(|it| it.value).collect()
    };
    let expected = [Observed::Number(5.0), Observed::Text("eco".into())];
    let sight = world.sight().await;
    let found = world
        .running
        .app
        .latest(&sight, super::kit::HOME, &[])
        .await
        .unwrap();
    assert_eq!(newest(found), expected);
    let world = world.crash().await;
    let found = world
        .running
        .app
        .latest(&sight, super::kit::HOME, &[])
        .await
        .unwrap();
    assert_eq!(newest(found), expected, "rows or frames bring them back");
}

#[tokio::test(start_paused = true)]
async fn doubt_stops_reading_and_loses_nothing() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    *world.told.stale.lock().unwrap() = true;
    // Two looks, on tokio's own clock, which moves when nothing else does.
    let looks = tokio::time::timeout(Duration::from_millis(2_100), line.next()).await;
    assert!(looks.is_err());
    line.send(hub.batch(1, vec![power(1, 1.0)])).await;
    let silent = tokio::time::timeout(Duration::from_millis(300), line.next()).await;
    assert!(silent.is_err(), "nothing is answered in doubt: {silent:?}");
    let refused = world
        .connect(&world.hub(3).await)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(failure_of(&refused).reason, Reason::STALE_KNOWLEDGE);
    *world.told.stale.lock().unwrap() = false;
    line.acked(1).await;
}

#[tokio::test]
async fn a_hub_may_close_and_hears_of_what_is_under_way() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    for n in 1..=50 {
        line.send(hub.batch(n, vec![power(1, 1.0)])).await;
    }
    line.close();
    let mut last = 0;
    while let Some(frame) = line.next().await.unwrap() {
        if let ingest_response::Frame::Ack(ack) = frame {
            last = ack.durable_through;
        }
    }
    assert_eq!(last, 50);
}
