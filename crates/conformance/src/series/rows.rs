//! Manifests, latest rows, whole homes, and what outlives the store.

use hearth_kernel::{Day, HomeId};
use hearth_ports::{Latest, ManifestRow, Series};
use tokio::task::JoinSet;

use super::Capabilities;
use super::given::{
    DAY, furnish, home, inventory, latest, latest_of, manifest, manifests, put_latest,
    put_manifest, put_segments, segment, segment_key, segments,
};
use crate::instance::within;
use crate::{Instance, Random};

/// The greatest (fence, counter) stays, in any order of arrival and however often each arrives.
pub async fn a_manifest_is_the_greatest_in_any_order(
    instance: Instance<dyn Series>,
    _: Capabilities,
) {
    let series = instance.store();
    let mut random = Random::fresh("a_manifest_is_the_greatest_in_any_order");
    for round in 0..20 {
        // A compactor of an older fence may have counted further: it lost all the same.
        let mut order = vec![(1, 1), (1, 9), (1, 10), (2, 1), (2, 2), (10, 1), (9, 300)];
        order.extend(order.clone());
        random.shuffle(&mut order);
        for (fence, counter) in &order {
            put_manifest(&*series, manifest(round, DAY, *fence, *counter)).await;
        }
        let found = manifests(&*series, home(round)).await;
        assert_eq!(found, [manifest(round, DAY, 10, 1)], "after {order:?}");
    }
}

/// The rows of a home between two days, both included, in order.
pub async fn manifests_come_by_day(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    for offset in [31, -1, 0, 3, -20_001] {
        put_manifest(&*series, manifest(1, DAY.plus(offset), 1, 1)).await;
        put_manifest(&*series, manifest(2, DAY.plus(offset), 2, 2)).await;
    }
    let days = |rows: Vec<ManifestRow>| -> Vec<Day> { rows.iter().map(|row| row.day).collect() };
    let all = [-20_001, -1, 0, 3, 31].map(|offset| DAY.plus(offset));
    assert_eq!(days(manifests(&*series, home(1)).await), all);
    for (from, to, expected) in [(-1, 3, &all[1..4]), (0, 0, &all[2..3]), (4, 30, &all[..0])] {
        let rows = within(series.manifest(home(1), (DAY.plus(from), DAY.plus(to)))).await;
        let rows = rows.expect("the manifest");
        assert!(rows.iter().all(|row| row.home == home(1)));
        assert_eq!(days(rows), expected, "{from} to {to}");
    }
}

/// The newest observation stays, in any order of arrival, also of times before 1970.
pub async fn the_latest_is_the_newest_in_any_order(
    instance: Instance<dyn Series>,
    _: Capabilities,
) {
    let series = instance.store();
    let mut random = Random::fresh("the_latest_is_the_newest_in_any_order");
    for round in 0..20 {
        let mut order: Vec<Latest> = [-5, 0, 1, 2, 255, 256, 1 << 40]
            .map(|observed| latest(round, 1, 1, observed))
            .into();
        order.extend(order.clone());
        random.shuffle(&mut order);
        // Some in one call: a batch may hold several of the same capability.
        for few in order.chunks(3) {
            put_latest(&*series, few).await;
        }
        let found = latest_of(&*series, home(round)).await;
        assert_eq!(found, [latest(round, 1, 1, 1 << 40)], "after {order:?}");
    }
}

/// Homes, devices and capabilities have latest rows of their own.
pub async fn latest_rows_are_apart(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let mut expected = Vec::new();
    for device in 1..=3 {
        for capability in [1, 2, 256] {
            let observed = i64::from(device) * 1000 + i64::from(capability);
            expected.push(latest(1, device, capability, observed));
        }
    }
    put_latest(&*series, &expected).await;
    put_latest(&*series, &[latest(2, 1, 1, i64::MAX)]).await;
    assert_eq!(latest_of(&*series, home(1)).await, expected);
    assert_eq!(
        latest_of(&*series, home(2)).await,
        [latest(2, 1, 1, i64::MAX)]
    );
}

/// Writers of one home at once: every segment is there, the greatest manifest and the newest reading stay.
pub async fn concurrent_writers_lose_nothing(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let mut writers = JoinSet::new();
    for writer in 0..4_u64 {
        let series = instance.store();
        writers.spawn(async move {
            for number in 0..25_u64 {
                let order = number * 4 + writer;
                let segment = segment(segment_key(1, order), "there");
                put_segments(&*series, &[segment]).await;
                put_manifest(&*series, manifest(1, DAY, 1, order)).await;
                let observed = i64::try_from(order).unwrap_or(0);
                put_latest(&*series, &[latest(1, 1, 1, observed)]).await;
            }
        });
    }
    within(writers.join_all()).await;
    assert_eq!(segments(&*series, home(1), DAY).await.len(), 100);
    assert_eq!(
        manifests(&*series, home(1)).await,
        [manifest(1, DAY, 1, 99)]
    );
    assert_eq!(latest_of(&*series, home(1)).await, [latest(1, 1, 1, 99)]);
}

/// A home with manifest rows is listed once, with segments or without; pages neither overlap nor leave out.
pub async fn homes_of_manifests_are_listed(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let none = within(series.manifest_homes(None, 10)).await;
    assert_eq!(none.expect("the homes"), []);
    put_segments(&*series, &[segment(segment_key(11, 1), "no manifest")]).await;
    for number in 1..=9 {
        for offset in [28, -20_100, 0] {
            put_manifest(&*series, manifest(number, DAY.plus(offset), 1, 1)).await;
        }
    }
    within(series.delete_home(home(7))).await.expect("a delete");
    for limit in [1, 4, 100] {
        let mut homes: Vec<HomeId> = Vec::new();
        loop {
            let page = within(series.manifest_homes(homes.last().copied(), limit)).await;
            let page = page.expect("a page");
            assert!(page.len() <= limit, "{} of {limit}", page.len());
            if page.is_empty() {
                break;
            }
            homes.extend(page);
            assert!(homes.len() < 9, "pages overlap, by {limit}");
        }
        homes.sort_unstable();
        let expected: Vec<HomeId> = (1..=9).filter(|n| *n != 7).map(home).collect();
        assert_eq!(homes, expected, "by {limit}");
    }
}

/// Everything of the home goes, nothing of any other, and it is repeatable.
pub async fn a_home_is_deleted_alone(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    for number in 1..=3 {
        furnish(&*series, number).await;
    }
    let spared = [inventory(&*series, 1).await, inventory(&*series, 3).await];
    assert_eq!(inventory(&*series, 2).await.len(), spared[0].len());
    assert!(
        spared[0].len() > 20,
        "a furnished home has something of everything"
    );
    for _ in 0..2 {
        within(series.delete_home(home(2))).await.expect("a delete");
        assert_eq!(inventory(&*series, 2).await, [""; 0]);
        let others = [inventory(&*series, 1).await, inventory(&*series, 3).await];
        assert_eq!(others, spared);
    }
    let days = within(series.segment_days(home(2), 10))
        .await
        .expect("the days");
    assert_eq!(days, []);
    let homes = within(series.homes(None, 10)).await.expect("the homes");
    assert!(!homes.contains(&home(2)) && homes.len() == 2, "{homes:?}");
}

/// Segments, chunks, manifests and latest rows are there after reopening, and still beat what is older.
pub async fn reopening_keeps_every_table(mut instance: Instance<dyn Series>, _: Capabilities) {
    furnish(&*instance.store(), 1).await;
    let before = inventory(&*instance.store(), 1).await;
    instance.reopen().await;
    let series = instance.store();
    put_manifest(&*series, manifest(1, DAY, 0, 9)).await;
    put_latest(&*series, &[latest(1, 1, 1, 9)]).await;
    assert_eq!(inventory(&*series, 1).await, before);
}
