//! TLS from files, on both ports.

use millrace_gateway::{Limits, Settings};
use millrace_proto::gateway::v1::{
    CreateKeyRequest, EventStatus, event_service_client::EventServiceClient, key_service_client::KeyServiceClient,
};
use millrace_runtime::tls;
use serde_json::json;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::{
    grpc::{batch, event},
    support::{ADMIN_TOKEN, Gateway, World, authorized},
};

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_speak_tls_and_nothing_else_when_there_is_a_certificate() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let files = tls::Args { tls_cert: Some(cert), tls_key: Some(key), tls_client_ca: None };
    let settings = Settings { tls: files.server().unwrap(), ..world.settings(Limits::default()) };
    let gateway = Gateway::start(settings).await;

    let client = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certified.cert.pem()));
    let endpoint = Endpoint::from_shared(format!("https://localhost:{}", gateway.grpc.port())).unwrap();
    let channel = endpoint.tls_config(client).unwrap().connect().await.unwrap();
    let create = CreateKeyRequest { name: "test".to_owned(), pipelines: vec![world.pipeline.clone()] };
    let created = KeyServiceClient::new(channel.clone()).create_key(authorized(create, ADMIN_TOKEN)).await.unwrap();
    let key = created.into_inner().secret;
    let request = authorized(batch(&world, vec![event("grpc")]), &key);
    let answer = EventServiceClient::new(channel).publish(request).await.unwrap().into_inner();
    assert_eq!(answer.results[0].status(), EventStatus::Accepted);

    let root = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_merge([root]).build().unwrap();
    let url = format!("localhost:{}/v1/pipelines/{}/events", gateway.http.port(), world.pipeline);
    let publish = |scheme: &str| {
        let request = client.post(format!("{scheme}://{url}")).bearer_auth(&key);
        request.json(&json!({"uid": "http", "url_count": 1})).send()
    };
    assert_eq!(publish("https").await.unwrap().status(), 200);
    assert!(publish("http").await.is_err());
    assert_eq!(world.event_ids().await, ["grpc", "http"]);
}
