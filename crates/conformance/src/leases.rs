//! The suite of leases: one holder at a time, and fences that only grow. Instances must know how time passes.

use std::future::Future;
use std::time::Duration;

use hearth_ports::{Lease, Leases, StoreError};
use tokio::task::JoinSet;

use crate::Instance;
use crate::instance::within;

/// What backends may differ in: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {}

suite! { $
    /// Every case of leases that needs no reopening.
    suite, leases_conformance, leases, dyn Leases:
    a_lease_is_held_by_one,
    of_many_who_ask_one_gets_it,
    a_lease_that_ended_is_free_and_its_fence_grows,
    renewing_extends_and_keeps_the_fence,
    a_lease_that_ended_is_not_renewed,
    a_released_lease_is_free_at_once,
    who_does_not_hold_it_can_neither_renew_nor_release,
    a_holder_who_asks_again_gets_a_greater_fence,
    names_are_apart,
}

suite! { $
    /// The cases of leases that outlive the store: instances must know how to be reopened.
    persistence, leases_persistence, leases, dyn Leases:
    reopening_keeps_holders_and_fences,
}

const NAME: &str = "ingest.writer.7";
const PERIOD: Duration = Duration::from_secs(2);
/// Longer than a period.
const LONGER: Duration = Duration::from_millis(2500);

async fn acquire(leases: &dyn Leases, holder: &str) -> Result<Lease, StoreError> {
    within(leases.acquire(NAME, holder, PERIOD)).await
}

async fn granted(leases: &dyn Leases, holder: &str) -> Lease {
    acquire(leases, holder).await.expect("a free lease")
}

#[track_caller]
fn assert_conflict(answer: &Result<Lease, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Conflict)), "{answer:?}");
}

/// While one holds it, nobody else gets it.
pub async fn a_lease_is_held_by_one(instance: Instance<dyn Leases>, _: Capabilities) {
    let leases = instance.store();
    let lease = granted(&*leases, "one").await;
    assert_eq!(lease.name, NAME);
    assert!(lease.fence > 0, "a fence begins above nothing");
    assert_conflict(&acquire(&*leases, "other").await);
    assert_conflict(&acquire(&*leases, "third").await);
}

/// Of many who ask at once exactly one gets it.
pub async fn of_many_who_ask_one_gets_it(instance: Instance<dyn Leases>, _: Capabilities) {
    let mut asking = JoinSet::new();
    for number in 0..8 {
        let leases = instance.store();
        asking.spawn(async move { acquire(&*leases, &format!("holder-{number}")).await });
    }
    let answers = within(asking.join_all()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter(|answer| answer.is_err()) {
        assert_conflict(answer);
    }
}

/// After its period it is free, and the next fence is greater, whoever gets it.
pub async fn a_lease_that_ended_is_free_and_its_fence_grows(
    instance: Instance<dyn Leases>,
    _: Capabilities,
) {
    let leases = instance.store();
    let mut fence = 0;
    for holder in ["one", "other", "one", "one", "third"] {
        let lease = granted(&*leases, holder).await;
        assert!(lease.fence > fence, "{} after {fence}", lease.fence);
        fence = lease.fence;
        instance.pass(LONGER).await;
    }
}

/// A lease that is renewed in time goes on, under its fence.
pub async fn renewing_extends_and_keeps_the_fence(instance: Instance<dyn Leases>, _: Capabilities) {
    let leases = instance.store();
    let mut lease = granted(&*leases, "one").await;
    for _ in 0..4 {
        instance.pass(PERIOD / 2).await;
        let renewed = within(leases.renew(&lease, "one", PERIOD)).await;
        let renewed = renewed.expect("it has not ended");
        assert_eq!((&renewed.name, renewed.fence), (&lease.name, lease.fence));
        assert!(renewed.expires > lease.expires, "it was extended");
        lease = renewed;
        assert_conflict(&acquire(&*leases, "other").await);
    }
}

/// Too late is too late, even when nobody else took it: what was done in between was not protected.
pub async fn a_lease_that_ended_is_not_renewed(instance: Instance<dyn Leases>, _: Capabilities) {
    let leases = instance.store();
    let lease = granted(&*leases, "one").await;
    instance.pass(LONGER).await;
    assert_conflict(&within(leases.renew(&lease, "one", PERIOD)).await);
    let next = granted(&*leases, "other").await;
    assert_conflict(&within(leases.renew(&lease, "one", PERIOD)).await);
    assert!(next.fence > lease.fence);
}

/// Given up, it is free before its end; giving up again is no error.
pub async fn a_released_lease_is_free_at_once(instance: Instance<dyn Leases>, _: Capabilities) {
    let leases = instance.store();
    let lease = granted(&*leases, "one").await;
    for _ in 0..2 {
        within(leases.release(&lease, "one"))
            .await
            .expect("a release");
    }
    assert_conflict(&within(leases.renew(&lease, "one", PERIOD)).await);
    let next = granted(&*leases, "other").await;
    assert!(next.fence > lease.fence);
    within(leases.release(&lease, "one"))
        .await
        .expect("one that has ended");
    assert_conflict(&acquire(&*leases, "one").await);
}

/// Neither another holder with the right fence, nor the holder with an old one.
pub async fn who_does_not_hold_it_can_neither_renew_nor_release(
    instance: Instance<dyn Leases>,
    _: Capabilities,
) {
    let leases = instance.store();
    let lease = granted(&*leases, "one").await;
    assert_conflict(&within(leases.renew(&lease, "other", PERIOD)).await);
    let old = Lease {
        fence: lease.fence - 1,
        ..lease.clone()
    };
    assert_conflict(&within(leases.renew(&old, "one", PERIOD)).await);
    within(leases.release(&lease, "other"))
        .await
        .expect("nothing to release");
    within(leases.release(&old, "one"))
        .await
        .expect("nothing to release");
    assert_conflict(&acquire(&*leases, "other").await);
    within(leases.renew(&lease, "one", PERIOD))
        .await
        .expect("it is still held");
}

/// After an unknown outcome a holder asks again: it gets the lease, and the fence it never saw is over.
pub async fn a_holder_who_asks_again_gets_a_greater_fence(
    instance: Instance<dyn Leases>,
    _: Capabilities,
) {
    let leases = instance.store();
    let first = granted(&*leases, "one").await;
    let second = granted(&*leases, "one").await;
    assert!(second.fence > first.fence);
    assert_conflict(&within(leases.renew(&first, "one", PERIOD)).await);
    within(leases.renew(&second, "one", PERIOD))
        .await
        .expect("it is held");
}

/// Leases of other names are others.
pub async fn names_are_apart(instance: Instance<dyn Leases>, _: Capabilities) {
    let leases = instance.store();
    for (name, holder) in [
        (NAME, "one"),
        ("ingest.writer.70", "other"),
        ("ingest.writer", "third"),
    ] {
        let lease = within(leases.acquire(name, holder, PERIOD)).await;
        assert_eq!(lease.expect("a free lease").name, name);
    }
    assert_conflict(&acquire(&*leases, "other").await);
}

/// A lease does not end with the store, nor does its fence begin again.
pub async fn reopening_keeps_holders_and_fences(
    mut instance: Instance<dyn Leases>,
    _: Capabilities,
) {
    let leases = instance.store();
    let lease = granted(&*leases, "one").await;
    drop(leases);
    instance.reopen().await;
    let leases = instance.store();
    assert_conflict(&acquire(&*leases, "other").await);
    within(leases.renew(&lease, "one", PERIOD))
        .await
        .expect("it is still held");
    within(leases.release(&lease, "one"))
        .await
        .expect("a release");
    drop(leases);
    instance.reopen().await;
    let next = granted(&*instance.store(), "other").await;
    assert!(next.fence > lease.fence);
}
