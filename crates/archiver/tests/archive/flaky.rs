//! S3 with failures: calls are answered with 503, before or after they were done; or manifests do not get there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use tokio::sync::watch;

/// A proxy of the stand-in.
pub(crate) struct Flaky {
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
    pub(crate) async fn start(one_in: usize) -> Self {
        Self::begin(Fails::OneIn(one_in), false).await
    }

    /// Fails every call for a while, and none for the while after it, in turn.
    pub(crate) async fn bursts(down: Duration, up: Duration) -> Self {
        Self::begin(Fails::Bursts(down, up), false).await
    }

    /// Keeps manifests on their way, until [`Self::let_go`].
    pub(crate) async fn holding() -> Self {
        Self::begin(Fails::Never, true).await
    }

    async fn begin(fails: Fails, holds: bool) -> Self {
        let target = std::env::var("AWS_ENDPOINT_URL").expect("AWS_ENDPOINT_URL is not set: run `make test`");
        let (calls, failed) = Default::default();
        let ((held, receiver), begun) = (watch::channel(holds), Instant::now());
        let client = reqwest::Client::new();
        let known = Arc::new(Known { target, client, fails, begun, held: receiver, calls, failed });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&known));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, known, held }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn failed(&self) -> usize {
        self.known.failed.load(Ordering::Relaxed)
    }

    /// What was held goes on, and holds no more.
    pub(crate) fn let_go(&self) {
        self.held.send(false).unwrap();
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
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let answer = known.client.request(head.method, url).headers(headers).body(body).send().await.unwrap();
    if fails {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let mut response = Response::builder().status(answer.status());
    *response.headers_mut().unwrap() = answer.headers().clone();
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
