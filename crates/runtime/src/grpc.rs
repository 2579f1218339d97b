//! The gRPC server of every service: health, reflection, keepalive, limits, a span per call.

use std::time::Duration;

use anyhow::Context as _;
use millrace_core::Code;
use tokio::net::TcpListener;
use tonic::{
    Status,
    metadata::{MetadataMap, MetadataValue},
    service::Routes,
    transport::Server,
};
use tonic_health::ServingStatus;

pub use crate::accept::Peer;
use crate::{Shutdown, accept, tls, trace};

/// The metadata key under which a failed call carries the name of its [`Code`].
pub const CODE: &str = "millrace-code";

/// How often a silent connection is asked whether it is alive.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long it may take to answer that.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 1024;
/// Bytes of a call's metadata.
const MAX_HEADERS: u32 = 32 * 1024;
/// Bytes in flight on one stream and on one connection; the default of 64 KiB throttles batches.
const WINDOW: u32 = 1024 * 1024;

/// A failed call: the gRPC status of `code`, and the code's name in the metadata.
pub fn status(code: Code, message: impl Into<String>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE, MetadataValue::from_static(code.as_str()));
    Status::with_metadata(tonic::Code::from_i32(code.grpc()), message, metadata)
}

/// Serves until `shutdown`, then finishes the calls that have begun; a handler of an endless stream must watch `shutdown` itself.
/// `descriptor` is the file descriptor set for reflection.
pub async fn serve(
    listener: TcpListener,
    tls: Option<tls::Server>,
    routes: Routes,
    descriptor: &'static [u8],
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(descriptor);
    let routes = routes
        .add_service(health_service)
        .add_service(reflection().build_v1().context("describe the gRPC services")?)
        .add_service(reflection().build_v1alpha().context("describe the gRPC services")?);
    let stopping = {
        let shutdown = shutdown.clone();
        async move {
            shutdown.wait().await;
            health.set_service_status("", ServingStatus::NotServing).await;
        }
    };
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .trace_fn(trace::grpc)
        .add_routes(routes)
        .serve_with_incoming_shutdown(accept::connections(listener, tls, shutdown.clone()), stopping);
    tokio::select! {
        served = serving => served.context("serve gRPC"),
        () = accept::overdue(shutdown) => Ok(()),
    }
}
