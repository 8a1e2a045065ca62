//! What is read of the stream itself, and when a hub is sent away instead.

use hearth_api::events::v1::Segment;
use hearth_backend_memory::Memory;
use hearth_kernel::Timestamp;
use hearth_ports::{Expected, ManualClock, Subject};

use super::*;

const CLAIM: ClaimId = ClaimId::from_bytes([1; 16]);
const STREAM: HubStreamId = HubStreamId::from_bytes([2; 16]);

/// What is known while another process writes and is so many frames behind.
async fn behind(frames: u64) -> Resume {
    let clock = ManualClock::new(Timestamp::EPOCH);
    let memory = Memory::new(Arc::new(clock));
    for sequence in 1..=frames {
        let segment = Segment {
            claim_id: Bytes::copy_from_slice(CLAIM.as_bytes()),
            stream_id: Bytes::copy_from_slice(STREAM.as_bytes()),
            sequence,
            ..Segment::default()
        };
        let frame = Frame {
            segments: vec![segment],
            ..Frame::default()
        };
        let bytes = Bytes::from(frame.encode_to_vec());
        let subject = Subject::telemetry(1);
        memory
            .log
            .append(&subject, Expected::Any, bytes)
            .await
            .unwrap();
    }
    let (_, progress) = watch::channel(None);
    Resume::new(
        Arc::clone(&memory.log) as _,
        Arc::clone(&memory.documents) as _,
        Arc::new(Fresh::default()),
        progress,
    )
}

#[tokio::test]
async fn a_hub_is_sent_away_while_the_writer_is_too_far_behind() {
    let mut resume = behind(200).await;
    let windows = resume.windows(CLAIM, &[STREAM]).await.unwrap();
    assert_eq!(windows[&STREAM].through(), 200);
    resume.most_scanned = 100;
    let refused = resume.windows(CLAIM, &[STREAM]).await.unwrap_err();
    assert!(matches!(refused, ResumeError::Behind));
    let failure = Failure::from(refused);
    assert_eq!(failure.reason, Reason::TEMPORARILY_UNAVAILABLE);
    assert_eq!(failure.retry_after, Some(ASK_AGAIN));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_hubs_read_the_stream_at_once() {
    let resume = behind(3).await;
    let count = u32::try_from(SCANS).unwrap();
    let others = resume.scans.acquire_many(count).await.unwrap();
    let refused = resume.windows(CLAIM, &[STREAM]).await;
    assert!(matches!(refused, Err(ResumeError::Behind)));
    drop(others);
    let windows = resume.windows(CLAIM, &[STREAM]).await.unwrap();
    assert_eq!(windows[&STREAM].through(), 3);
}
