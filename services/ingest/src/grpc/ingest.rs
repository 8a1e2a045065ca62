//! `hearth.ingest.v1.IngestService`: the stream of a hub.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_api::ingest::v1::ingest_service_server::IngestService;
use hearth_api::ingest::v1::{IngestRequest, IngestResponse};
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;
use crate::stream;

/// The service.
pub(crate) struct Ingest(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl IngestService for Ingest {
    type IngestStream = BoxStream<'static, Result<IngestResponse, Status>>;

    async fn ingest(
        &self,
        request: Request<Streaming<IngestRequest>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let requests = request.into_inner();
        Ok(Response::new(
            stream::serve(Arc::clone(&self.0), requests).boxed(),
        ))
    }
}
