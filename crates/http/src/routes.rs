//! The endpoints.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::Metrics;

/// Content type of the Prometheus text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Says whether this node can serve clients now.
pub trait Readiness: Send + Sync + 'static {
    /// `Err` holds one sentence that says what is missing.
    fn ready(&self) -> Result<(), String>;
}

impl<F: Fn() -> Result<(), String> + Send + Sync + 'static> Readiness for F {
    fn ready(&self) -> Result<(), String> {
        self()
    }
}

/// One line of the list that a 404 shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its path.
    pub path: &'static str,
    /// What it answers.
    pub answers: &'static str,
}

/// Everything that this port answers over HTTP.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/metrics", answers: "figures of this node in Prometheus text format" },
    Endpoint { path: "/health/live", answers: "200 while the process runs" },
    Endpoint { path: "/health/ready", answers: "200 when the node can serve, 503 with the reason when it cannot" },
];

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    readiness: Arc<dyn Readiness>,
}

/// All endpoints, ready to be served.
pub fn router(metrics: Metrics, readiness: Arc<dyn Readiness>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(show_readiness))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Shared { metrics, readiness })
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], shared.metrics.render()).into_response()
}

/// Asks anew each time: an old answer may be wrong by now (HTTP-1).
async fn show_readiness(State(shared): State<Shared>) -> Response {
    match shared.readiness.ready() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn not_found(uri: Uri) -> Response {
    failure(StatusCode::NOT_FOUND, &format!("no such endpoint: {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    failure(StatusCode::METHOD_NOT_ALLOWED, &format!("{} answers GET only, not {method}", uri.path()))
}

fn failure(status: StatusCode, message: &str) -> Response {
    let endpoints: Vec<_> =
        ENDPOINTS.iter().map(|endpoint| json!({ "path": endpoint.path, "answers": endpoint.answers })).collect();
    let body = json!({ "error": message, "endpoints": endpoints });
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body:#}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn ask(readiness: Arc<dyn Readiness>, method: &str, path: &str) -> (StatusCode, String) {
        let router = router(Metrics::detached(), readiness);
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a valid request");
        let response = router.oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a whole body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    fn ready() -> Arc<dyn Readiness> {
        Arc::new(|| Ok(()))
    }

    #[tokio::test]
    async fn health_tells_ready_from_not_ready() {
        assert_eq!(ask(ready(), "GET", "/health/ready").await, (StatusCode::OK, "ready\n".to_owned()));
        let waiting: Arc<dyn Readiness> = Arc::new(|| Err("waiting for 2 more nodes".to_owned()));
        assert_eq!(
            ask(waiting.clone(), "GET", "/health/ready").await,
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: waiting for 2 more nodes\n".to_owned())
        );
        assert_eq!(ask(waiting, "GET", "/health/live").await.0, StatusCode::OK);
    }

    /// HTTP-1
    #[tokio::test]
    async fn readiness_is_asked_for_with_each_request() {
        let is_ready = Arc::new(AtomicBool::new(false));
        let state = is_ready.clone();
        let readiness: Arc<dyn Readiness> =
            Arc::new(move || if state.load(Ordering::SeqCst) { Ok(()) } else { Err("not yet".to_owned()) });
        let router = router(Metrics::detached(), readiness);
        for now in [false, true, false] {
            is_ready.store(now, Ordering::SeqCst);
            let request = Request::get("/health/ready").body(Body::empty()).expect("a valid request");
            let status = router.clone().oneshot(request).await.expect("infallible").status();
            assert_eq!(status == StatusCode::OK, now, "{status}");
        }
    }

    #[tokio::test]
    async fn an_unknown_path_lists_the_known_ones() {
        let (status, body) = ask(ready(), "GET", "/metricz").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        for endpoint in ENDPOINTS {
            assert!(body.contains(endpoint.path), "{body}");
        }
        assert!(body.contains("/metricz"), "{body}");
    }

    #[tokio::test]
    async fn a_wrong_method_is_named() {
        let (status, body) = ask(ready(), "POST", "/metrics").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(body.contains("POST"), "{body}");
    }

    #[tokio::test]
    async fn metrics_are_rendered() {
        let metrics = Metrics::detached();
        let router = router(metrics, ready());
        let request = Request::get("/metrics").body(Body::empty()).expect("a valid request");
        let response = router.oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROMETHEUS_TEXT);
    }
}
