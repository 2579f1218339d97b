//! Somebody to be told: an HTTP server that keeps the webhooks that it gets.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use tokio::{net::TcpListener, task::JoinHandle};

/// Bodies by webhook id: one that comes twice counts once.
type Told = Arc<Mutex<HashMap<String, String>>>;

/// A receiver of webhooks; gone when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    told: Told,
    server: JoinHandle<std::io::Result<()>>,
}

impl Receiver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let told = Told::default();
        let router = Router::new().fallback(post(receive)).with_state(Arc::clone(&told));
        Ok(Self { address, told, server: tokio::spawn(async { axum::serve(listener, router).await }) })
    }

    /// What the alerter has to know of it, as the receiver of that name.
    pub(crate) fn environment(&self, name: &str) -> [(String, String); 3] {
        let name = name.to_uppercase().replace('-', "_");
        [
            (format!("MILLRACE_RECEIVER_{name}_URL"), format!("http://{}/hook", self.address)),
            (format!("MILLRACE_RECEIVER_{name}_SECRET"), "whsec_bWlsbHJhY2UtdGVzdC1yZWNlaXZlci1zZWNyZXQ=".to_owned()),
            ("MILLRACE_ALLOW_PRIVATE_RECEIVERS".to_owned(), "true".to_owned()),
        ]
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(told): State<Told>, headers: HeaderMap, body: String) {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    told.lock().unwrap_or_else(PoisonError::into_inner).insert(id, body);
}
