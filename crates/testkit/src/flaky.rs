//! S3 with failures: calls are answered with 503, before or after they were done; or manifests do not get there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use tokio::sync::watch;

/// A proxy of the stand-in.
pub struct Flaky {
    url: String,
    known: Arc<Known>,
    held: watch::Sender<bool>,
}

/// Which calls fail.
#[derive(Clone, Copy)]
enum Fails {
    Never,
    /// One in so many.
    OneIn(usize),
    /// All for a while, then none for so long.
    Bursts(Duration, Duration),
}

struct Known {
    target: String,
    client: reqwest::Client,
    fails: Fails,
    begun: Instant,
    held: watch::Receiver<bool>,
    calls: AtomicUsize,
    failed: AtomicUsize,
}

impl Flaky {
    /// Fails one call in so many.
    pub async fn start(one_in: usize) -> anyhow::Result<Self> {
        Self::begin(Fails::OneIn(one_in), false).await
    }

    /// Fails every call for a while, and none for the while after it, in turn.
    pub async fn bursts(down: Duration, up: Duration) -> anyhow::Result<Self> {
        Self::begin(Fails::Bursts(down, up), false).await
    }

    /// Keeps manifests on their way, until [`Self::let_go`].
    pub async fn holding() -> anyhow::Result<Self> {
        Self::begin(Fails::Never, true).await
    }

    async fn begin(fails: Fails, holds: bool) -> anyhow::Result<Self> {
        let target = std::env::var("AWS_ENDPOINT_URL").context("AWS_ENDPOINT_URL is not set: run `make test`")?;
        let (calls, failed) = Default::default();
        let ((held, receiver), begun) = (watch::channel(holds), Instant::now());
        let client = reqwest::Client::new();
        let known = Arc::new(Known { target, client, fails, begun, held: receiver, calls, failed });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(Arc::clone(&known));
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(Self { url, known, held })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many calls it has failed.
    pub fn failed(&self) -> usize {
        self.known.failed.load(Ordering::Relaxed)
    }

    /// What was held goes on, and holds no more.
    pub fn let_go(&self) {
        self.held.send_replace(false);
    }
}

async fn pass(State(known): State<Arc<Known>>, request: Request) -> Response {
    let call = known.calls.fetch_add(1, Ordering::Relaxed);
    let (fails, number) = match known.fails {
        Fails::Never => (false, 0),
        Fails::OneIn(one_in) => (call % one_in == one_in / 2, call / one_in),
        Fails::Bursts(down, up) => {
            (known.begun.elapsed().as_millis() % (down + up).as_millis() < down.as_millis(), call)
        }
    };
    // Every second of them is done all the same.
    let is_lost = fails && number.is_multiple_of(2);
    known.failed.fetch_add(usize::from(fails), Ordering::Relaxed);
    if is_lost {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if request.method() == Method::PUT && request.uri().path().strip_suffix(".json").is_some() {
        // It ends when the proxy does.
        let _ = known.held.clone().wait_for(|held| !held).await;
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
