//! As much of a schema registry as the alerter asks for.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use millrace_schema::{Guid, Schema};
use serde_json::{Value, json};

/// Schemas by number, from 1, and who registered them.
type Schemas = Arc<Mutex<Vec<(String, String)>>>;
type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

#[derive(Clone)]
pub(crate) struct Registry {
    schemas: Schemas,
    pub(crate) addr: SocketAddr,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let schemas = Schemas::default();
        let router = Router::new()
            .route("/schemas/ids/{id}", get(by_id))
            .route("/schemas/guids/{guid}", get(by_guid))
            .route("/subjects/{subject}/versions/latest", get(latest))
            .route("/subjects/{subject}/versions", post(register))
            .route("/subjects/{subject}", post(register))
            .with_state(Arc::clone(&schemas));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { schemas, addr }
    }

    /// Registers a schema and returns its number.
    pub(crate) fn add(&self, subject: &str, schema: &str) -> u32 {
        put(&self.schemas, subject, schema)
    }
}

fn put(schemas: &Schemas, subject: &str, schema: &str) -> u32 {
    let mut all = schemas.lock().unwrap();
    let entry = (subject.to_owned(), schema.to_owned());
    let index = all.iter().position(|known| *known == entry).unwrap_or_else(|| {
        all.push(entry);
        all.len() - 1
    });
    index as u32 + 1
}

fn answer(schemas: &Schemas, index: Option<usize>) -> Answer {
    let all = schemas.lock().unwrap();
    match index.and_then(|index| all.get(index).map(|entry| (index, entry))) {
        Some((index, (subject, schema))) => {
            let guid = Guid::of(&Schema::parse(schema).unwrap()).to_string();
            Ok(Json(json!({"id": index + 1, "guid": guid, "subject": subject, "version": index + 1, "schema": schema})))
        }
        None => Err((StatusCode::NOT_FOUND, Json(json!({"error_code": 40403, "message": "Schema not found"})))),
    }
}

async fn by_id(State(schemas): State<Schemas>, Path(id): Path<usize>) -> Answer {
    answer(&schemas, id.checked_sub(1))
}

async fn by_guid(State(schemas): State<Schemas>, Path(guid): Path<String>) -> Answer {
    let of = |schema: &str| Guid::of(&Schema::parse(schema).unwrap()).to_string();
    let index = schemas.lock().unwrap().iter().position(|(_, schema)| of(schema) == guid);
    answer(&schemas, index)
}

async fn latest(State(schemas): State<Schemas>, Path(subject): Path<String>) -> Answer {
    let index = schemas.lock().unwrap().iter().rposition(|(known, _)| *known == subject);
    answer(&schemas, index)
}

async fn register(State(schemas): State<Schemas>, Path(subject): Path<String>, Json(body): Json<Value>) -> Answer {
    let id = put(&schemas, &subject, body["schema"].as_str().unwrap());
    answer(&schemas, Some(id as usize - 1))
}
