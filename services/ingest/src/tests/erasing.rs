//! An erased home leaves bare ids in tombstones and nothing else.

use hearth_engine::erasure::{Order, Stage};
use hearth_kernel::{Capability, ErasureId, Owner};
use hearth_ports::{Documents, Range, Read, Series};

use super::kit::{HOME, METER, World, power};
use crate::aggregates::{Claim, Devices, Hub};
use crate::{MODULE, erasers, resume};

fn order() -> Order {
    Order {
        erasure: ErasureId::from_bytes([1; 16]),
        stage: Stage::Purging,
        owners: vec![Owner::Home(HOME)],
        memberships: Vec::new(),
    }
}

#[tokio::test]
async fn every_store_is_empty_after_its_eraser() {
    let world = World::new().await;
    let hub = world.hub(1).await;
    world
        .send(
            &hub,
            &[
                hub.batch(1, vec![power(3, 1.0)]),
                hub.batch(2, vec![power(90_000, 1.0)]),
            ],
        )
        .await;
    world.compact().await;
    let app = &world.running.app;
    let head = world.engine.log().head(hearth_ports::Stream::new(
        hearth_ports::Family::Evt,
        hearth_kernel::Service::Ingest,
    ));
    let position = head.await.unwrap().unwrap();
    let token = hearth_engine::CommitToken {
        service: hearth_kernel::Service::Ingest,
        position,
    };
    app.viewing.reached(token).await;
    assert!(!world.raw(METER, Capability::PLUG_POWER).await.is_empty());

    let erasers = erasers::all(&app.core, &world.running.relayed);
    let names: Vec<_> = erasers.iter().map(|it| it.store()).collect();
    assert_eq!(names, MODULE.stores);
    world.vault.shred(Owner::Home(HOME)).await.unwrap();
    let mut removed = 0;
    for eraser in &erasers {
        removed += eraser.erase(&order()).await.unwrap().removed;
    }
    assert!(removed > 0);
    for eraser in &erasers {
        let again = eraser.erase(&order()).await.unwrap();
        assert_eq!(again.removed, 0, "{}", eraser.store());
    }
    let series = &world.memory.series;
    assert!(series.homes(None, 10).await.unwrap().is_empty());
    assert!(series.latest(HOME).await.unwrap().is_empty());
    let days = (super::kit::NOW.day().plus(-60), super::kit::NOW.day());
    assert!(series.manifest(HOME, days).await.unwrap().is_empty());
    let rows = world
        .memory
        .documents
        .range(resume::TABLE, hub.claim.as_bytes(), Range::all(10));
    assert!(rows.await.unwrap().is_empty());
    assert!(
        world
            .engine
            .load::<Devices>(HOME, Read::Leader)
            .await
            .unwrap()
            .gone
    );
    assert!(
        world
            .engine
            .load::<Claim>(hub.claim, Read::Leader)
            .await
            .unwrap()
            .gone
    );
    assert!(
        !world
            .engine
            .load::<Hub>(hub.hub, Read::Leader)
            .await
            .unwrap()
            .exists()
    );
}
