//! The part of a registry that the gateway asks, over real HTTP: services do not start each other, not even in tests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use millrace_schema::Schema;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::Shared;

/// Schemas by subject; the number of a schema is its place.
#[derive(Clone, Default)]
struct Store {
    registered: Shared<Vec<(String, Schema)>>,
    away: Arc<AtomicBool>,
}

/// A registry of one test.
pub(crate) struct Registry {
    store: Store,
    url: String,
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

impl Registry {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let store = Store::default();
        let router = Router::new()
            .route("/schemas/ids/{id}", get(by_id))
            .route("/schemas/guids/{guid}", get(by_guid))
            .route("/subjects/{subject}/versions/{version}", get(by_version))
            .route("/subjects/{subject}", post(look_up))
            .with_state(store.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { store, url }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Adds a version, and returns the schema's id.
    pub(crate) fn register(&self, subject: &str, schema: &str) -> u32 {
        let mut registered = self.store.registered.lock().unwrap();
        registered.push((subject.to_owned(), Schema::parse(schema).unwrap()));
        registered.len() as u32
    }

    /// Whether it fails every request from now on.
    pub(crate) fn set_away(&self, away: bool) {
        self.store.away.store(away, Ordering::Relaxed);
    }
}

impl Store {
    /// The first that fits: its id, its version and the rest.
    fn find(&self, fits: impl Fn(usize, &str, u32, &Schema) -> bool) -> Answer {
        if self.away.load(Ordering::Relaxed) {
            return Err((StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error_code": 50001, "message": "away"}))));
        }
        let registered = self.registered.lock().unwrap();
        for (index, (subject, schema)) in registered.iter().enumerate() {
            let version = 1 + registered[..index].iter().filter(|(other, _)| other == subject).count() as u32;
            if fits(index, subject, version, schema) {
                let (id, guid, text) = (index + 1, schema.guid().to_string(), schema.java_string());
                return Ok(Json(
                    json!({"subject": subject, "version": version, "id": id, "guid": guid, "schema": text}),
                ));
            }
        }
        Err((StatusCode::NOT_FOUND, Json(json!({"error_code": 40403, "message": "Schema not found"}))))
    }

    fn versions(&self, subject: &str) -> u32 {
        self.registered.lock().unwrap().iter().filter(|(other, _)| other == subject).count() as u32
    }
}

async fn by_id(State(store): State<Store>, Path(id): Path<usize>) -> Answer {
    store.find(|index, _, _, _| index + 1 == id)
}

async fn by_guid(State(store): State<Store>, Path(guid): Path<String>) -> Answer {
    store.find(|_, _, _, schema| schema.guid().to_string() == guid)
}

async fn by_version(State(store): State<Store>, Path((subject, wanted)): Path<(String, String)>) -> Answer {
    let wanted = wanted.parse().unwrap_or_else(|_| store.versions(&subject));
    store.find(|_, other, version, _| other == subject && version == wanted)
}

async fn look_up(State(store): State<Store>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let wanted = Schema::parse(body["schema"].as_str().unwrap()).unwrap();
    store.find(|_, other, _, schema| other == subject && schema.java_string() == wanted.java_string())
}
