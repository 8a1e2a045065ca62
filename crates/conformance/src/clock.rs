//! The suite of clocks: they never go back, and a sleeper wakes when its time has come and not before. Instances must
//! know how time passes: the machine's by waiting, the others by being moved.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hearth_kernel::Timestamp;
use hearth_ports::Clock;
use tokio::task::JoinSet;

use crate::Instance;
use crate::instance::within;

/// What clocks may differ in: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {}

suite! { $
    /// Every case of clocks.
    suite, clock_conformance, clock, dyn Clock:
    it_never_goes_back,
    it_never_goes_back_between_tasks,
    time_passes,
    a_time_that_has_come_is_no_wait,
    a_sleeper_wakes_when_its_time_comes_and_not_before,
    each_sleeper_wakes_at_its_own_time,
    a_sleep_given_up_harms_nobody,
}

/// Long for the machine, short for whoever waits for the test.
const A_WHILE: Duration = Duration::from_millis(40);
/// Never comes within a test.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// What one task reads never shrinks, while time passes.
pub async fn it_never_goes_back(instance: Instance<dyn Clock>, _: Capabilities) {
    let clock = instance.store();
    let mut before = clock.now();
    for round in 0..5_000 {
        if round % 2_500 == 0 {
            instance.pass(A_WHILE).await;
        }
        let now = clock.now();
        assert!(now >= before, "{now:?} after {before:?}");
        before = now;
    }
}

/// What one task has read, another never reads less than.
pub async fn it_never_goes_back_between_tasks(instance: Instance<dyn Clock>, _: Capabilities) {
    let last = Arc::new(std::sync::Mutex::new(Timestamp::EPOCH));
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (clock, last) = (instance.store(), Arc::clone(&last));
        tasks.spawn(async move {
            for _ in 0..1_000 {
                {
                    let mut last = last.lock().expect("no panic before");
                    let now = clock.now();
                    assert!(now >= *last, "{now:?} after {last:?}");
                    *last = now;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    instance.pass(A_WHILE).await;
    within(tasks.join_all()).await;
}

/// What passes for the clock shows on it.
pub async fn time_passes(instance: Instance<dyn Clock>, _: Capabilities) {
    let clock = instance.store();
    let before = clock.now();
    instance.pass(A_WHILE).await;
    assert!(clock.now() >= before.plus(A_WHILE));
}

/// Sleeping until now, or before, ends without time passing.
pub async fn a_time_that_has_come_is_no_wait(instance: Instance<dyn Clock>, _: Capabilities) {
    let clock = instance.store();
    let now = clock.now();
    for time in [now, now.minus(FAR), Timestamp::EPOCH] {
        within(clock.sleep_until(time)).await;
    }
    within(clock.sleep(Duration::ZERO)).await;
}

/// A sleeper sleeps while its time has not come, and wakes when it has.
pub async fn a_sleeper_wakes_when_its_time_comes_and_not_before(
    instance: Instance<dyn Clock>,
    _: Capabilities,
) {
    let clock = instance.store();
    let time = clock.now().plus(A_WHILE);
    let (woke, sleeping) = tokio::sync::oneshot::channel();
    let sleeper = Arc::clone(&clock);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        sleeper.sleep_until(time).await;
        let _ = woke.send(sleeper.now());
    });
    tokio::task::yield_now().await;
    instance.pass(A_WHILE).await;
    let at = within(sleeping).await.expect("it wakes");
    assert!(at >= time, "woke at {at:?}, before {time:?}");

    let begun = clock.now();
    let sleep = clock.sleep(A_WHILE);
    let (_, ()) = tokio::join!(sleep, instance.pass(A_WHILE * 2));
    assert!(clock.now() >= begun.plus(A_WHILE));
}

/// One move wakes those whose time has come, and leaves the others asleep.
pub async fn each_sleeper_wakes_at_its_own_time(instance: Instance<dyn Clock>, _: Capabilities) {
    let clock = instance.store();
    let now = clock.now();
    let mut sleepers = JoinSet::new();
    for n in 1..=20 {
        let (clock, time) = (Arc::clone(&clock), now.plus(A_WHILE * n / 10));
        sleepers.spawn(async move {
            clock.sleep_until(time).await;
            assert!(clock.now() >= time);
        });
    }
    let far = clock.sleep_until(now.plus(FAR));
    tokio::pin!(far);
    assert!(far.as_mut().now_or_never().is_none());
    instance.pass(A_WHILE).await;
    instance.pass(A_WHILE).await;
    within(sleepers.join_all()).await;
    assert!(far.now_or_never().is_none(), "its time has not come");
}

/// Sleepers that are dropped leave the clock as it is for the others.
pub async fn a_sleep_given_up_harms_nobody(instance: Instance<dyn Clock>, _: Capabilities) {
    let clock = instance.store();
    let time = clock.now().plus(A_WHILE);
    for _ in 0..100 {
        let given_up = clock.sleep_until(clock.now().plus(FAR)).now_or_never();
        assert!(given_up.is_none());
    }
    let sleeper = clock.sleep_until(time);
    let (_, ()) = within(async { tokio::join!(sleeper, instance.pass(A_WHILE)) }).await;
    assert!(clock.now() >= time);
}
