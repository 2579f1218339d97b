//! What librdkafka calls back with: log lines, errors, statistics, requests for tokens.

mod logs;
mod token;

use std::{error::Error, path::PathBuf};

use rdkafka::{ClientContext, Statistics, client::OAuthToken, config::RDKafkaLogLevel, error::KafkaError};

use self::logs::Logs;
use crate::metrics::ClientMetrics;

/// The part of a context that consumers, producers and admin clients share.
pub(crate) struct Context {
    name: String,
    logs: Logs,
    metrics: Option<ClientMetrics>,
    token_file: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(name: &str, metrics: Option<ClientMetrics>, token_file: Option<PathBuf>) -> Self {
        Self { name: name.to_owned(), logs: Logs::default(), metrics, token_file }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logs.write(&self.name, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logs.error(&self.name, &error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(metrics) = &self.metrics {
            metrics.record(&statistics);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if self.metrics.is_none() {
            return;
        }
        match serde_json::from_slice(statistics) {
            Ok(statistics) => self.stats(statistics),
            Err(error) => tracing::debug!(client = self.name, %error, "librdkafka statistics cannot be read"),
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::read(self.token_file.as_deref())
    }
}

/// Makes a type that holds a [`Context`] in its field `base` a `ClientContext` that passes everything on to it.
macro_rules! delegate_client_context {
    ($type:ty) => {
        impl rdkafka::ClientContext for $type {
            const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
                rdkafka::ClientContext::log(&self.base, level, facility, message);
            }

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                rdkafka::ClientContext::error(&self.base, error, reason);
            }

            fn stats_raw(&self, statistics: &[u8]) {
                rdkafka::ClientContext::stats_raw(&self.base, statistics);
            }

            fn generate_oauth_token(
                &self,
                config: Option<&str>,
            ) -> std::result::Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
                rdkafka::ClientContext::generate_oauth_token(&self.base, config)
            }
        }
    };
}
pub(crate) use delegate_client_context;
