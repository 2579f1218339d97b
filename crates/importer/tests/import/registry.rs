//! A registry as others serve it, in this process: as much of Confluent's REST API as an importer uses.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

#[derive(Default)]
struct Known {
    away: AtomicBool,
    schemas: Mutex<BTreeMap<u32, String>>,
    /// The id of the latest version of each subject.
    latest: Mutex<BTreeMap<String, u32>>,
}

pub(crate) struct Registry {
    address: SocketAddr,
    known: Arc<Known>,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let known = Arc::new(Known::default());
        let router = Router::new()
            .route("/schemas/ids/{id}", get(by_id))
            .route("/subjects/{subject}/versions/latest", get(latest))
            .with_state(Arc::clone(&known));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, known }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn add(&self, id: u32, schema: &str) {
        self.known.schemas.lock().unwrap().insert(id, schema.to_owned());
    }

    pub(crate) fn set_latest(&self, subject: &str, id: u32) {
        self.known.latest.lock().unwrap().insert(subject.to_owned(), id);
    }

    /// Answers 503, or no longer.
    pub(crate) fn set_away(&self, away: bool) {
        self.known.away.store(away, Ordering::Relaxed);
    }
}

fn answer(known: &Known, id: Option<u32>, subject: Option<&str>) -> Response {
    if known.away.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match id.and_then(|id| known.schemas.lock().unwrap().get(&id).cloned().map(|schema| (id, schema))) {
        Some((id, schema)) => {
            Json(json!({"id": id, "subject": subject, "version": 1, "schema": schema})).into_response()
        }
        None => {
            let body = json!({"error_code": 40403, "message": "Schema not found"});
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

async fn by_id(State(known): State<Arc<Known>>, Path(id): Path<u32>) -> Response {
    answer(&known, Some(id), None)
}

async fn latest(State(known): State<Arc<Known>>, Path(subject): Path<String>) -> Response {
    let id = known.latest.lock().unwrap().get(&subject).copied();
    answer(&known, id, Some(&subject))
}
