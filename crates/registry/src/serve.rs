use std::sync::Arc;

use anyhow::Context as _;
use millrace_aws::Objects;
use millrace_postgres::{Pool, migrate};
use millrace_runtime::{Shutdown, grpc, http, tls};
use opentelemetry::metrics::Meter;
use tokio::net::TcpListener;

use crate::{
    grpc::Service,
    metrics::Metrics,
    models::{self, Shelf},
    registry::Registry,
    rest,
    store::Store,
    watch::Bell,
};

/// The Postgres schema of this service.
pub(crate) const SCHEMA: &str = "registry";

/// What `millrace-registry migrate` applies.
pub const MIGRATIONS: &migrate::Embedded = &[
    ("V1__schemas", include_str!("../migrations/V1__schemas.sql")),
    ("V2__models", include_str!("../migrations/V2__models.sql")),
];

/// What the registry is built from. The caller owns the ports.
pub struct Parts {
    /// For the REST API.
    pub http: TcpListener,
    /// For gRPC.
    pub grpc: TcpListener,
    /// Of both.
    pub tls: Option<tls::Server>,
    /// The database, migrated.
    pub pool: Pool,
    /// For its metrics.
    pub meter: Meter,
    /// What can be chosen.
    pub options: Options,
    /// Where bundles of models are, if they are kept here.
    pub models: Option<ModelStore>,
}

/// Where bundles of models are.
pub struct ModelStore(pub(crate) Shelf);

impl ModelStore {
    /// In `s3://bucket/prefix`.
    pub fn parse(objects: Objects, uri: &str) -> Result<Self, String> {
        Shelf::parse(objects, uri).map(Self)
    }
}

/// What can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The `error_code` of an incompatible schema: 409, as Confluent up to 7.9 and most clients know it, or 40901.
    pub incompatible_code: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { incompatible_code: 409 }
    }
}

/// Serves until `shutdown`, then finishes the requests that have begun; watchers are sent to other replicas.
pub async fn serve(parts: Parts, shutdown: Shutdown) -> anyhow::Result<()> {
    let Parts { http, grpc, tls, pool, meter, options, models } = parts;
    let registry = Arc::new(Registry::new(Store::new(pool), Metrics::new(&meter)));
    let bell = Bell::new();
    let router = rest::router(Arc::clone(&registry), options);
    let service = Service::new(Arc::clone(&registry), bell.clone(), shutdown.clone());
    let shelf = models.map(|ModelStore(shelf)| shelf);
    let models = models::Service::new(Arc::clone(&registry), shelf, bell.clone(), shutdown.clone());
    let routes = tonic::service::Routes::new(service.server()).add_service(models.server());
    tokio::try_join!(
        async { http::serve(http, tls.clone(), router, shutdown.clone()).await.context("serve REST") },
        grpc::serve(grpc, tls.clone(), routes, millrace_proto::DESCRIPTORS, shutdown.clone()),
        async {
            bell.ring(registry, shutdown.clone()).await;
            Ok(())
        },
    )?;
    Ok(())
}
