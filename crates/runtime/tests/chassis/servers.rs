use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get as on_get};
use millrace_core::Code;
use millrace_runtime::{Shutdown, grpc, http, tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::get;

struct Running {
    addr: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn http(tls: Option<tls::Server>) -> Running {
    let (listener, addr) = listen().await;
    let router = Router::new()
        .route("/peer", on_get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()))
        .route(
            "/slow",
            on_get(async || {
                sleep(Duration::from_millis(500)).await;
                "done"
            }),
        );
    let shutdown = Shutdown::new();
    let task = tokio::spawn(http::serve(listener, tls, router, shutdown.clone()));
    Running { addr, shutdown, task }
}

#[tokio::test]
async fn http_finishes_what_has_begun_and_takes_nothing_new() {
    let Running { addr, shutdown, task } = http(None).await;
    assert_eq!(get(addr, "/peer").await, (200, "127.0.0.1".to_owned()));
    let slow = tokio::spawn(get(addr, "/slow"));
    let idle = TcpStream::connect(addr).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    shutdown.trigger();
    assert_eq!(slow.await.unwrap(), (200, "done".to_owned()));
    timeout(Duration::from_secs(5), task).await.expect("idle connections hold nothing up").unwrap().unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn http_speaks_http2_without_tls() {
    let Running { addr, .. } = http(None).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame");
}

#[tokio::test]
async fn grpc_has_health_and_reflection_and_stops() {
    let (listener, addr) = listen().await;
    let shutdown = Shutdown::new();
    let routes = tonic::service::Routes::default();
    let task = tokio::spawn(grpc::serve(listener, None, routes, millrace_proto::DESCRIPTORS, shutdown.clone()));
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status, 1, "SERVING");

    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(list))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services")
    };
    assert!(list.service.iter().any(|service| service.name == "millrace.registry.v1.RegistryService"), "{list:?}");
    drop(answers);
    shutdown.trigger();
    timeout(Duration::from_secs(5), task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_keep_a_server_from_stopping() {
    let (listener, addr) = listen().await;
    let shutdown = Shutdown::new();
    let routes = tonic::service::Routes::default();
    let task = tokio::spawn(grpc::serve(listener, None, routes, millrace_proto::DESCRIPTORS, shutdown.clone()));
    let mut frozen = TcpStream::connect(addr).await.unwrap();
    frozen.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    sleep(Duration::from_millis(200)).await;
    shutdown.trigger();
    timeout(Duration::from_secs(15), task).await.expect("it stops without its client").unwrap().unwrap();
}

#[test]
fn a_grpc_status_names_our_code() {
    let status = grpc::status(Code::IncompatibleSchema, "no");
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert_eq!(status.metadata().get(grpc::CODE).unwrap(), "INCOMPATIBLE_SCHEMA");
}

/// An authority and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'static, KeyPair> = &self.0;
        let cert = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    fn server(&self, dir: &Path) -> tls::Server {
        let (cert, key) = self.sign("localhost");
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let args = tls::Args {
            tls_cert: write("cert.pem", &cert),
            tls_key: write("key.pem", &key),
            tls_client_ca: write("ca.pem", &self.0.pem()),
        };
        args.server().unwrap().unwrap()
    }

    fn client(&self, with_certificate: bool) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = if with_certificate {
            let (cert, key) = self.sign("client");
            let cert = rustls::pki_types::CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        TlsConnector::from(Arc::new(config))
    }
}

async fn secure_get(addr: SocketAddr, connector: TlsConnector) -> std::io::Result<String> {
    let stream = TcpStream::connect(addr).await?;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn with_a_client_authority_only_its_clients_come_in_and_a_slow_one_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let Running { addr, .. } = http(Some(authority.server(dir.path()))).await;
    let _silent = TcpStream::connect(addr).await.unwrap(); // never begins its handshake
    let answer = timeout(Duration::from_secs(5), secure_get(addr, authority.client(true))).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
    assert!(secure_get(addr, authority.client(false)).await.is_err());
    assert!(secure_get(addr, Authority::new().client(true)).await.is_err());
}
