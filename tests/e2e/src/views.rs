//! What a test that drops and rebuilds looks at: every view's rows, everything published; and how it takes away.

use std::collections::BTreeMap;

use hearth_api::events::v1 as events;
use hearth_engine::Stamp;
use hearth_kernel::Service;
use hearth_ports::{Clock, Family, Log, Position, Stream};
use hearth_testkit::Sandbox;
use prost::Message as _;

/// View by view: partition, key, value.
pub type Rows = BTreeMap<&'static str, Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>>;

/// Every row of every view.
pub async fn rows(sandbox: &Sandbox) -> Rows {
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
pub async fn published(sandbox: &Sandbox) -> Vec<(Service, Position, u32)> {
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
pub async fn empty_int(sandbox: &Sandbox) {
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
pub async fn marked(sandbox: &Sandbox) {
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
pub fn lose_documents(sandbox: &Sandbox) {
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
pub async fn settled(sandbox: &Sandbox) -> Vec<(Service, Position, u32)> {
    sandbox
        .until("the relays to rest", async || {
            let before = published(sandbox).await;
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            (published(sandbox).await == before).then_some(before)
        })
        .await
}
