//! Views dropped and rebuilt from EVT and STATE equal the ones before, with INT emptied as after 30 days; nothing is
//! published or sent again.

use hearth_api::types::v1::Capability;
use hearth_e2e::views::{empty_int, lose_documents, marked, rows, settled};
use hearth_ports::Clock;
use hearth_testkit::{Hub, Sandbox, hub};

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
