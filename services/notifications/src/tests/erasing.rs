//! What others learn, and what is left of a person and a home after an erasure.

use hearth_api::events::v1::{Envelope, notifications_fact};
use hearth_engine::Commit;
use hearth_engine::erasure::{Order, Stage};
use hearth_kernel::{Capability, ErasureId, Owner, Service};
use hearth_notifications_domain::limits::NOTICE_KEPT;
use hearth_notifications_domain::notice;
use hearth_ports::{Documents, Family, Log, Message, Position, Stream, Table};
use prost::Message as _;

use super::kit::{ANNA, CAMERA, HOME, Life, World, eventually, wants_to_hear_of_motion};
use crate::MODULE;
use crate::aggregates::Notice;
use crate::app::erase::{self, Stores};
use crate::app::own_call;
use crate::app::owned::Owned;

async fn page(world: &World, family: Family) -> Vec<Message> {
    let stream = Stream::new(family, Service::Notifications);
    world
        .memory
        .log
        .page(stream, Position::START, 1000)
        .await
        .expect("a page")
}

async fn others_learn(world: &World) {
    eventually("told by mail", async || {
        let all = page(world, Family::Int).await;
        let names: Vec<&str> = all.iter().map(|message| message.subject.kind()).collect();
        let told = [
            "rule-put",
            "arming-changed",
            "preferences-changed",
            "episode-began",
        ];
        let told = told.iter().chain(&["notice-made", "notice-delivered"]);
        told.into_iter()
            .all(|name| names.contains(name))
            .then_some(())
    })
    .await;
    let armed = page(world, Family::State)
        .await
        .into_iter()
        .find_map(|message| {
            let envelope = Envelope::decode(message.bytes).expect("an envelope");
            match envelope.payload {
                Some(hearth_api::events::v1::envelope::Payload::NotificationsFact(fact)) => {
                    match fact.fact {
                        Some(notifications_fact::Fact::Arming(arming)) => Some(arming),
                        _ => None,
                    }
                }
                _ => None,
            }
        });
    assert!(armed.expect("what is armed").whole_home);
}

/// Erases both owners, twice.
async fn erases(world: &World, life: &Life) {
    let app = &life.parts.app;
    let owners = vec![Owner::Account(ANNA), Owner::Home(HOME)];
    world
        .sealing
        .fenced
        .lock()
        .expect("not poisoned")
        .extend(&owners);
    let stores = Stores {
        engine: app.engine.clone(),
        owned: Owned(std::sync::Arc::clone(&world.memory.documents) as _),
        timers: hearth_engine::Timers::new(
            Service::Notifications,
            std::sync::Arc::clone(&world.memory.documents) as _,
            std::sync::Arc::clone(&world.memory.clock),
        ),
        inbox: life.parts.inbox.clone(),
        runner: std::sync::Arc::clone(&life.parts.runner),
    };
    let order = Order {
        erasure: ErasureId::from_bytes([1; 16]),
        stage: Stage::Purging,
        owners,
        memberships: Vec::new(),
    };
    let erasers = erase::all(&stores);
    let names: Vec<&str> = erasers.iter().map(|eraser| eraser.store()).collect();
    assert_eq!(names, MODULE.stores);
    for eraser in &erasers {
        let erased = eraser.erase(&order).await.expect("erased");
        let nothing = eraser.store() == "notifications.mails";
        assert_eq!(erased.removed == 0, nothing, "{}", eraser.store());
        assert_eq!(
            eraser.erase(&order).await.expect("again").removed,
            0,
            "{}",
            eraser.store()
        );
    }
}

async fn only_tombstones_are_left(world: &World) {
    // Ben's notice is his own; of the rest, only tombstones.
    let mut left = 0;
    for message in page(world, Family::Evt).await {
        let commit = Commit::read(&message.bytes).expect("a commit");
        left += usize::from(!commit.is_tombstone());
    }
    assert_eq!(left, 1);
    for table in [
        "notifications_inbox",
        "notifications_owned",
        "notifications_watches",
        "engine_timers",
    ] {
        for partition in world
            .memory
            .documents
            .partitions(Table(table), None, 100)
            .await
            .expect("keys")
        {
            let of_anna = partition.windows(16).any(|bytes| bytes == ANNA.as_bytes());
            let of_home = partition.windows(16).any(|bytes| bytes == HOME.as_bytes());
            let rows = world.memory.documents.range(
                Table(table),
                &partition,
                hearth_ports::Range::all(100),
            );
            let rows = rows.await.expect("rows");
            let named = |bytes: &[u8]| bytes.windows(16).any(|it| it == ANNA.as_bytes());
            assert!(!((of_anna || of_home) && !rows.is_empty()), "{table}");
            assert!(
                !rows.iter().any(|row| named(&row.key) || named(&row.value)),
                "{table}"
            );
        }
    }
}

#[tokio::test]
async fn others_learn_ids_and_after_an_erasure_only_tombstones_are_left_of_the_erased() {
    let world = World::new();
    let life = world.live().await;
    wants_to_hear_of_motion(&life).await;
    world.signal(CAMERA, Capability::MOTION, true, 5).await;
    others_learn(&world).await;
    eventually("the inbox shows it", async || {
        let page = life
            .parts
            .inbox
            .page(ANNA, None, 10, false)
            .await
            .expect("a page");
        (page.0.len() == 1).then_some(())
    })
    .await;

    erases(&world, &life).await;
    life.end().await;
    only_tombstones_are_left(&world).await;
}

#[tokio::test]
async fn after_its_time_nothing_of_a_notice_is_left_in_documents_not_even_when_it_was() {
    let world = World::new();
    let life = world.live().await;
    wants_to_hear_of_motion(&life).await;
    world.signal(CAMERA, Capability::MOTION, true, 5).await;
    let inbox = &life.parts.inbox;
    let shown = eventually("the inbox shows it", async || {
        let page = inbox.page(ANNA, None, 10, false).await.expect("a page");
        page.0.first().cloned()
    })
    .await;
    // She read it, which is a second change.
    let at = inbox.head().await.expect("a head");
    let read = notice::Command::MarkRead { account: ANNA };
    let call = own_call(&life.parts.app.engine, None, "test.read", &[b"once"]);
    let (engine, now) = (&life.parts.app.engine, life.parts.app.engine.now());
    let id = shown.slot.notice;
    let done = engine.execute::<Notice, _>(&call, id, &read, async move |_| Ok(now));
    done.await.expect("read");
    eventually("both changes are rows", async || {
        let changes = inbox.changes(ANNA, at).await.expect("changes");
        (changes.len() == 1).then_some(())
    })
    .await;

    world.clock.advance(NOTICE_KEPT);
    world.clock.advance(std::time::Duration::from_secs(1));
    eventually("no row is left", async || {
        world.clock.advance(std::time::Duration::from_secs(60));
        let rows = inbox
            .view
            .range(ANNA.as_bytes(), hearth_ports::Range::all(10));
        rows.await.expect("rows").is_empty().then_some(())
    })
    .await;
    life.end().await;
}
