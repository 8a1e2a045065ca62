//! The checkpoints of the services in this process: who makes them, and where operators read the newest.
//!
//! Here and not in each service, because a service that forgot it would have a history that nothing vouches for.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hearth_engine::Checkpoints;
use hearth_engine::checkpoint::Newest;
use serde_json::json;
use tokio::sync::watch;

use crate::module::Context;

/// Where the newest are read.
pub(crate) const PATH: &str = "/checkpoints";

/// The newest checkpoint of a service in this process.
pub(crate) type Shown = watch::Receiver<Option<Newest>>;

/// What makes the checkpoints of a module.
pub(crate) fn of(context: &Context) -> Arc<Checkpoints> {
    Arc::new(Checkpoints::new(
        context.service,
        (Arc::clone(&context.log), Arc::clone(&context.documents)),
        Arc::clone(&context.leases),
        Arc::clone(&context.sealing),
        Arc::clone(&context.clock),
    ))
}

/// `/checkpoints`: the newest of each service that has one, in the form that `hearth ctl verify --against` takes.
pub(crate) fn routes(newest: Vec<Shown>) -> Router {
    let answer = move || async move {
        let all: Vec<_> = newest.iter().filter_map(line).collect();
        let all = serde_json::Value::Array(all);
        ([(CONTENT_TYPE, "application/json")], format!("{all:#}\n")).into_response()
    };
    Router::new().route(PATH, get(answer))
}

fn line(newest: &Shown) -> Option<serde_json::Value> {
    let newest = newest.borrow();
    newest.as_ref().map(|it| {
        json!({
            "service": it.kept.service.name(),
            "checkpoint": it.kept.to_string(),
            "through": format!("{}:{}", it.through.generation, it.through.sequence),
            "signed_at_seconds": it.at.seconds(),
        })
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use hearth_engine::checkpoint::Kept;
    use hearth_kernel::{Service, Timestamp};
    use hearth_ports::Position;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn what_is_shown_can_be_kept() {
        let kept = Kept {
            service: Service::Ingest,
            number: 7,
            hash: [9; 32],
        };
        let newest = Newest {
            kept,
            through: Position::START,
            at: Timestamp::from_seconds(1),
        };
        let (made, none) = (watch::channel(Some(newest)).1, watch::channel(None).1);
        let request = Request::get(PATH).body(Body::empty()).expect("a request");
        let answer = routes(vec![none, made])
            .oneshot(request)
            .await
            .expect("served");
        let bytes = to_bytes(answer.into_body(), 10_000).await.expect("a body");
        let text = std::str::from_utf8(&bytes).expect("text");
        assert_eq!(Kept::all_in(text), [kept], "{text}");
    }
}
