//! The RPCs: who is shown what, and when.

use std::sync::Arc;

use hearth_api::retention::v1::{
    self as api, retention_service_server, retention_service_server::RetentionService,
};
use hearth_api::types::v1::CommitToken;
use hearth_kernel::{Failure, Reason, Service};
use hearth_ports::{Family, Position, Stream};
use hearth_rpc::failure_of;
use tonic::{Request, Status};

use super::end_to_end::{RECEIPT, SECRET, closing, go_on, people, state, until};
use super::world::{Disk, Life};
use crate::grpc::Grpc;
use crate::{MODULE, key_id, verify_receipt};

fn reference(id: &str, secret: &[u8]) -> Option<api::ReceiptReference> {
    Some(api::ReceiptReference {
        receipt_id: id.to_owned(),
        receipt_secret: secret.to_vec().into(),
    })
}

fn own() -> Option<api::ReceiptReference> {
    reference(&RECEIPT.to_string(), &SECRET)
}

async fn erasure(grpc: &Grpc) -> api::GetErasureResponse {
    let request = Request::new(api::GetErasureRequest {
        receipt: own(),
        ..api::GetErasureRequest::default()
    });
    grpc.get_erasure(request).await.unwrap().into_inner()
}

async fn refused(grpc: &Grpc, receipt: Option<api::ReceiptReference>) -> Failure {
    let request = Request::new(api::GetErasureRequest {
        receipt,
        ..api::GetErasureRequest::default()
    });
    let status: Status = grpc.get_erasure(request).await.unwrap_err();
    failure_of(&status)
}

#[tokio::test]
async fn an_erasure_shows_itself_to_the_holder_of_the_secret_alone() {
    let disk = Disk::in_memory();
    let life = Life::begin(&disk).await;
    let grpc = Grpc::new(life.app.clone(), Arc::clone(&life.knowledge));
    people(&life).await;
    life.accounts.close(&closing(Some(false))).await;
    until("it is announced", async || {
        state(&life).await.closing.is_some()
    })
    .await;
    assert_eq!(erasure(&grpc).await.state(), api::ErasureState::Grace);

    let wrong = refused(&grpc, reference(&RECEIPT.to_string(), &[8; 32])).await;
    let unknown = refused(&grpc, reference(&"ab".repeat(16), &SECRET)).await;
    assert_eq!(wrong.reason, Reason::NOT_FOUND);
    assert_eq!(unknown.reason, Reason::NOT_FOUND);
    // Nothing but the id that was asked for tells the two apart.
    let kind = |failure: &Failure| failure.resource.as_ref().map(|(kind, _)| *kind);
    assert_eq!(
        (kind(&wrong), wrong.retry_after),
        (kind(&unknown), unknown.retry_after)
    );
    let malformed = refused(&grpc, reference("what", &[1])).await;
    assert_eq!(malformed.reason, Reason::INVALID_REQUEST);
    assert_eq!(malformed.violations.len(), 2);
    assert_eq!(refused(&grpc, None).await.violations.len(), 2);

    let request = Request::new(api::GetKeyReceiptRequest { receipt: own() });
    let not_yet = failure_of(&grpc.get_key_receipt(request).await.unwrap_err());
    assert_eq!(not_yet.reason, Reason::NOT_FOUND);

    disk.clock
        .advance(std::time::Duration::from_secs(3 * 86_400));
    life.accounts.close(&closing(Some(true))).await;
    go_on(&life, |it| it.keys_gone.is_some()).await;
    let running = erasure(&grpc).await;
    assert_eq!(running.state(), api::ErasureState::KeysGone);
    assert_eq!(running.steps.len(), 6);
    assert!(
        running
            .residuals
            .iter()
            .any(|it| !it.ended && it.ends_at.is_some())
    );

    go_on(&life, |it| it.bytes_gone.is_some()).await;
    let over = erasure(&grpc).await;
    assert_eq!(over.state(), api::ErasureState::BytesGone);
    assert!(
        over.residuals
            .iter()
            .all(|it| it.ended || it.ends_at.is_none())
    );
    receipts(&grpc).await;
    life.kill().await;
}

#[tokio::test]
async fn a_closing_that_was_just_acked_is_never_not_found() {
    let disk = Disk::in_memory();
    let life = Life::begin(&disk).await;
    let grpc = Grpc::new(life.app.clone(), Arc::clone(&life.knowledge));
    people(&life).await;
    // Without a token: "no" is said only behind all that accounts had decided. Nothing is waited for here.
    life.accounts.close(&closing(Some(false))).await;
    disk.clock.advance(std::time::Duration::from_micros(1));
    assert_eq!(erasure(&grpc).await.state(), api::ErasureState::Grace);

    let request = |token: Vec<u8>, count| api::GetErasureRequest {
        receipt: own(),
        after: vec![
            CommitToken {
                value: token.into()
            };
            count
        ],
    };
    // With the token of the commit, which its relay has passed by now.
    let evt = Stream::new(Family::Evt, Service::Accounts);
    let position = disk.log.head(evt).await.unwrap().unwrap();
    let token = hearth_engine::CommitToken {
        service: Service::Accounts,
        position,
    };
    let shown = grpc
        .get_erasure(Request::new(request(token.to_bytes(), 8)))
        .await;
    assert_eq!(
        shown.unwrap().into_inner().state(),
        api::ErasureState::Grace
    );

    for bad in [request(token.to_bytes(), 9), request(vec![1], 1)] {
        let status = grpc.get_erasure(Request::new(bad)).await.unwrap_err();
        let failure = failure_of(&status);
        assert_eq!(failure.reason, Reason::INVALID_REQUEST);
        assert_eq!(failure.violations[0].field, "after");
    }
    // One that lies ahead of everything is not answered as if it were known.
    let ahead = hearth_engine::CommitToken {
        position: Position {
            sequence: position.sequence + 1_000,
            ..position
        },
        ..token
    };
    let status = grpc
        .get_erasure(Request::new(request(ahead.to_bytes(), 1)))
        .await;
    assert_eq!(
        failure_of(&status.unwrap_err()).reason,
        Reason::STALE_KNOWLEDGE
    );
    life.kill().await;
}

async fn receipts(grpc: &Grpc) {
    let request = Request::new(api::GetKeyReceiptRequest { receipt: own() });
    let keys = grpc.get_key_receipt(request).await.unwrap().into_inner();
    let request = Request::new(api::GetByteReceiptRequest { receipt: own() });
    let bytes = grpc.get_byte_receipt(request).await.unwrap().into_inner();
    let request = Request::new(api::GetReceiptKeysRequest {});
    let known = grpc.get_receipt_keys(request).await.unwrap().into_inner();
    assert_eq!(known.keys.len(), 1);
    for receipt in [keys.receipt.unwrap(), bytes.receipt.unwrap()] {
        assert_eq!(receipt.key_id, known.keys[0].key_id);
        assert_eq!(receipt.key_id, key_id(&known.keys[0].public_key));
        let key = &known.keys[0].public_key;
        let body = verify_receipt(&receipt.body, &receipt.signature, key).unwrap();
        assert_eq!(body.receipt_id, RECEIPT.to_string());
        assert!(
            body.stores
                .iter()
                .any(|it| it.store == "fake.notes" && it.removed > 0)
        );
    }
    let request = Request::new(api::ListResidualsRequest { receipt: own() });
    let list = grpc.list_residuals(request).await.unwrap().into_inner();
    assert!(list.residuals.last().unwrap().ends_at.is_none());
    let request = Request::new(api::GetPeriodsRequest {});
    let periods = grpc.get_periods(request).await.unwrap().into_inner();
    assert_eq!(periods.periods.len(), 7);
}

#[test]
fn every_method_has_its_row() {
    let service = retention_service_server::SERVICE_NAME;
    assert_eq!(MODULE.grpc, [service]);
    let rules = MODULE.rules.iter();
    assert!(
        rules
            .clone()
            .all(|it| it.path.starts_with(&format!("/{service}/")))
    );
    assert_eq!(rules.count(), 6);
}
