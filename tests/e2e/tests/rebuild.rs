//! Views dropped and rebuilt from EVT and STATE equal the ones before, with INT emptied as after 30 days; nothing is
//! published or sent again.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a failure here is the test's"
)]

use std::collections::BTreeMap;

use hearth_api::events::v1 as events;
use hearth_api::types::v1::Capability;
use hearth_engine::Stamp;
use hearth_kernel::Service;
use hearth_ports::{Clock, Family, Log, Position, Stream};
use hearth_testkit::{Hub, Sandbox, hub};
use prost::Message as _;

type Rows = BTreeMap<&'static str, Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>>;

/// Every row of every view.
async fn rows(sandbox: &Sandbox) -> Rows {
    let mut all = Rows::new();
    for view in sandbox.installation().views() {
        let rows = view.rows().await.unwrap();
        let plain = rows
            .into_iter()
            .map(|(partition, key, value)| (partition.to_vec(), key.to_vec(), value.to_vec()));
        all.insert(view.name(), plain.collect());
    }
    all
}

/// Everything in INT: (service, position of the commit, index).
async fn published(sandbox: &Sandbox) -> Vec<(Service, Position, u32)> {
    let mut all = Vec::new();
    for service in Service::ALL {
        let stream = Stream::new(Family::Int, service);
        let page = sandbox.stores().log.page(stream, Position::START, 5000);
        for message in page.await.unwrap() {
            let stamp = Stamp::read(&message.bytes).unwrap();
            assert!(events::Envelope::decode(message.bytes).is_ok());
            all.push((service, stamp.position(), stamp.index));
        }
    }
    all
}

/// Every event ends, as after 30 days.
async fn empty_int(sandbox: &Sandbox) {
    let log = &sandbox.stores().log;
    for service in Service::ALL {
        let stream = Stream::new(Family::Int, service);
        if let Some(head) = log.head(stream).await.unwrap() {
            let sequence = head.sequence + 1;
            log.trim(stream, Position { sequence, ..head })
                .await
                .unwrap();
        }
    }
}

/// Lets the hour pass after which the relays write their markers.
async fn marked(sandbox: &Sandbox) {
    sandbox.clock.advance(std::time::Duration::from_secs(3601));
    for service in [Service::Accounts, Service::Ingest, Service::Notifications] {
        let state = Stream::new(Family::State, service);
        sandbox
            .until("a marker", async || {
                let page = sandbox.stores().log.page(state, Position::START, 5000);
                let page = page.await.unwrap();
                let marker = page.iter().rev().find(|it| it.subject.kind() == "relay")?;
                let at = Stamp::read(&marker.bytes)?.occurred_at();
                (sandbox.clock.now().since(at).as_secs() < 3600).then_some(())
            })
            .await;
    }
}

/// Deletes the file that views, checkpoints, snapshots and timers lie in.
fn lose_documents(sandbox: &Sandbox) {
    let mut lost = 0;
    for entry in std::fs::read_dir(sandbox.data()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("documents.db") {
            std::fs::remove_file(path).unwrap();
            lost += 1;
        }
    }
    assert!(lost > 0, "the documents are somewhere else");
}

/// Waits until nothing is published any more: what was decided is.
async fn settled(sandbox: &Sandbox) -> Vec<(Service, Position, u32)> {
    sandbox
        .until("the relays to rest", async || {
            let before = published(sandbox).await;
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            (published(sandbox).await == before).then_some(before)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn views_equal_their_rebuilds_and_nothing_is_told_twice() {
    let mut sandbox = Sandbox::start().await;
    let anna = sandbox.person("anna").await;
    for name in ["House", "Cottage", "Office"] {
        let home = anna.home(name).await;
        settled(&sandbox).await;
        for _ in 0..2 {
            Hub::pair(&anna, &home, "hearth", sandbox.clock.now()).await;
        }
        hub::device(&anna, &home, "Sensor", &[Capability::ClimateTemperature]).await;
    }
    settled(&sandbox).await;
    let before = rows(&sandbox).await;
    assert!(
        before.values().map(Vec::len).sum::<usize>() >= 6,
        "{before:?}"
    );
    let mails = sandbox.mails.sent().len();

    for round in 0..3 {
        // Rebuilt while it serves.
        for view in sandbox.installation().views() {
            view.rebuild().await.unwrap();
        }
        assert_eq!(rows(&sandbox).await, before, "round {round}");
        if round == 0 {
            continue;
        }
        // And after everything that can be rebuilt is lost, and the events have ended.
        marked(&sandbox).await;
        empty_int(&sandbox).await;
        sandbox.stop().await;
        if round == 2 {
            lose_documents(&sandbox);
        }
        sandbox.resume().await;
        let again = sandbox.until("the views", async || {
            let again = rows(&sandbox).await;
            (again == before).then_some(again)
        });
        assert_eq!(again.await, before);
        let told = settled(&sandbox).await;
        assert_eq!(told, [], "round {round}: published again");
        assert_eq!(sandbox.mails.sent().len(), mails, "a mail went out again");
    }

    // What happens now is published once, in order.
    let channel = sandbox.channel().await;
    let mut anna = hearth_testkit::Person { channel, ..anna };
    anna.sign_in_again().await;
    anna.home("Boat").await;
    let told = settled(&sandbox).await;
    assert!(told.len() >= 2, "{told:?}");
    assert!(told.is_sorted(), "in order, each once: {told:?}");
    let mut once = told.clone();
    once.dedup();
    assert_eq!(once, told);
    sandbox.stop().await;
}
