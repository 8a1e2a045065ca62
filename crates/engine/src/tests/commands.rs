//! Commands: once, atomically, in a chain; snapshots, records, purges.

use hearth_kernel::{Failure, Kind, Reason};
use hearth_ports::{Log, Read, Removed};

use super::jar::{Command, Jar, add, call, engine, id, memory};
use crate::{Aggregate, Commit, ExecuteError};

fn reason(error: ExecuteError) -> Reason {
    Failure::from(error).reason
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_another_under_its_id_is_refused() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    let first = add::<true>(&engine, 1, "r1", 3).await.unwrap();
    add::<true>(&engine, 1, "r2", 4).await.unwrap();
    for engine in [engine.clone(), super::jar::engine(&memory)] {
        let again = add::<true>(&engine, 1, "r1", 3).await.unwrap();
        assert!(again.repeated);
        assert_eq!((again.version, again.commit), (1, first.commit));
        assert_eq!(again.events, first.events);
        assert_eq!(again.state.count, 7, "the state is today's");
    }
    let mut other = call(&engine, "r1");
    other.fingerprint = [8; 16];
    let refused = engine
        .execute::<Jar<true>, _>(&other, id(1), &Command::Add(5), async |_| Ok(()))
        .await
        .unwrap_err();
    assert_eq!(reason(refused), Reason::REQUEST_ID_REUSED);
}

#[tokio::test]
async fn rejections_and_empty_decisions_append_nothing_and_parts_are_sealed() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    let outcome = add::<true>(&engine, 1, "r1", 990).await.unwrap();
    assert!(
        outcome.state.note.as_ref().unwrap().ends_with(b"ih"),
        "sealed by reversing"
    );
    assert_eq!(
        reason(add::<true>(&engine, 1, "r2", 11).await.unwrap_err()),
        Reason::QUOTA_EXCEEDED
    );
    let nothing = add::<true>(&engine, 1, "r3", 0).await.unwrap();
    assert_eq!((nothing.version, nothing.events.len()), (1, 0));
    // What was refused may be asked again under the same id: it was never done.
    assert_eq!(add::<true>(&engine, 1, "r2", 10).await.unwrap().version, 2);
}

#[tokio::test]
async fn writers_that_contend_make_one_dense_chain() {
    let (memory, _) = memory();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        // An engine each: as in eight processes.
        let engine = engine(&memory);
        tasks.spawn(async move {
            let mut done = 0;
            for n in 0..20 {
                let request = format!("{writer}-{n}");
                loop {
                    match add::<true>(&engine, 1, &request, 1).await {
                        Ok(_) => break done += 1,
                        Err(error) => {
                            assert_eq!(Failure::from(error).kind(), Kind::Conflict);
                        }
                    }
                }
            }
            done
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u32>(), 160);
    let messages = memory
        .log
        .load(&Jar::<true>::subject(id(1)), None, 1000, Read::Leader)
        .await
        .unwrap();
    assert_eq!(messages.len(), 160);
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(
            Commit::read(&message.bytes).unwrap().version,
            index as u64 + 1
        );
    }
    let loaded = engine(&memory)
        .load::<Jar<true>>(id(1), Read::Leader)
        .await
        .unwrap();
    assert_eq!(loaded.state.count, 160);
}

#[tokio::test]
async fn a_snapshot_and_the_tail_give_what_the_whole_log_gives() {
    let (memory, _) = memory();
    let first = engine(&memory);
    for n in 0..130 {
        add::<true>(&first, 1, &n.to_string(), 1).await.unwrap();
    }
    let snapshotted = engine(&memory)
        .load::<Jar<true>>(id(1), Read::Leader)
        .await
        .unwrap();
    let bare = hearth_backend_memory::Memory {
        documents: std::sync::Arc::default(),
        ..memory.clone()
    };
    let whole = engine(&bare)
        .load::<Jar<true>>(id(1), Read::Leader)
        .await
        .unwrap();
    assert_eq!(snapshotted.state, whole.state);
    assert_eq!(
        (
            snapshotted.version,
            snapshotted.link,
            &snapshotted.remembered
        ),
        (whole.version, whole.link, &whole.remembered)
    );
}

#[tokio::test]
async fn a_record_keeps_its_last_state_only_and_can_be_removed() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    add::<false>(&engine, 1, "r1", 1).await.unwrap();
    let second = add::<false>(&engine, 1, "r2", 2).await.unwrap();
    let subject = Jar::<false>::subject(id(1));
    assert_eq!(
        memory
            .log
            .load(&subject, None, 10, Read::Leader)
            .await
            .unwrap()
            .len(),
        1
    );
    let fresh = super::jar::engine(&memory);
    assert!(add::<false>(&fresh, 1, "r1", 1).await.unwrap().repeated);
    let position = second.position.unwrap();
    assert_eq!(
        engine.remove::<Jar<false>>(id(1), position).await.unwrap(),
        Removed::Done
    );
    // The other engine still has it cached: the append fails there, and it begins anew.
    let anew = add::<false>(&fresh, 1, "r3", 5).await.unwrap();
    assert_eq!((anew.version, anew.state.count), (1, 5));
    assert_eq!(
        engine.remove::<Jar<false>>(id(1), position).await.unwrap(),
        Removed::Conflict
    );
}

#[tokio::test]
async fn a_purge_leaves_a_tombstone_that_forbids_return() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    for n in 0..70 {
        add::<true>(&engine, 1, &n.to_string(), 1).await.unwrap();
    }
    add::<true>(&engine, 2, "other", 1).await.unwrap();
    assert_eq!(engine.purge::<Jar<true>>(id(1)).await.unwrap(), 70);
    assert_eq!(engine.purge::<Jar<true>>(id(1)).await.unwrap(), 0);
    for engine in [engine.clone(), super::jar::engine(&memory)] {
        assert_eq!(
            reason(add::<true>(&engine, 1, "back", 1).await.unwrap_err()),
            Reason::ERASED
        );
        assert!(
            engine
                .load::<Jar<true>>(id(1), Read::Leader)
                .await
                .unwrap()
                .gone
        );
    }
    assert_eq!(
        engine
            .load::<Jar<true>>(id(2), Read::Leader)
            .await
            .unwrap()
            .state
            .count,
        1
    );
}

#[tokio::test]
async fn an_aggregate_that_has_closed_takes_no_command() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    let close = call(&engine, "close");
    let run = || engine.execute::<Jar<true>, _>(&close, id(1), &Command::Close, async |_| Ok(()));
    run().await.unwrap();
    assert!(
        run().await.unwrap().repeated,
        "closing again is the same request"
    );
    assert_eq!(
        reason(add::<true>(&engine, 1, "late", 1).await.unwrap_err()),
        Reason::ERASED
    );
}
