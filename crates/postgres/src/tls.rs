//! TLS to Postgres: `sslmode` as libpq means it, with rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Socket;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How the connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    mode: Mode,
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    Verify,
}

impl Tls {
    /// Takes `sslmode` and `sslrootcert` out of an address: the driver does not know libpq's verifying modes.
    pub(crate) fn from_url(url: &str, ca: Option<PathBuf>) -> Result<(String, Self), String> {
        let mut tls = Self { mode: Mode::Prefer, ca };
        let rest = match url.split_once('?') {
            Some((base, query)) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                let kept = tls.take(query.split('&'))?;
                if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
            }
            None if url.starts_with("postgres://") || url.starts_with("postgresql://") => url.to_owned(),
            _ => tls.take(url.split_ascii_whitespace())?.join(" "),
        };
        Ok((rest, tls))
    }

    fn take<'a>(&mut self, pairs: impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>, String> {
        let mut kept = Vec::new();
        for pair in pairs {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => self.mode = Mode::parse(mode)?,
                Some(("sslrootcert", path)) => self.ca = Some(PathBuf::from(path)),
                _ => kept.push(pair),
            }
        }
        Ok(kept)
    }

    pub(crate) fn driver_mode(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::Verify => SslMode::Require,
        }
    }

    /// The settings, with the certificates as they are on disk now.
    pub(crate) fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match (self.mode, &self.ca) {
            (Mode::Verify, None) => builder.with_root_certificates(system_roots()?),
            // As libpq: a root certificate makes `require` verify.
            (Mode::Verify | Mode::Require, Some(path)) => builder.with_root_certificates(roots(path)?),
            (Mode::Disable | Mode::Prefer, _) | (Mode::Require, None) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
        };
        Ok(config.with_no_client_auth())
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    /// For each connection anew, so that rotated certificates are taken up.
    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let mut connect = MakeRustlsConnect::new(self.config()?);
        Ok(MakeTlsConnect::<Socket>::make_tls_connect(&mut connect, host)?)
    }
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" | "allow" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            // The host name is checked as well: stricter than libpq, and never the thing that somebody relied on.
            "verify-ca" | "verify-full" => Ok(Self::Verify),
            other => {
                Err(format!("sslmode: expected disable, prefer, require, verify-ca or verify-full, got {other:?}"))
            }
        }
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let bad = |error: &dyn std::fmt::Display| format!("read certificates {}: {error}", path.display());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
        store.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    if store.is_empty() { Err(bad(&"no certificate in it")) } else { Ok(store) }
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        return Err("the system has no root certificates: name some by --database-ca".to_owned());
    }
    Ok(store)
}

/// Encryption without knowing the peer: what `sslmode=require` and `prefer` promise, no more.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifying_modes_are_taken_out_of_the_address() {
        let (url, tls) =
            Tls::from_url("postgres://u@h:5/d?sslmode=verify-full&application_name=x&sslrootcert=/ca", None).unwrap();
        assert_eq!(url, "postgres://u@h:5/d?application_name=x");
        assert_eq!(tls, Tls { mode: Mode::Verify, ca: Some("/ca".into()) });
        assert_eq!(tls.driver_mode(), SslMode::Require);

        let (pairs, tls) = Tls::from_url("host=h sslmode=disable user=u", None).unwrap();
        assert_eq!((pairs.as_str(), tls.mode), ("host=h user=u", Mode::Disable));
        assert_eq!(Tls::from_url("postgres://h/d?sslmode=prefer", None).unwrap().0, "postgres://h/d");
        assert!(Tls::from_url("postgres://h/d?sslmode=maybe", None).unwrap_err().contains("verify-full"));
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let tls = Tls { mode: Mode::Verify, ca: Some("/no/such.pem".into()) };
        assert!(tls.config().err().unwrap().contains("/no/such.pem"));
    }
}
