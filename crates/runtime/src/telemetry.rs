//! Logs, traces and metrics.

use std::{io::IsTerminal, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{Meter, MeterProvider as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream},
    trace::SdkTracerProvider,
};
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::{ConfigError, LogFormat};

/// Upper bounds of buckets for durations, in seconds.
const SECONDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds of buckets for sizes, in bytes.
const BYTES: [f64; 9] = [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
/// Upper bounds of buckets for the rest: records of a batch, attempts.
const COUNTS: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0];

/// How long the last spans may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

type Filter = reload::Handle<EnvFilter, Registry>;

pub(crate) struct Settings<'a> {
    pub(crate) service: &'static str,
    pub(crate) instance_id: &'a str,
    pub(crate) filter: &'a str,
    pub(crate) format: Option<LogFormat>,
    pub(crate) otlp_endpoint: Option<&'a str>,
}

/// What is behind the admin port and must be flushed at the end.
pub(crate) struct Telemetry {
    service: &'static str,
    filter: Filter,
    tracers: Option<SdkTracerProvider>,
    meters: SdkMeterProvider,
    metrics: prometheus::Registry,
}

pub(crate) fn start(settings: &Settings<'_>) -> anyhow::Result<Telemetry> {
    let filter = parse(settings.filter).map_err(|why| ConfigError::new(format!("--log: {why}")))?;
    let resource = Resource::builder()
        .with_service_name(format!("millrace-{}", settings.service))
        .with_attribute(KeyValue::new("service.instance.id", settings.instance_id.to_owned()))
        .build();
    let (filter, handle) = reload::Layer::new(filter);
    let tracers = settings.otlp_endpoint.map(|endpoint| tracers(endpoint, resource.clone())).transpose()?;
    let traces = tracers
        .as_ref()
        .map(|tracers| tracing_opentelemetry::layer().with_tracer(tracers.tracer("millrace")).with_target(false));
    // A second service in one process (tests) shares what the first has set up.
    let _ = tracing_subscriber::registry().with(filter).with(logs(settings.format)).with(traces).try_init();

    let metrics = prometheus::Registry::new();
    // A name in a service's `metrics.rs` is the name on the page: nothing is appended to it.
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(metrics.clone())
        .scope_info_enabled(false)
        .without_counter_suffixes()
        .without_units()
        .build()?;
    let meters = SdkMeterProvider::builder().with_resource(resource).with_reader(exporter).with_view(buckets).build();
    let telemetry = Telemetry { service: settings.service, filter: handle, tracers, meters, metrics };
    observe_memory(&telemetry.meter());
    Ok(telemetry)
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| format!("{filter:?} is not a filter such as `info` or `info,millrace_kafka=debug`: {error}"))
}

fn logs<S>(format: Option<LogFormat>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let human = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format.unwrap_or(if human { LogFormat::Human } else { LogFormat::Json }) {
        LogFormat::Human => layer.with_ansi(human).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

fn tracers(endpoint: &str, resource: Resource) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| ConfigError::new(format!("--otlp-endpoint {endpoint}: {error}")))?;
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// Buckets by unit: the library's own are made for milliseconds and put every duration in seconds into the first one.
fn buckets(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram {
        return None;
    }
    let boundaries = match instrument.unit() {
        "s" => SECONDS.to_vec(),
        "By" => BYTES.to_vec(),
        _ => COUNTS.to_vec(),
    };
    let aggregation = Aggregation::ExplicitBucketHistogram { boundaries, record_min_max: false };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

/// `process_resident_memory_bytes`, under the name that every Prometheus dashboard knows.
fn observe_memory(meter: &Meter) {
    meter
        .u64_observable_gauge("process_resident_memory_bytes")
        .with_unit("By")
        .with_description("Resident memory of the process")
        .with_callback(|gauge| {
            if let Some(bytes) = resident_memory() {
                gauge.observe(bytes, &[]);
            }
        })
        .build();
}

fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

impl Telemetry {
    pub(crate) fn meter(&self) -> Meter {
        self.meters.meter(self.service)
    }

    pub(crate) fn metrics(&self) -> prometheus::Registry {
        self.metrics.clone()
    }

    pub(crate) fn log_level(&self) -> LogLevel {
        LogLevel(self.filter.clone())
    }

    /// Sends the last spans.
    pub(crate) async fn flush(self) {
        let Some(tracers) = self.tracers else { return };
        let flushed = tokio::task::spawn_blocking(move || tracers.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = flushed {
            tracing::debug!(%error, "last spans were lost");
        }
    }
}

/// The log filter of the running process.
#[derive(Clone)]
pub(crate) struct LogLevel(Filter);

impl LogLevel {
    pub(crate) fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn set(&self, filter: &str) -> Result<(), String> {
        self.0.reload(parse(filter.trim())?).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    #[test]
    fn a_histogram_of_seconds_has_buckets_from_a_millisecond_to_a_minute() {
        let settings =
            Settings { service: "test", instance_id: "i", filter: "info", format: None, otlp_endpoint: None };
        let telemetry = start(&settings).unwrap();
        telemetry.meter().f64_histogram("millrace_test_duration_seconds").with_unit("s").build().record(0.002, &[]);
        let mut text = Vec::new();
        TextEncoder::new().encode(&telemetry.metrics().gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("millrace_test_duration_seconds_bucket{le=\"0.001\"} 0"), "{text}");
        assert!(text.contains("millrace_test_duration_seconds_bucket{le=\"0.0025\"} 1"), "{text}");
        assert!(text.contains("millrace_test_duration_seconds_bucket{le=\"60\"} 1"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }

    #[test]
    fn a_bad_filter_is_refused_with_an_example() {
        assert!(parse("info,millrace_kafka=loud").unwrap_err().contains("millrace_kafka=debug"));
    }
}
