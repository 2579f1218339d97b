//! TLS for our own servers, from files that may change under a running process.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::ConfigError;

/// How often the files are looked at, at most.
const RECHECK: Duration = Duration::from_secs(10);

/// TLS of a server; without a certificate it speaks plain text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct Args {
    /// Certificate chain of the server, PEM.
    #[arg(long, env = "MILLRACE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, env = "MILLRACE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose client certificates are demanded (mTLS), PEM.
    #[arg(long, env = "MILLRACE_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
}

impl Args {
    /// Reads the files, if any are named.
    pub fn server(self) -> Result<Option<Server>, ConfigError> {
        let Self { tls_cert, tls_key, tls_client_ca } = self;
        match (tls_cert, tls_key) {
            (Some(cert), Some(key)) => Server::new(Files { cert, key, client_ca: tls_client_ca }).map(Some),
            (None, None) if tls_client_ca.is_none() => Ok(None),
            _ => Err(ConfigError::new("--tls-cert and --tls-key belong together, and --tls-client-ca needs both")),
        }
    }
}

/// The files that a server's TLS is made from.
#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// TLS of a server. A changed file is in force for the connections that come after.
#[derive(Clone)]
pub struct Server {
    files: Arc<Files>,
    current: Arc<Mutex<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    stamps: Vec<Option<SystemTime>>,
    checked: Instant,
}

impl Server {
    fn new(files: Files) -> Result<Self, ConfigError> {
        let stamps = files.stamps();
        let current = Current { config: files.load()?, stamps, checked: Instant::now() };
        Ok(Self { files: Arc::new(files), current: Arc::new(Mutex::new(current)) })
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config()).accept(stream).await
    }

    fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.checked.elapsed() >= RECHECK {
            current.refresh(&self.files);
        }
        Arc::clone(&current.config)
    }
}

impl Current {
    fn refresh(&mut self, files: &Files) {
        self.checked = Instant::now();
        let stamps = files.stamps();
        if stamps == self.stamps {
            return;
        }
        match files.load() {
            Ok(config) => {
                tracing::info!(cert = %files.cert.display(), "TLS files changed");
                (self.config, self.stamps) = (config, stamps);
            }
            // Written in halves, perhaps: looked at again next time.
            Err(error) => tracing::warn!(%error, "cannot read TLS files again, keeping the last"),
        }
    }
}

impl Files {
    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let stamp = |path: &PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().map(stamp).collect()
    }

    fn load(&self) -> Result<Arc<ServerConfig>, ConfigError> {
        let provider = Arc::new(ring::default_provider());
        let bad = |flag: &str, path: &Path, why: &dyn std::fmt::Display| {
            ConfigError::new(format!("{flag} {}: {why}", path.display()))
        };
        let chain = certificates(&self.cert).map_err(|why| bad("--tls-cert", &self.cert, &why))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|why| bad("--tls-key", &self.key, &why))?;
        let verifier = match &self.client_ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(ca) => verifier(ca, &provider).map_err(|why| bad("--tls-client-ca", ca, &why))?,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_client_cert_verifier(verifier))
            .and_then(|builder| builder.with_single_cert(chain, key))
            .map_err(|why| bad("--tls-cert", &self.cert, &why))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?.collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("holds no certificate".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(error.to_string()),
    }
}

fn verifier(ca: &Path, provider: &Arc<rustls::crypto::CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn write(files: &Files, name: &str) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn changed_files_are_read_again_and_broken_ones_are_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { cert: dir.path().join("c"), key: dir.path().join("k"), client_ca: None };
        write(&files, "one");
        let server = Server::new(files.clone()).unwrap();
        let first = server.config();
        let mut current = server.current.lock().unwrap();

        write(&files, "two");
        current.stamps.clear(); // file systems with coarse clocks
        current.refresh(&files);
        let second = Arc::clone(&current.config);
        assert!(!Arc::ptr_eq(&first, &second));

        std::fs::write(&files.cert, "half of a certif").unwrap();
        current.stamps.clear();
        current.refresh(&files);
        assert!(Arc::ptr_eq(&second, &current.config));
    }

    #[test]
    fn a_missing_file_is_named_with_its_flag() {
        let args = Args { tls_cert: Some("/no/cert".into()), tls_key: Some("/no/key".into()), tls_client_ca: None };
        let error = args.server().err().unwrap();
        assert!(error.to_string().starts_with("--tls-cert /no/cert"), "{error}");
    }
}
