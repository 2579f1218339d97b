//! The service put together: the caller owns the ports and the end.

use std::{sync::Arc, time::Duration};

use millrace_core::Pipeline;
use millrace_kafka::{
    self as kafka,
    producer::{self, Producer},
};
use millrace_postgres::Pool;
use millrace_runtime::{Secret, Shutdown, grpc as grpc_server, http as http_server, tls};
use millrace_schema::client::Client;
use opentelemetry::metrics::Meter;
use tokio::net::TcpListener;

use crate::{Limits, admission::Admission, gateway::Gateway, grpc, http, keys::Keys, metrics::Metrics, routes::Routes};

/// How long the last records may take at the end; their requests have been answered, or their clients are gone.
const FLUSH: Duration = Duration::from_secs(2);

/// What a gateway is made from.
pub struct Settings {
    /// The documents of the pipelines that it serves.
    pub pipelines: Vec<Pipeline>,
    /// Where events go.
    pub kafka: kafka::Client,
    /// Where API keys are.
    pub postgres: Pool,
    /// Where schemas are.
    pub registry: Client,
    /// Without it, there is no key service.
    pub admin_token: Option<Secret>,
    /// Bounds.
    pub limits: Limits,
    /// Of both ports.
    pub tls: Option<tls::Server>,
    /// For metrics.
    pub meter: Meter,
}

/// The ports.
pub struct Listeners {
    /// For HTTP.
    pub http: TcpListener,
    /// For gRPC.
    pub grpc: TcpListener,
}

/// A gateway that is ready to serve.
pub struct Service {
    gateway: Arc<Gateway>,
    keys: Arc<Keys>,
    admin_token: Option<Secret>,
    tls: Option<tls::Server>,
}

impl Service {
    /// Connects nothing yet: a gateway starts while what it depends on is away.
    pub fn new(settings: Settings) -> Result<Self, kafka::Error> {
        let Settings { pipelines, kafka, postgres, registry, admin_token, limits, tls, meter } = settings;
        let metrics = Metrics::new(&meter);
        let keys = Keys::new(postgres, metrics.clone());
        let limits = Arc::new(limits);
        // A record gives up before its request does, so that the answer says what Kafka said.
        let config = producer::Config {
            message_timeout: limits.publish_timeout().mul_f64(0.9),
            ..producer::Config::new("gateway")
        };
        let gateway = Gateway {
            routes: Routes::new(pipelines, &registry),
            producer: Producer::new(&kafka, config, Some(&meter))?,
            admission: Admission::new(Arc::clone(&limits)),
            metrics,
            limits,
        };
        Ok(Self { gateway: Arc::new(gateway), keys, admin_token, tls })
    }

    /// Serves until `shutdown`, then finishes the requests that have begun.
    pub async fn serve(self, listeners: Listeners, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { gateway, keys, admin_token, tls } = self;
        let routes = grpc::routes(&gateway, &keys, admin_token, shutdown.clone());
        let router = http::router(Arc::clone(&gateway), Arc::clone(&keys));
        let producer = gateway.producer.clone();
        let serving = async {
            tokio::try_join!(
                http_server::serve(listeners.http, tls.clone(), router, shutdown.clone()),
                grpc_server::serve(listeners.grpc, tls.clone(), routes, millrace_proto::DESCRIPTORS, shutdown.clone()),
            )
        };
        tokio::select! {
            served = serving => served.map(drop)?,
            never = keys.follow() => match never {},
        }
        if let Err(error) = producer.flush(FLUSH).await {
            tracing::warn!(%error, "records were left without an acknowledgement");
        }
        Ok(())
    }
}
