//! Tests of the group commit on a unit that counts: what each caller is told when transactions fail, and when callers
//! give up.

use std::sync::mpsc;

use super::*;

/// A store that remembers what it was asked, and fails when it is told to.
#[derive(Default)]
struct Counting {
    in_transaction: bool,
    fails_to_begin: bool,
    fails_to_commit: bool,
    written: Vec<u32>,
    committed: Vec<Vec<u32>>,
}

impl Unit for Counting {
    fn begin(&mut self) -> rusqlite::Result<()> {
        if std::mem::take(&mut self.fails_to_begin) {
            return Err(rusqlite::Error::InvalidQuery);
        }
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        if std::mem::take(&mut self.fails_to_commit) {
            return Err(rusqlite::Error::InvalidQuery);
        }
        self.in_transaction = false;
        self.committed.push(std::mem::take(&mut self.written));
        Ok(())
    }

    fn rollback(&mut self) {
        self.in_transaction = false;
        self.written.clear();
    }

    fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    fn end(&mut self) {}
}

/// A job that runs alone and keeps the thread busy until the sender is dropped; what is sent meanwhile queues up.
async fn busy(writer: &Arc<Writer<Counting>>) -> (mpsc::Sender<()>, BusyEnd) {
    let (release, held) = mpsc::channel::<()>();
    let (began, begun) = oneshot::channel();
    let handle = Arc::clone(writer);
    let end = Box::pin(async move {
        handle
            .submit_alone(DEADLINE, move |_| {
                let _ = began.send(());
                let _ = held.recv();
                Ok(())
            })
            .await
    });
    let mut end: BusyEnd = end;
    tokio::select! {
        _ = &mut end => {}
        _ = begun => {}
    }
    (release, end)
}

type BusyEnd = std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

fn put(unit: &mut Counting, number: u32) -> Result<u32, StoreError> {
    unit.written.push(number);
    Ok(number)
}

fn writer() -> Arc<Writer<Counting>> {
    Arc::new(Writer::start("test-writer", Counting::default()).unwrap())
}

async fn committed(writer: &Writer<Counting>) -> Vec<Vec<u32>> {
    writer
        .submit_alone(DEADLINE, |unit| Ok(unit.committed.clone()))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_queued_shares_one_commit_and_refusals_share_nothing() {
    let writer = writer();
    let (release, end) = busy(&writer).await;
    let first = writer.submit(1, |unit| put(unit, 1));
    let refused = writer.submit(1, |_| Err::<u32, _>(StoreError::Conflict));
    let last = writer.submit(1, |unit| put(unit, 2));
    let all = async { tokio::join!(first, refused, last, async { drop(release) }, end) };
    let (first, refused, last, (), _) = all.await;
    assert_eq!((first.unwrap(), last.unwrap()), (1, 2));
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert_eq!(committed(&writer).await, [[1, 2]]);
}

#[tokio::test]
async fn a_failed_commit_is_unknown_and_its_refusals_say_nothing() {
    let writer = writer();
    let (release, end) = busy(&writer).await;
    let first = writer.submit(1, |unit| {
        unit.fails_to_commit = true;
        put(unit, 1)
    });
    let refused = writer.submit(1, |_| Err::<u32, _>(StoreError::Conflict));
    let (first, refused, (), _) = tokio::join!(first, refused, async { drop(release) }, end);
    assert!(matches!(first, Err(StoreError::Unknown(_))));
    assert!(matches!(refused, Err(StoreError::Retryable(_))));
    assert_eq!(writer.submit(1, |unit| put(unit, 3)).await.unwrap(), 3);
    assert_eq!(committed(&writer).await, [[3]]);
}

#[tokio::test]
async fn a_transaction_that_is_lost_or_never_begins_wrote_nothing() {
    let writer = writer();
    let (release, end) = busy(&writer).await;
    let first = writer.submit(1, |unit| put(unit, 1));
    let breaks = writer.submit(1, |unit| {
        unit.in_transaction = false;
        put(unit, 2)
    });
    let last = writer.submit(1, |unit| put(unit, 3));
    let (first, breaks, last, (), _) =
        tokio::join!(first, breaks, last, async { drop(release) }, end);
    assert!(matches!(first, Err(StoreError::Retryable(_))));
    assert!(matches!(breaks, Err(StoreError::Retryable(_))));
    assert_eq!(last.unwrap(), 3);
    let breaks_next = writer.submit_alone(DEADLINE, |unit| {
        unit.fails_to_begin = true;
        Ok(())
    });
    breaks_next.await.unwrap();
    let lost = writer.submit(1, |unit| put(unit, 4)).await;
    assert!(matches!(lost, Err(StoreError::Retryable(_))));
    assert_eq!(committed(&writer).await, [[3]]);
}

#[tokio::test]
async fn who_gives_up_before_the_job_began_knows_that_nothing_was_written() {
    let writer = writer();
    let (release, end) = busy(&writer).await;
    let soon = Duration::from_millis(1);
    let waited = writer.call(1, false, soon, |unit| put(unit, 1)).await;
    assert!(matches!(waited, Err(StoreError::Retryable(_))));
    drop(release);
    end.await.unwrap();
    assert_eq!(writer.submit(1, |unit| put(unit, 2)).await.unwrap(), 2);
    assert_eq!(committed(&writer).await.concat(), [2]);
}

#[tokio::test]
async fn who_gives_up_after_the_job_began_cannot_know() {
    let writer = writer();
    let mut patience = Duration::from_millis(1);
    loop {
        // Never released by a message: the job ends when the sender is dropped, after the caller gave up.
        let (release, held) = mpsc::channel::<()>();
        let waited = writer
            .call(1, false, patience, move |unit| {
                let _ = held.recv();
                put(unit, 1)
            })
            .await;
        drop(release);
        match waited {
            Err(StoreError::Unknown(_)) => break,
            // The thread had not even begun: more patience.
            Err(StoreError::Retryable(_)) => patience *= 2,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(committed(&writer).await, [[1]]);
}

#[tokio::test]
async fn stopping_commits_what_is_queued_and_takes_no_more() {
    let writer = writer();
    let (release, end) = busy(&writer).await;
    let queued = writer.submit(1, |unit| put(unit, 1));
    let stop = async {
        let writer = Arc::clone(&writer);
        tokio::task::spawn_blocking(move || {
            drop(release);
            writer.stop();
        })
        .await
    };
    let (queued, _, _) = tokio::join!(queued, stop, end);
    assert_eq!(queued.unwrap(), 1);
    let after = writer.submit(1, |unit| put(unit, 2)).await;
    assert!(matches!(after, Err(StoreError::Retryable(_))));
}
