//! The port for operators and for Kubernetes; never exposed to clients.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus::{Encoder as _, TextEncoder};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    Shutdown, http,
    readiness::Gates,
    telemetry::{LogLevel, Telemetry},
};

/// Serves to the very end of the process: its probes are what tells that a drain is under way.
pub(crate) struct Server {
    addr: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

#[derive(Clone)]
struct Shared {
    gates: Gates,
    metrics: prometheus::Registry,
    log_level: LogLevel,
}

impl Server {
    pub(crate) async fn start(addr: SocketAddr, telemetry: &Telemetry, gates: Gates) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let shared = Shared { gates, metrics: telemetry.metrics(), log_level: telemetry.log_level() };
        let shutdown = Shutdown::new();
        let task = tokio::spawn(http::serve(listener, None, router(shared), shutdown.clone()));
        Ok(Self { addr, shutdown, task })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it without waiting for idle connections.
    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        self.task.abort();
        let _ = self.task.await; // aborted, or done
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/log-level", get(log_level).put(set_log_level))
        .with_state(shared)
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    let unmet = shared.gates.unmet();
    if unmet.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", unmet.join(", ")))
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&shared.metrics.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn log_level(State(shared): State<Shared>) -> String {
    format!("{}\n", shared.log_level.get())
}

async fn set_log_level(State(shared): State<Shared>, filter: String) -> Result<String, (StatusCode, String)> {
    shared.log_level.set(&filter).map_err(|why| (StatusCode::BAD_REQUEST, format!("{why}\n")))?;
    tracing::info!(filter = filter.trim(), "log level changed");
    Ok(log_level(State(shared)).await)
}
