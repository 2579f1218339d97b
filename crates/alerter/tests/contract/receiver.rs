//! Somebody who is told: writes down what comes and answers as it was told to.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use standardwebhooks::Webhook;

/// A key of the test, in the form that receivers are given it.
pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// How one request is answered. When there is nothing said: 204.
#[derive(Clone, Copy)]
pub(crate) enum Say {
    Status(u16),
    /// 429 with so many seconds of `Retry-After`.
    After(u64),
    /// 302 to itself.
    Redirect,
    Nothing,
}

/// A request that came.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) at: Instant,
    headers: HeaderMap,
    text: String,
}

impl Told {
    pub(crate) fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }

    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// As a receiver checks it, by the library of Standard Webhooks.
    pub(crate) fn is_signed(&self) -> bool {
        Webhook::new(SECRET).unwrap().verify(self.text.as_bytes(), &self.headers).is_ok()
    }
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    script: Arc<Mutex<VecDeque<Say>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let receiver = Self { addr, told: Arc::default(), script: Arc::default() };
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// Answers the next requests so.
    pub(crate) fn say(&self, script: &[Say]) {
        self.script.lock().unwrap().extend(script);
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until so many requests came.
    pub(crate) async fn told_times(&self, count: usize) -> Vec<Told> {
        let begin = Instant::now();
        while self.told().len() < count {
            assert!(begin.elapsed() < Duration::from_mins(1), "told {} times, expected {count}", self.told().len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.told()
    }

    /// Waits until it is silent for that long, and returns all that came.
    pub(crate) async fn told_until_quiet(&self, quiet: Duration) -> Vec<Told> {
        loop {
            let before = self.told().len();
            tokio::time::sleep(quiet).await;
            if self.told().len() == before {
                return self.told();
            }
        }
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, text: String) -> Response {
    receiver.told.lock().unwrap().push(Told { at: Instant::now(), headers, text });
    let say = receiver.script.lock().unwrap().pop_front();
    match say {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(Say::Status(status)) => (StatusCode::from_u16(status).unwrap(), "no \u{7} thanks").into_response(),
        Some(Say::After(seconds)) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())]).into_response()
        }
        Some(Say::Redirect) => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
        Some(Say::Nothing) => std::future::pending().await,
    }
}
