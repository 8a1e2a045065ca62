//! The same service under the real vault: what it seals and opens, the table lets it.

use hearth_api::events::v1::AddressContent;
use hearth_kernel::{AggregateRef, Capability, Origin, Owner, Purpose, Sealed, Service};
use hearth_ports::{Binding, Tasks};
use hearth_vault::Vault;
use prost::Message;

use super::kit::{ANNA, CAMERA, HOME, World, eventually, framed, wants_to_hear_of_motion};
use crate::MODULE;

#[test]
fn the_rows_of_the_module_are_those_of_the_vault() {
    let rows = hearth_vault::table::rows().into_iter();
    let mut vaults: Vec<_> = rows
        .filter(|row| row.service == Service::Notifications)
        .map(|row| (row.purpose, row.seal, row.open))
        .collect();
    let own = MODULE
        .keys
        .iter()
        .map(|row| (row.purpose, row.seals, row.opens));
    let mut own: Vec<_> = own.collect();
    vaults.sort_by_key(|row| row.0);
    own.sort_by_key(|row| row.0);
    assert_eq!(own, vaults);
}

#[tokio::test]
async fn motion_is_told_by_mail_under_the_real_vault() {
    let world = World::new();
    let tasks = Tasks::new();
    let mut context = world.context();
    let (log, clock) = (
        std::sync::Arc::clone(&context.log),
        std::sync::Arc::clone(&context.clock),
    );
    let custody = std::sync::Arc::clone(&world.memory.custody) as _;
    let vault = Vault::start(log, custody, clock, &tasks)
        .await
        .expect("a vault");
    context.sealing = vault.handle(Service::Notifications);

    let content = AddressContent {
        email: "anna@example.org".into(),
        locale: "en".into(),
    };
    let origin = Origin {
        aggregate: AggregateRef::new(Service::Accounts, "account", ANNA),
        version: 1,
        event: 0,
        part: 0,
    };
    let (owner, purpose) = (Owner::Account(ANNA), Purpose::Delivery);
    let binding = Binding::Event(origin.clone());
    let accounts = vault.handle(Service::Accounts);
    let sealed = accounts
        .seal(owner, purpose, &binding, &content.encode_to_vec())
        .await;
    let bytes = sealed.expect("sealed").as_ref().into();
    let part = Sealed {
        owner,
        purpose,
        origin,
        bytes,
    };
    world
        .facts
        .addresses
        .lock()
        .expect("not poisoned")
        .insert(ANNA, part);

    let life = world.live_on(context).await;
    wants_to_hear_of_motion(&life).await;

    let (binding, clear) = world.batch(&[(CAMERA, Capability::MOTION, true, 5)]);
    let ingest = vault.handle(Service::Ingest);
    let sealed = ingest
        .seal(Owner::Home(HOME), Purpose::Signals, &binding, &clear)
        .await;
    world
        .append(framed(&binding, sealed.expect("sealed")))
        .await;
    eventually("a mail", async || {
        (world.memory.outbound.sent().len() == 1).then_some(())
    })
    .await;
    eventually("a notice", async || {
        let page = life
            .parts
            .inbox
            .page(ANNA, None, 10, false)
            .await
            .expect("a page");
        (page.0.len() == 1).then_some(())
    })
    .await;
    life.end().await;
    assert!(
        tasks.stop(std::time::Duration::from_secs(5)).await,
        "tasks end"
    );
}
