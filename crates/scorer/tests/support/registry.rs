//! A registry as others serve it, in this process: as much of Confluent's REST API as a scorer uses.

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
    routing::{get, post, put},
};
use serde_json::{Value, json};

#[derive(Default)]
struct Known {
    away: AtomicBool,
    schemas: Mutex<BTreeMap<u32, String>>,
    /// Subject and level, in the order of the calls.
    levels: Mutex<Vec<(String, String)>>,
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
            .route("/subjects/{subject}", post(look_up))
            .route("/subjects/{subject}/versions", post(register))
            .route("/config/{subject}", put(configure))
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

    pub(crate) fn schema(&self, id: u32) -> String {
        self.known.schemas.lock().unwrap()[&id].clone()
    }

    pub(crate) fn levels(&self) -> Vec<(String, String)> {
        self.known.levels.lock().unwrap().clone()
    }

    /// Answers 503, or no longer.
    pub(crate) fn set_away(&self, away: bool) {
        self.known.away.store(away, Ordering::Relaxed);
    }
}

fn error(status: StatusCode, code: u32, message: &str) -> Response {
    (status, Json(json!({"error_code": code, "message": message}))).into_response()
}

fn away(known: &Known) -> Option<Response> {
    known.away.load(Ordering::Relaxed).then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

async fn by_id(State(known): State<Arc<Known>>, Path(id): Path<u32>) -> Response {
    if let Some(away) = away(&known) {
        return away;
    }
    match known.schemas.lock().unwrap().get(&id) {
        Some(schema) => Json(json!({"schema": schema})).into_response(),
        None => error(StatusCode::NOT_FOUND, 40403, "Schema not found"),
    }
}

fn find(known: &Known, body: &Value) -> Option<u32> {
    let schemas = known.schemas.lock().unwrap();
    schemas.iter().find(|(_, schema)| Some(schema.as_str()) == body["schema"].as_str()).map(|(id, _)| *id)
}

fn registered(subject: &str, id: u32, body: &Value) -> Response {
    Json(json!({"subject": subject, "version": 1, "id": id, "schema": body["schema"]})).into_response()
}

async fn look_up(State(known): State<Arc<Known>>, Path(subject): Path<String>, Json(body): Json<Value>) -> Response {
    if let Some(away) = away(&known) {
        return away;
    }
    match find(&known, &body) {
        Some(id) => registered(&subject, id, &body),
        None => error(StatusCode::NOT_FOUND, 40403, "Schema not found"),
    }
}

async fn register(State(known): State<Arc<Known>>, Path(subject): Path<String>, Json(body): Json<Value>) -> Response {
    if let Some(away) = away(&known) {
        return away;
    }
    let id = find(&known, &body).unwrap_or_else(|| {
        let mut schemas = known.schemas.lock().unwrap();
        let id = schemas.keys().max().unwrap_or(&0) + 1000;
        schemas.insert(id, body["schema"].as_str().unwrap().to_owned());
        id
    });
    registered(&subject, id, &body)
}

async fn configure(State(known): State<Arc<Known>>, Path(subject): Path<String>, Json(body): Json<Value>) -> Response {
    let level = body["compatibility"].as_str().unwrap().to_owned();
    known.levels.lock().unwrap().push((subject, level));
    Json(body).into_response()
}
