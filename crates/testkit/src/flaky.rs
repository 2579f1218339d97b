//! S3 with failures: some calls are answered with 503, before or after they were done.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// A proxy of the stand-in.
pub struct Flaky {
    url: String,
    known: Arc<Known>,
}

struct Known {
    target: String,
    client: reqwest::Client,
    one_in: usize,
    calls: AtomicUsize,
    failed: AtomicUsize,
}

impl Flaky {
    /// Fails one call in so many.
    pub async fn start(one_in: usize) -> anyhow::Result<Self> {
        let target = std::env::var("AWS_ENDPOINT_URL").context("AWS_ENDPOINT_URL is not set: run `make test`")?;
        let (calls, failed) = Default::default();
        let known = Arc::new(Known { target, client: reqwest::Client::new(), one_in, calls, failed });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(Arc::clone(&known));
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(Self { url, known })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many calls it has failed.
    pub fn failed(&self) -> usize {
        self.known.failed.load(Ordering::Relaxed)
    }
}

async fn pass(State(known): State<Arc<Known>>, request: Request) -> Response {
    let call = known.calls.fetch_add(1, Ordering::Relaxed);
    let fails = call % known.one_in == known.one_in / 2;
    // Every second of them is done all the same.
    let is_lost = fails && (call / known.one_in).is_multiple_of(2);
    known.failed.fetch_add(usize::from(fails), Ordering::Relaxed);
    if is_lost {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (head, body) = request.into_parts();
    let url = format!("{}{}", known.target, head.uri);
    let mut headers = head.headers;
    headers.remove("host");
    // Whoever is gone in the middle of a call needs no answer.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    let answer = known.client.request(head.method, url).headers(headers).body(body).send().await;
    let Ok(answer) = answer else { return StatusCode::BAD_GATEWAY.into_response() };
    if fails {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(bytes) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    (status, headers, Body::from(bytes)).into_response()
}
