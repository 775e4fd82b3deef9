//! The HTTP front door.
//!
//! # Problem
//! Prometheus, load balancers and people with curl want three things of a node: its figures, whether it is alive,
//! and whether it can serve. All three must answer while the node is still starting, and none may need a client
//! library.
//!
//! # Model
//! ```text
//!   GET /metrics        Prometheus text of everything in [`catalogue`]
//!   GET /health/live    200 as long as the process can answer at all
//!   GET /health/ready   200, or 503 with one sentence that says what is missing
//!   anything else       404 in JSON, with the list above
//! ```
//! The router is a plain axum [`axum::Router`]: the server crate puts it beneath its protocol sniffer, on the same
//! port as gRPC. It knows nothing of nodes; it asks a [`Readiness`].
//!
//! # Invariants
//! - HTTP-1: `/health/ready` answers 200 only if [`Readiness::ready`] said so during that very request.
//! - HTTP-2: every metric of the program is in [`catalogue::CATALOGUE`] (a test reads the sources).

pub mod catalogue;
mod recorder;
mod routes;

pub use recorder::{Metrics, MetricsError, UPKEEP_INTERVAL};
pub use routes::{ENDPOINTS, Endpoint, Readiness, router};

/// What [`router`] makes: a tower service of HTTP requests.
pub type Router = axum::Router;
