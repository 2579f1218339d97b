//! TLS against a server of ours that speaks the first words of the protocol: the local Postgres has no certificate.

use std::{path::PathBuf, sync::Arc};

use millrace_postgres::{Args, Class};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// An authority made for one test.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The settings of a server that is called `localhost`.
    fn server(&self) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// Takes one connection: whether its handshake came to its end. Without `config` it says that it has no TLS.
async fn server(config: Option<rustls::ServerConfig>) -> (u16, tokio::task::JoinHandle<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "SSLRequest");
        let Some(config) = config else {
            stream.write_all(b"N").await.unwrap();
            return false;
        };
        stream.write_all(b"S").await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(stream).await.is_ok()
    });
    (port, task)
}

/// Whether a client that wants to reach `host`, by mode and authority, ended the handshake. It is never let in.
async fn shakes_hands(
    host: &str,
    mode: &str,
    trusted: Option<&Authority>,
    config: Option<rustls::ServerConfig>,
) -> bool {
    let (port, server) = server(config).await;
    let ca = trusted.map(|authority| format!("&sslrootcert={}", authority.file().display())).unwrap_or_default();
    let url = format!("postgres://u@{host}:{port}/d?hostaddr=127.0.0.1&sslmode={mode}{ca}");
    let error = Args::from_url(url).pool().unwrap().get().await.err().unwrap();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    server.await.unwrap()
}

#[tokio::test]
async fn a_verified_server_has_the_right_name_and_the_right_authority() {
    let (ours, another) = (Authority::new(), Authority::new());
    let config = || Some(ours.server());
    for mode in ["verify-full", "verify-ca", "require"] {
        assert!(shakes_hands("localhost", mode, Some(&ours), config()).await, "{mode}");
        assert!(!shakes_hands("localhost", mode, Some(&another), config()).await, "{mode}: another authority");
        assert!(!shakes_hands("elsewhere", mode, Some(&ours), config()).await, "{mode}: another name");
    }
}

#[tokio::test]
async fn without_an_authority_require_encrypts_and_verify_does_not_trust() {
    let ours = Authority::new();
    assert!(shakes_hands("elsewhere", "require", None, Some(ours.server())).await);
    assert!(!shakes_hands("localhost", "verify-full", None, Some(ours.server())).await);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_was_asked_for() {
    assert!(!shakes_hands("localhost", "verify-full", Some(&Authority::new()), None).await);
}
