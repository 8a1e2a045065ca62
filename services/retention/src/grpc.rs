//! The RPCs: each asks for what a receipt's secret gives the right to, or for what everybody may know.

mod erasure;

use std::sync::Arc;

use bytes::Bytes;
use hearth_api::retention::v1::{self as api, retention_service_server::RetentionService};
use hearth_kernel::Failure;
use hearth_ports::Read;
use hearth_retention_domain::periods::{PERIODS, Period};
use hearth_retention_domain::signing::Key;
use hearth_rpc::fail;
use tonic::{Request, Response, Status};

use crate::aggregates::{SIGNING, Signing};
use crate::app::{App, Knowledge, residuals};
use crate::project::wire_time;
use crate::receipt::key_id;

/// The handlers.
pub(crate) struct Grpc {
    app: App,
    knowledge: Arc<Knowledge>,
}

impl Grpc {
    pub(crate) const fn new(app: App, knowledge: Arc<Knowledge>) -> Self {
        Self { app, knowledge }
    }

    async fn keys(&self) -> Result<api::GetReceiptKeysResponse, Failure> {
        let engine = &self.app.engine;
        let loaded = engine.load::<Signing>(SIGNING, Read::Leader).await?;
        let keys = loaded.state.keys.iter().rev().map(key).collect();
        Ok(api::GetReceiptKeysResponse { keys })
    }
}

/// The answer, or the status of the failure.
fn answer<T>(outcome: Result<T, Failure>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|failure| fail(&failure, None))
}

#[tonic::async_trait]
impl RetentionService for Grpc {
    async fn get_erasure(
        &self,
        request: Request<api::GetErasureRequest>,
    ) -> Result<Response<api::GetErasureResponse>, Status> {
        let asked = request.into_inner();
        let shown = self.shown_after(asked.receipt, &asked.after).await;
        answer(shown.map(|state| erasure::response(&state, self.app.engine.now())))
    }

    async fn get_key_receipt(
        &self,
        request: Request<api::GetKeyReceiptRequest>,
    ) -> Result<Response<api::GetKeyReceiptResponse>, Status> {
        let shown = self.shown(request.into_inner().receipt).await;
        answer(shown.and_then(|state| {
            let receipt = erasure::key_receipt(&state, self.app.engine.now())?;
            Ok(api::GetKeyReceiptResponse {
                receipt: Some(receipt),
            })
        }))
    }

    async fn get_byte_receipt(
        &self,
        request: Request<api::GetByteReceiptRequest>,
    ) -> Result<Response<api::GetByteReceiptResponse>, Status> {
        let shown = self.shown(request.into_inner().receipt).await;
        answer(shown.and_then(|state| {
            let receipt = erasure::byte_receipt(&state, self.app.engine.now())?;
            Ok(api::GetByteReceiptResponse {
                receipt: Some(receipt),
            })
        }))
    }

    async fn list_residuals(
        &self,
        request: Request<api::ListResidualsRequest>,
    ) -> Result<Response<api::ListResidualsResponse>, Status> {
        let shown = self.shown(request.into_inner().receipt).await;
        answer(shown.map(|state| {
            let mut residuals = residuals(&state, self.app.engine.now());
            residuals.truncate(erasure::RESIDUALS);
            api::ListResidualsResponse { residuals }
        }))
    }

    async fn get_receipt_keys(
        &self,
        _: Request<api::GetReceiptKeysRequest>,
    ) -> Result<Response<api::GetReceiptKeysResponse>, Status> {
        answer(self.keys().await)
    }

    async fn get_periods(
        &self,
        _: Request<api::GetPeriodsRequest>,
    ) -> Result<Response<api::GetPeriodsResponse>, Status> {
        let periods = PERIODS.iter().map(period).collect();
        answer(Ok(api::GetPeriodsResponse { periods }))
    }
}

fn key(key: &Key) -> api::ReceiptKey {
    api::ReceiptKey {
        key_id: key_id(&key.public),
        public_key: Bytes::copy_from_slice(&key.public),
        not_before: Some(wire_time(key.not_before)),
        not_after: key.not_after.map(wire_time),
    }
}

fn period(period: &Period) -> api::Period {
    // Whole days, far below the bounds of either type.
    let wire = |it: std::time::Duration| prost_types::Duration::try_from(it).ok();
    api::Period {
        category: period.category.to_owned(),
        default_period: period.default.and_then(wire),
        max_period: period.most.and_then(wire),
        on_closing: period.on_closing.to_owned(),
    }
}
