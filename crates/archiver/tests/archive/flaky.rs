//! S3 with failures: some calls are answered with 503, before or after they were done.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// A proxy of the stand-in.
pub(crate) struct Flaky {
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
    pub(crate) async fn start(one_in: usize) -> Self {
        let target = std::env::var("AWS_ENDPOINT_URL").expect("AWS_ENDPOINT_URL is not set: run `make test`");
        let (calls, failed) = Default::default();
        let known = Arc::new(Known { target, client: reqwest::Client::new(), one_in, calls, failed });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&known));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, known }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn failed(&self) -> usize {
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
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let answer = known.client.request(head.method, url).headers(headers).body(body).send().await.unwrap();
    if fails {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let mut response = Response::builder().status(answer.status());
    *response.headers_mut().unwrap() = answer.headers().clone();
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
