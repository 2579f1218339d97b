use std::net::SocketAddr;

use anyhow::Context as _;
use millrace_core::Span;

use crate::{Process, admin, process::Parts, readiness::Gates, telemetry};

/// What every service can be told.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Process")]
pub struct Args {
    /// What to log: a level, or levels by module (`info,millrace_kafka=debug`).
    #[arg(long, env = "MILLRACE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How logs look; the default is `human` on a terminal and `json` elsewhere.
    #[arg(long, env = "MILLRACE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Where /livez, /readyz, /metrics and PUT /log-level are served; port 0 takes a free one and logs it.
    #[arg(long, env = "MILLRACE_ADMIN_ADDR", default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub admin_addr: SocketAddr,
    /// OTLP collector (gRPC) for traces; without it no traces are recorded.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How long the process may take to drain after SIGTERM.
    #[arg(long, env = "MILLRACE_SHUTDOWN_BUDGET", default_value = "30s", value_name = "SPAN")]
    pub shutdown_budget: Span,
    /// The name of this instance, stable over restarts; the default is the host's name.
    #[arg(long, env = "MILLRACE_INSTANCE_ID", value_name = "NAME")]
    pub instance_id: Option<String>,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

impl Args {
    /// Starts telemetry, the admin server and the handling of signals.
    pub async fn start(self, service: &'static str) -> anyhow::Result<Process> {
        let Self { log, log_format, admin_addr, otlp_endpoint, shutdown_budget, instance_id } = self;
        let instance_id = instance_id.unwrap_or_else(host_name);
        let telemetry = telemetry::start(&telemetry::Settings {
            service,
            instance_id: &instance_id,
            filter: &log,
            format: log_format,
            otlp_endpoint: otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()),
        })?;
        let gates = Gates::default();
        let admin = admin::Server::start(admin_addr, &telemetry, gates.clone())
            .await
            .with_context(|| format!("serve the admin port on {admin_addr}"))?;
        tracing::info!(service, instance_id, admin_addr = %admin.addr(), "started");
        Process::new(Parts { instance_id, telemetry, admin, gates, budget: shutdown_budget.into() })
    }
}

fn host_name() -> String {
    std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "local".to_owned())
}
