use std::{fmt, path::PathBuf, time::Duration};

use schema_registry_converter::async_impl::schema_registry::SrSettings;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::{Error, rest::REQUEST};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the schema registry is, and who we are to it.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Schema registry")]
pub struct Args {
    /// Base URLs of the registry's REST API, tried in order.
    #[arg(
        long,
        env = "MILLRACE_REGISTRY_HTTP",
        value_name = "URL",
        value_delimiter = ',',
        required = true,
        value_parser = base_url
    )]
    pub registry_url: Vec<String>,
    /// gRPC address of a Millrace registry, to be told of changes: `http://host:port`.
    #[arg(long, env = "MILLRACE_REGISTRY_GRPC", value_name = "ADDRESS", value_parser = target)]
    pub registry_grpc: Option<String>,
    /// User name (API key) of basic authentication.
    #[arg(long, env = "MILLRACE_REGISTRY_USER", value_name = "NAME", conflicts_with_all = ["registry_token", "registry_token_file"])]
    pub registry_user: Option<String>,
    /// Password (API secret) of basic authentication.
    #[arg(
        long,
        env = "MILLRACE_REGISTRY_PASSWORD",
        value_name = "TEXT",
        hide_env_values = true,
        requires = "registry_user"
    )]
    pub registry_password: Option<String>,
    /// File with the password, read again when the registry refuses it.
    #[arg(
        long,
        env = "MILLRACE_REGISTRY_PASSWORD_FILE",
        value_name = "FILE",
        conflicts_with = "registry_password",
        requires = "registry_user"
    )]
    pub registry_password_file: Option<PathBuf>,
    /// Bearer token.
    #[arg(long, env = "MILLRACE_REGISTRY_TOKEN", value_name = "TEXT", hide_env_values = true)]
    pub registry_token: Option<String>,
    /// File with the bearer token, read again when the registry refuses it.
    #[arg(long, env = "MILLRACE_REGISTRY_TOKEN_FILE", value_name = "FILE", conflicts_with = "registry_token")]
    pub registry_token_file: Option<PathBuf>,
    /// Authority that signed the registry's certificate, PEM, beside those of the system.
    #[arg(long, env = "MILLRACE_REGISTRY_CA", value_name = "FILE")]
    pub registry_ca: Option<PathBuf>,
}

/// Without the slash at its end, which would be doubled.
fn base_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("{error}; expected http://host:port"))?;
    match url.scheme() {
        "http" | "https" => Ok(text.trim_end_matches('/').to_owned()),
        other => Err(format!("scheme {other:?}; expected http://host:port")),
    }
}

/// gRPC clients name a server by `host:port`; without a scheme it is plain text.
fn target(text: &str) -> Result<String, String> {
    if text.contains("://") { base_url(text) } else { base_url(&format!("http://{text}")) }
}

impl Args {
    /// A registry without authentication and without Watch.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self {
            registry_url: vec![url.into().trim_end_matches('/').to_owned()],
            registry_grpc: None,
            registry_user: None,
            registry_password: None,
            registry_password_file: None,
            registry_token: None,
            registry_token_file: None,
            registry_ca: None,
        }
    }

    /// The same, told of changes at this gRPC address.
    #[must_use]
    pub fn with_grpc(mut self, url: impl Into<String>) -> Self {
        self.registry_grpc = Some(url.into());
        self
    }

    /// Reads the credential files and makes what the REST calls go through.
    pub(super) fn settings(&self) -> Result<SrSettings, Error> {
        let Some((first, others)) = self.registry_url.split_first() else {
            return Err(Error::Invalid("--registry-url: expected at least one URL".to_owned()));
        };
        let mut builder = SrSettings::new_builder(first.clone());
        for url in others {
            builder.add_url(url.clone());
        }
        if let Some(token) = credential(self.registry_token.as_ref(), self.registry_token_file.as_ref())? {
            builder.set_token_authorization(&token);
        } else if let Some(user) = &self.registry_user {
            let password = credential(self.registry_password.as_ref(), self.registry_password_file.as_ref())?;
            builder.set_basic_authorization(user, password.as_deref());
        }
        builder.set_timeout(REQUEST);
        builder.build_with(self.http()?).map_err(|error| Error::Invalid(error.error))
    }

    /// What is common to all HTTP of this client.
    pub(super) fn http(&self) -> Result<reqwest::ClientBuilder, Error> {
        let builder = reqwest::Client::builder().timeout(REQUEST);
        let Some(pem) = self.authority()? else { return Ok(builder) };
        let certificate =
            reqwest::Certificate::from_pem(&pem).map_err(|error| Error::Invalid(format!("--registry-ca: {error}")))?;
        Ok(builder.tls_certs_merge([certificate]))
    }

    /// Adds our credentials to a request that the converter has no call for.
    pub(super) fn authorize(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder, Error> {
        if let Some(token) = credential(self.registry_token.as_ref(), self.registry_token_file.as_ref())? {
            return Ok(request.bearer_auth(token));
        }
        let Some(user) = &self.registry_user else { return Ok(request) };
        let password = credential(self.registry_password.as_ref(), self.registry_password_file.as_ref())?;
        Ok(request.basic_auth(user, password))
    }

    /// Where its gRPC is, if it has any: not connected yet, and with a sign of life every 20 s while nothing is told.
    pub fn endpoint(&self) -> Result<Option<Endpoint>, Error> {
        let endpoint = self.bare_endpoint()?;
        Ok(endpoint.map(|endpoint| {
            endpoint
                .connect_timeout(CONNECT)
                .http2_keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(CONNECT)
                .keep_alive_while_idle(true)
        }))
    }

    fn bare_endpoint(&self) -> Result<Option<Endpoint>, Error> {
        let Some(url) = &self.registry_grpc else { return Ok(None) };
        let bad = |error: tonic::transport::Error| Error::Invalid(format!("--registry-grpc {url}: {error}"));
        let endpoint = Endpoint::from_shared(url.clone()).map_err(bad)?;
        if !url.starts_with("https:") {
            return Ok(Some(endpoint));
        }
        let tls = ClientTlsConfig::new();
        let tls = match self.authority()? {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_enabled_roots(),
        };
        endpoint.tls_config(tls).map(Some).map_err(bad)
    }

    fn authority(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(path) = &self.registry_ca else { return Ok(None) };
        std::fs::read(path)
            .map(Some)
            .map_err(|error| Error::Invalid(format!("--registry-ca {}: {error}", path.display())))
    }
}

fn credential(value: Option<&String>, file: Option<&PathBuf>) -> Result<Option<String>, Error> {
    let Some(path) = file else { return Ok(value.cloned()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::Invalid(format!("read registry credentials {}: {error}", path.display())))?;
    Ok(Some(text.trim_end().to_owned()))
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args")
            .field("registry_url", &self.registry_url)
            .field("registry_grpc", &self.registry_grpc)
            .finish_non_exhaustive() // the rest is secret
    }
}
