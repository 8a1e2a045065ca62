//! What operators and probes ask over HTTP: `/metrics`, `/healthz`, `/readyz`, `/version`, `/checkpoints`.
//!
//! None of it is about a person, and it is still served on loopback only: counts tell when a home is empty.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::Metrics;
use crate::module::Readiness;

/// The paths that are served.
pub const PATHS: [&str; 5] = [
    "/metrics",
    "/healthz",
    "/readyz",
    "/version",
    crate::checkpoints::PATH,
];
/// This build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether the process can serve: all checks say so, and it does not drain. Cheap to clone.
#[derive(Clone)]
pub struct Ready {
    checks: Arc<[Readiness]>,
    draining: Arc<AtomicBool>,
}

impl Ready {
    /// Ready when all of these are.
    #[must_use]
    pub fn when(checks: Vec<Readiness>) -> Self {
        Self {
            checks: checks.into(),
            draining: Arc::default(),
        }
    }

    /// The names of what is not ready; empty when all is.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        if self.draining.load(Ordering::SeqCst) {
            return vec!["draining"];
        }
        let checks = self.checks.iter().filter(|readiness| !(readiness.check)());
        checks.map(|readiness| readiness.name).collect()
    }

    /// Not ready from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ready({:?} missing)", self.missing())
    }
}

/// The routes. `/healthz` answers as long as the process does; `/readyz` names what is missing.
pub fn routes(metrics: Metrics, ready: Ready) -> Router {
    let text = "text/plain; version=0.0.4; charset=utf-8";
    Router::new()
        .route(
            "/metrics",
            get(move || async move { ([(CONTENT_TYPE, text)], metrics.text()) }),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/version",
            get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }),
        )
        .route(
            "/readyz",
            get(move || async move {
                let missing = ready.missing();
                if missing.is_empty() {
                    return "ready\n".into_response();
                }
                let text = format!("not ready: {}\n", missing.join(", "));
                (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
            }),
        )
}
