//! Reading: loads, pages, isolation, freshness, and what is announced.

use bytes::Bytes;
use futures::StreamExt;
use hearth_kernel::{AccountId, AggregateRef, Service};
use hearth_ports::{Family, Log, Position, Read, Stream, Subject};

use super::Capabilities;
use super::given::{
    EVT, REC, assert_ascending, evt, fact, head, load, put, put_after, rec, texts, topic, walk,
};
use crate::Instance;
use crate::instance::within;

/// A load gives at most `limit` messages after a position, oldest first; pages meet without gap or overlap.
pub async fn loads_are_paged(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for number in 0..50 {
        put(&*log, &evt(1), format!("{number}")).await;
        put(&*log, &evt(2), "noise").await;
    }
    let all = load(&*log, &evt(1)).await;
    assert_ascending(&all);
    let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(texts(&all), expected);
    for limit in [1, 7, 49, 50, 51] {
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page = within(log.load(&evt(1), after, limit, Read::Leader)).await;
            let page = page.expect("a page");
            assert!(page.len() <= limit, "{} of {limit}", page.len());
            let Some(last) = page.last() else { break };
            after = Some(last.position);
            paged.extend(page);
            assert!(paged.len() <= all.len(), "pages overlap, by {limit}");
        }
        assert_eq!(paged, all, "by {limit}");
    }
    // A position of another subject is a place in the stream like any other.
    let other = load(&*log, &evt(2)).await;
    let rest = within(log.load(&evt(1), Some(other[20].position), 100, Read::Leader)).await;
    assert_eq!(rest.expect("the rest"), all[21..]);
    let none = within(log.load(&evt(1), Some(all[49].position), 100, Read::Leader)).await;
    assert_eq!(none.expect("nothing"), []);
}

/// Pages give a stream's messages of all subjects in order.
pub async fn pages_walk_the_stream(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let mut positions = Vec::new();
    for number in 0..40 {
        positions.push(put(&*log, &evt(number % 5), format!("{number}")).await);
    }
    let all = walk(&*log, EVT).await;
    let walked: Vec<Position> = all.iter().map(|message| message.position).collect();
    assert_eq!(walked, positions);
    assert_eq!(all[7].subject, evt(2));
    assert_eq!(all[7].subject.stream(), EVT);
    let page = within(log.page(EVT, positions[9], 3))
        .await
        .expect("a page");
    assert_eq!(texts(&page), ["10", "11", "12"]);
    let rest = within(log.page(EVT, positions[39], 3))
        .await
        .expect("a page");
    assert_eq!(rest, []);
}

/// The same aggregate in another family or of another service is another subject, in another order.
pub async fn streams_are_isolated(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let id = AccountId::from_bytes([1; 16]);
    let foreign = AggregateRef::new(Service::Retention, "account", id);
    let foreign = Subject::aggregate(Family::Evt, &foreign);
    let subjects = [evt(1), rec(1), fact(1), foreign];
    for subject in &subjects {
        let text = subject.to_string();
        let first = put_after(&*log, subject, None, text).await;
        first.expect("nothing is in this stream yet");
    }
    for subject in &subjects {
        let text = subject.to_string();
        let stored = load(&*log, subject).await;
        assert_eq!(walk(&*log, subject.stream()).await, stored);
        assert_eq!(texts(&stored), [text]);
    }
    let untouched = Stream::new(Family::Int, Service::Accounts);
    assert_eq!(head(&*log, untouched).await, None);
}

/// A subject that begins like another one is another one.
pub async fn subjects_are_isolated(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for tokens in ["a.b", "a.bc", "a.b.c", "a", "ab", "A.b", "a.b_"] {
        let subject = Subject::from_tokens(REC, tokens);
        put_after(&*log, &subject, None, tokens)
            .await
            .expect("a subject of its own");
    }
    for tokens in ["a.b", "a.bc", "a.b.c", "a", "ab", "A.b", "a.b_"] {
        let subject = Subject::from_tokens(REC, tokens);
        let stored = load(&*log, &subject).await;
        assert_eq!(texts(&stored), [tokens]);
        assert_eq!(stored[0].subject, subject);
    }
}

/// A leader read that begins after an ack sees what was acked; a follower's answer is a prefix of it.
pub async fn a_leader_sees_what_was_acked(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    for number in 0..50 {
        let position = put(&*log, &evt(1), format!("{number}")).await;
        let last = within(log.last(&evt(1), Read::Leader)).await.expect("last");
        assert_eq!(last.map(|message| message.position), Some(position));
        let loaded = load(&*log, &evt(1)).await;
        assert_eq!(
            loaded.last().map(|message| message.position),
            Some(position)
        );
        let followed = within(log.load(&evt(1), None, 100, Read::Follower)).await;
        assert!(loaded.starts_with(&followed.expect("a follower's answer")));
    }
}

/// Whoever listens hears what is announced, on some try: announcements may be lost.
pub async fn what_is_announced_is_heard(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let mut ears = [
        log.listen(&topic("test.idle")),
        log.listen(&topic("test.idle")),
    ];
    for ear in &mut ears {
        assert_eq!(until_heard(&*log, ear, "hello").await, "hello");
    }
}

/// A listener hears its own topic only.
pub async fn topics_are_isolated(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let mut ear = log.listen(&topic("test.idle"));
    for other in ["test", "test.idle2", "test.idle.more", "idle"] {
        let said = within(log.announce(&topic(other), Bytes::from("not for you"))).await;
        said.expect("an announcement");
    }
    assert_eq!(until_heard(&*log, &mut ear, "for you").await, "for you");
}

/// Announcements are not stored.
pub async fn nobody_hears_what_was_said_before(instance: Instance<dyn Log>, _: Capabilities) {
    let log = instance.store();
    let said = within(log.announce(&topic("test.idle"), Bytes::from("too early"))).await;
    said.expect("an announcement that nobody hears is no error");
    let mut ear = log.listen(&topic("test.idle"));
    assert_eq!(until_heard(&*log, &mut ear, "now").await, "now");
}

/// Says something again and again until the listener hears something; answers what that is.
async fn until_heard(
    log: &dyn Log,
    ear: &mut futures::stream::BoxStream<'static, hearth_ports::Announcement>,
    text: &'static str,
) -> String {
    let repeat = async {
        loop {
            let said = log.announce(&topic("test.idle"), Bytes::from(text)).await;
            said.expect("an announcement");
            tokio::task::yield_now().await;
        }
    };
    let heard = async {
        tokio::select! {
            heard = ear.next() => heard.expect("listening does not end"),
            () = repeat => unreachable!("it repeats for ever"),
        }
    };
    String::from_utf8_lossy(&within(heard).await.0).into_owned()
}
