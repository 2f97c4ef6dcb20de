//! What each address answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use serde_json::json;

use super::guard;
use super::readiness::Readiness;

const INDEX: &str = "\
Payload Manager

/healthz  200 while the process lives
/readyz   200 when it serves, with what does not answer; 503 with the reasons when it does not
/metrics  in the Prometheus text format
";

/// The addresses of the listener, behind the guard. All of them only read: other methods than GET and HEAD have no route.
pub(super) fn router(bound: SocketAddr, readiness: Arc<Readiness>, metrics: Registry) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
        .layer(middleware::from_fn_with_state(bound, guard::check))
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    let asked = Arc::clone(&readiness);
    // Should it panic, what was known before is still known.
    let _ = tokio::task::spawn_blocking(move || asked.look_again()).await;
    let reasons = readiness.reasons();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let reasons: Vec<_> = reasons
        .into_iter()
        .map(|(condition, message)| json!({ "condition": condition.as_str(), "message": message }))
        .collect();
    let degraded: Vec<_> = readiness
        .degraded()
        .into_iter()
        .map(|(tier, message)| json!({ "tier": tier.as_str(), "message": message }))
        .collect();
    let body = json!({ "ready": reasons.is_empty(), "reasons": reasons, "degraded": degraded });
    (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

async fn scrape(State(metrics): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&metrics.gather()) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
