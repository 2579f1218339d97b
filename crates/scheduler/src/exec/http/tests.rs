use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::{any, post},
};
use futures::stream;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::exec::testing::{Server, attempt, failure, nowhere, until};

fn http() -> Http {
    Http::new(Secrets::default()).unwrap()
}

fn to(url: String) -> document::Http {
    document::Http { method: "POST".to_owned(), url, headers: BTreeMap::new(), secrets: BTreeMap::new(), body: None }
}

async fn run(spec: &document::Http) -> Ended {
    http().run(&attempt(), spec, Begin::New, &CancellationToken::new()).await
}

fn output(ended: Ended) -> Value {
    let End::Succeeded(Some(output)) = ended.end else { panic!("no output: {ended:?}") };
    output
}

/// What it was sent, as JSON.
async fn echo(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let headers: BTreeMap<&str, &str> =
        headers.iter().map(|(name, text)| (name.as_str(), text.to_str().unwrap())).collect();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    (
        [("content-type", "application/vnd.echo+json; charset=utf-8")],
        json!({"headers": headers, "body": body}).to_string(),
    )
}

async fn status(Path(code): Path<u16>) -> impl IntoResponse {
    let location = [("location", "/elsewhere?token=hunter2")];
    (StatusCode::from_u16(code).unwrap(), location, "\u{7}no\n".repeat(1_000))
}

/// Kilobytes that were asked for, one after another, without end.
async fn endless(State(sent): State<Arc<AtomicUsize>>) -> Body {
    Body::from_stream(stream::repeat_with(move || {
        sent.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1024]))
    }))
}

fn server() -> Server {
    Server::http(
        Router::new()
            .route("/echo", post(echo))
            .route("/status/{code}", any(status))
            .route("/text", any(async || "all done"))
            .route("/nothing", any(async || StatusCode::NO_CONTENT))
            .route("/liar", any(async || ([("content-type", "application/json")], "all done")))
            .route("/large", any(async || vec![b' '; MAX_OUTPUT + 1])),
    )
}

#[tokio::test]
async fn the_body_of_a_success_is_the_output() {
    let server = server();
    let mut spec = to(server.at("/echo"));
    spec.headers.insert("X-Own".to_owned(), "1".to_owned());
    spec.body = Some(json!({"rows": [1, null, "ä"]}));
    let output = output(run(&spec).await);
    assert_eq!(output["body"], json!({"rows": [1, null, "ä"]}));
    for (name, text) in [
        ("idempotency-key", "nightly-7-load-3-2"),
        ("millrace-token", "41"),
        ("millrace-run", "7"),
        ("millrace-task", "load"),
        ("millrace-attempt", "2"),
        ("content-type", "application/json"),
        ("x-own", "1"),
    ] {
        assert_eq!(output["headers"][name], text, "{name}");
    }
}

#[tokio::test]
async fn a_document_may_say_the_key_and_the_type_itself() {
    let server = server();
    let mut spec = to(server.at("/echo"));
    spec.headers.insert("idempotency-key".to_owned(), "of the run".to_owned());
    spec.headers.insert("Content-Type".to_owned(), "application/cloudevents+json".to_owned());
    spec.body = Some(json!({}));
    let output = output(run(&spec).await);
    assert_eq!(output["headers"]["idempotency-key"], "of the run");
    assert_eq!(output["headers"]["content-type"], "application/cloudevents+json");
}

#[tokio::test]
async fn secrets_are_sent() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "hunter2\n").unwrap();
    let http = Http::new(Secrets::new(Some(folder.path().to_owned()))).unwrap();
    let mut spec = to(server.at("/echo"));
    spec.secrets.insert("X-Api-Key".to_owned(), "token".to_owned());
    let ended = http.run(&attempt(), &spec, Begin::New, &CancellationToken::new()).await;
    assert_eq!(output(ended)["headers"]["x-api-key"], "hunter2");
}

#[tokio::test]
async fn what_is_not_json_is_told_with_its_status() {
    let server = server();
    assert_eq!(output(run(&to(server.at("/text"))).await), json!({"status": 200, "body": "all done"}));
    assert_eq!(output(run(&to(server.at("/nothing"))).await), json!({"status": 204, "body": ""}));
    let liar = failure(run(&to(server.at("/liar"))).await);
    assert!(liar.message.contains("what it calls JSON and is none") && !liar.permanent, "{}", liar.message);
}

#[tokio::test]
async fn a_refusal_says_whether_trying_again_is_of_use() {
    let server = server();
    for (code, permanent) in
        [(400, true), (401, true), (404, true), (409, true), (408, false), (429, false), (500, false), (503, false)]
    {
        let failure = failure(run(&to(server.at(&format!("/status/{code}?token=hunter2")))).await);
        assert_eq!((failure.code.as_str(), failure.permanent), (code.to_string().as_str(), permanent), "{code}");
        let said = format!("POST {} answered {code} ", server.at(&format!("/status/{code}")));
        assert!(failure.message.starts_with(&said), "{}", failure.message);
        assert!(failure.message.contains("no  no") && failure.message.len() < 1_200, "{}", failure.message);
        assert!(!failure.message.contains("hunter2") && !failure.message.contains(char::is_control));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = server();
    let failure = failure(run(&to(server.at("/status/302"))).await);
    assert!(failure.permanent && failure.code == "302");
    let leads = format!("leads to {}:", server.at("/elsewhere"));
    assert!(failure.message.contains(&leads) && !failure.message.contains("hunter2"), "{}", failure.message);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let endless = Server::http(Router::new().route("/", any(endless)).with_state(Arc::clone(&sent)));
    let failed = failure(run(&to(endless.at("/"))).await);
    assert!(failed.permanent && failed.message.contains("more than 1048576 bytes"), "{}", failed.message);
    // What the kernel holds on both sides comes on top.
    assert!(sent.load(Ordering::Relaxed) < 16 * MAX_OUTPUT / 1024, "{sent:?}");

    let server = server();
    let failed = failure(run(&to(server.at("/large"))).await);
    assert!(failed.permanent && failed.message.contains("output of 1048577 bytes"), "{}", failed.message);
}

#[tokio::test]
async fn a_connection_that_fails_may_be_tried_again() {
    let nowhere = nowhere();
    let gone = failure(run(&to(format!("http://{nowhere}/a?token=hunter2"))).await);
    assert_eq!((gone.code.as_str(), gone.permanent), ("UNAVAILABLE", false));
    let reason = "client error (Connect): tcp connect error: Connection refused (os error 111)";
    assert_eq!(gone.message, format!("POST http://{nowhere}/a: error sending request: {reason}"));

    let half = Server::start(Server::any(), async |listener: tokio::net::TcpListener| {
        let (peer, _) = listener.accept().await.unwrap();
        let mut peer = tokio::io::BufReader::new(peer);
        // What is closed with something unread resets what was written.
        while peer.read_line(&mut String::new()).await.unwrap() > 2 {}
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    });
    let half = failure(run(&to(half.at("/"))).await);
    assert_eq!((half.code.as_str(), half.permanent), ("UNAVAILABLE", false));
    assert!(half.message.contains("answered 200 OK and broke off"), "{}", half.message);
}

#[tokio::test]
async fn a_connection_that_is_never_made_ends_in_time() {
    let deaf = Server::start(Server::any(), async |listener: tokio::net::TcpListener| {
        let _peer = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
    });
    let began = Instant::now();
    let failure = failure(run(&to(format!("https://{}/", deaf.address))).await);
    assert_eq!((failure.code.as_str(), failure.permanent), ("UNAVAILABLE", false));
    assert!(began.elapsed() < 2 * CONNECT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_by_name() {
    let mut bad = to("http://127.0.0.1:1/".to_owned());
    bad.headers.insert("a b".to_owned(), String::new());
    let mut own = to("http://127.0.0.1:1/".to_owned());
    own.headers.insert("Content-Length".to_owned(), "1".to_owned());
    let method = document::Http { method: "G E T".to_owned(), ..to("http://127.0.0.1:1/".to_owned()) };
    for (spec, expected) in [
        (bad, "header `a b`"),
        (own, "header `Content-Length`"),
        (method, "method `G E T`"),
        (to("ftp://host/".to_owned()), "address `ftp://host/`"),
        (to("orders".to_owned()), "address `orders`"),
    ] {
        let failure = failure(run(&spec).await);
        assert!(failure.permanent && failure.message.starts_with(expected), "{}", failure.message);
    }
}

/// Counts those who wait for an answer that never comes.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn cancelling_drops_the_request() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&waiting);
    let server = Server::http(Router::new().route(
        "/",
        post(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _waiting = Waiting(count);
            std::future::pending::<()>().await;
        }),
    ));
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (spec, cancel) = (to(server.at("/")), cancel.clone());
        async move { http().run(&attempt(), &spec, Begin::New, &cancel).await }
    });
    until("the request has arrived", || waiting.load(Ordering::SeqCst) == 1).await;
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert_eq!(ended.end, End::Cancelled);
    until("the server has noticed", || waiting.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn an_attempt_sends_at_most_one_request() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&arrived);
    let server =
        Server::http(Router::new().route("/", post(async move || count.fetch_add(1, Ordering::SeqCst).to_string())));
    let spec = to(server.at("/"));
    let again = http().run(&attempt(), &spec, Begin::Again, &CancellationToken::new()).await;
    assert!(matches!(again.end, End::Interrupted(_)), "{again:?}");
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    assert_eq!(http().run(&attempt(), &spec, Begin::New, &cancelled).await.end, End::Cancelled);
    assert_eq!(arrived.load(Ordering::SeqCst), 0);
    run(&spec).await;
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
}
