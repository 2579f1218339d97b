//! The HTTP server of every service: HTTP/1.1 and HTTP/2 (also without TLS), with bounds.

use std::time::Duration;

use axum::{Router, extract::ConnectInfo, http::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::{Shutdown, accept, tls, trace};

/// How long a client may take to send a request's headers, and so how long an HTTP/1.1 connection may be idle.
const HEADERS: Duration = Duration::from_mins(1);
/// How often a silent HTTP/2 connection is asked whether it is alive.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long it may take to answer that.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Bytes of a request's headers.
const MAX_HEADERS: u32 = 32 * 1024;
/// Bytes in flight on one HTTP/2 stream; the default of 64 KiB throttles large bodies.
const WINDOW: u32 = 1024 * 1024;

/// Serves until `shutdown`, then finishes the requests that have begun. Handlers find the peer as `ConnectInfo<SocketAddr>`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<tls::Server>,
    router: Router,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut connections = accept::connections(listener, tls, shutdown.clone());
    let builder = builder();
    let graceful = GracefulShutdown::new();
    while let Some(connection) = connections.next().await {
        let connection = connection?;
        let peer = connection.peer();
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let span = trace::http(&request);
            service.clone().oneshot(request).instrument(span)
        });
        let serving =
            builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(service)).into_owned();
        let serving = graceful.watch(serving);
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::debug!(%peer, error, "connection ended");
            }
        });
    }
    tokio::select! {
        () = graceful.shutdown() => {}
        () = accept::overdue(shutdown) => {}
    }
    Ok(())
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW);
    builder
}
