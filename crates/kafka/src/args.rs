//! Where Kafka is and how to get in: flags with environment fallbacks.

use std::{collections::BTreeMap, path::PathBuf};

use clap::ValueEnum;
use millrace_runtime::ConfigError;
use rdkafka::{ClientConfig, error::KafkaError};

use crate::client::Client;

/// How to reach Kafka.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Kafka")]
pub struct Args {
    /// Bootstrap servers: host:port, comma separated.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_brokers: String,
    /// How to talk to the brokers.
    #[arg(long, env = "MILLRACE_KAFKA_SECURITY_PROTOCOL", value_enum, default_value_t = SecurityProtocol::Plaintext)]
    pub kafka_security_protocol: SecurityProtocol,
    #[command(flatten)]
    sasl: Sasl,
    #[command(flatten)]
    ssl: Ssl,
    /// The consumer group protocol: `classic` (cooperative-sticky), or `consumer` (KIP-848; its session timeouts are
    /// the broker's).
    #[arg(long, env = "MILLRACE_KAFKA_GROUP_PROTOCOL", value_enum, default_value_t = GroupProtocol::Classic)]
    pub kafka_group_protocol: GroupProtocol,
    /// Any setting of librdkafka, as key=value; may be repeated.
    #[arg(long = "kafka-set", env = "MILLRACE_KAFKA_SET", value_name = "KEY=VALUE", value_delimiter = ';')]
    pub kafka_set: Vec<String>,
}

/// SASL: who we are.
#[derive(Clone, clap::Args)]
struct Sasl {
    /// The SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
    #[arg(id = "kafka_sasl_mechanism", long = "kafka-sasl-mechanism", env = "MILLRACE_KAFKA_SASL_MECHANISM")]
    mechanism: Option<String>,
    /// The SASL user.
    #[arg(id = "kafka_sasl_username", long = "kafka-sasl-username", env = "MILLRACE_KAFKA_SASL_USERNAME")]
    username: Option<String>,
    /// The SASL password.
    #[arg(
        id = "kafka_sasl_password",
        long = "kafka-sasl-password",
        env = "MILLRACE_KAFKA_SASL_PASSWORD",
        hide_env_values = true
    )]
    password: Option<String>,
    /// A file that holds the SASL password.
    #[arg(
        id = "kafka_sasl_password_file",
        long = "kafka-sasl-password-file",
        env = "MILLRACE_KAFKA_SASL_PASSWORD_FILE",
        conflicts_with = "kafka_sasl_password"
    )]
    password_file: Option<PathBuf>,
    /// A file that holds the token (a JWT) for OAUTHBEARER; read again for each refresh.
    #[arg(id = "kafka_sasl_token_file", long = "kafka-sasl-token-file", env = "MILLRACE_KAFKA_SASL_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl std::fmt::Debug for Sasl {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// TLS: whom we trust and, for mutual TLS, who we are.
#[derive(Clone, Debug, clap::Args)]
struct Ssl {
    /// PEM file of the authorities that sign the brokers' certificates; without it, the system's.
    #[arg(id = "kafka_ssl_ca", long = "kafka-ssl-ca", env = "MILLRACE_KAFKA_SSL_CA")]
    ca: Option<PathBuf>,
    /// PEM file of our own certificate.
    #[arg(id = "kafka_ssl_cert", long = "kafka-ssl-cert", env = "MILLRACE_KAFKA_SSL_CERT")]
    cert: Option<PathBuf>,
    /// PEM file of our own key.
    #[arg(id = "kafka_ssl_key", long = "kafka-ssl-key", env = "MILLRACE_KAFKA_SSL_KEY")]
    key: Option<PathBuf>,
}

/// Kafka's `security.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }
}

/// How the members of a consumer group agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupProtocol {
    /// The classic protocol with the cooperative-sticky assignor: a dead member is noticed after 10 s.
    Classic,
    /// KIP-848: assigned by the broker, which sets the session timeout as well.
    Consumer,
}

/// Settings that the guarantees rest on; they cannot be set by hand.
const OURS: [&str; 13] = [
    "acks",
    "request.required.acks",
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.idempotence",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "partition.assignment.strategy",
    "transactional.id",
];

impl Args {
    /// Only the brokers' addresses, for tests and tools on a plain listener.
    pub fn plaintext(brokers: impl Into<String>) -> Self {
        Self {
            kafka_brokers: brokers.into(),
            kafka_security_protocol: SecurityProtocol::Plaintext,
            sasl: Sasl { mechanism: None, username: None, password: None, password_file: None, token_file: None },
            ssl: Ssl { ca: None, cert: None, key: None },
            kafka_group_protocol: GroupProtocol::Classic,
            kafka_set: Vec::new(),
        }
    }

    /// Checks the settings, all of them; nothing is connected yet.
    pub fn client(&self) -> Result<Client, ConfigError> {
        let mut faults = Vec::new();
        let mut settings = BTreeMap::new();
        if self.kafka_brokers.trim().is_empty() {
            faults.push("--kafka-brokers: expected host:port, comma separated, got nothing".to_owned());
        }
        settings.insert("bootstrap.servers".to_owned(), self.kafka_brokers.clone());
        settings.insert("security.protocol".to_owned(), self.kafka_security_protocol.as_str().to_owned());
        self.security(&mut settings, &mut faults);
        let overrides = self.overrides(&mut faults);
        for (key, value) in settings.iter().chain(&overrides) {
            faults.extend(refusal(key, value));
        }
        if faults.is_empty() {
            let token_file = self.sasl.token_file.clone();
            Ok(Client::new(settings, overrides, self.kafka_group_protocol, token_file))
        } else {
            Err(ConfigError::new(faults.join("\n")))
        }
    }

    fn security(&self, settings: &mut BTreeMap<String, String>, faults: &mut Vec<String>) {
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                settings.insert(key.to_owned(), value);
            }
        };
        let password = match &self.sasl.password_file {
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    faults.push(format!("--kafka-sasl-password-file: {}: {error}", path.display()));
                    None
                }
            },
            None => self.sasl.password.clone(),
        };
        set("sasl.mechanism", self.sasl.mechanism.clone());
        set("sasl.username", self.sasl.username.clone());
        set("sasl.password", password);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        set("ssl.ca.location", path(&self.ssl.ca));
        set("ssl.certificate.location", path(&self.ssl.cert));
        set("ssl.key.location", path(&self.ssl.key));
    }

    fn overrides(&self, faults: &mut Vec<String>) -> BTreeMap<String, String> {
        let mut overrides = BTreeMap::new();
        for pair in &self.kafka_set {
            match pair.split_once('=') {
                Some((key, _)) if OURS.contains(&key) => {
                    faults
                        .push(format!("--kafka-set {key}: Millrace's guarantees rest on it; it cannot be set by hand"));
                }
                Some((key, value)) => {
                    overrides.insert(key.to_owned(), value.to_owned());
                }
                None => faults.push(format!("--kafka-set {pair}: expected key=value")),
            }
        }
        overrides
    }
}

/// What librdkafka has against one setting. Values may be secrets and are not repeated.
fn refusal(key: &str, value: &str) -> Option<String> {
    match ClientConfig::new().set(key, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, description, key, _)) => Some(format!("Kafka setting {key}: {description}")),
        Err(error) => Some(format!("Kafka setting {key}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let mut args = Args::plaintext("");
        args.kafka_set = vec!["linger.ms=soon".into(), "no.such.key=1".into(), "acks=1".into(), "nothing".into()];
        let text = args.client().unwrap_err().to_string();
        for part in ["--kafka-brokers", "linger.ms", "no.such.key", "--kafka-set acks", "--kafka-set nothing"] {
            assert!(text.contains(part), "{part} is missing from: {text}");
        }
    }

    #[test]
    fn a_password_is_read_from_its_file_and_never_repeated() {
        let mut args = Args::plaintext("localhost:9092");
        args.sasl.password_file = Some("/no/such/file".into());
        args.sasl.password = Some("hunter2".into());
        let text = args.client().unwrap_err().to_string();
        assert!(text.contains("/no/such/file") && !text.contains("hunter2"), "{text}");
    }
}
