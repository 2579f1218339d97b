//! A registry as others serve it, in this process: as much of Confluent's REST API as services use.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

#[derive(Default)]
struct Known {
    away: AtomicBool,
    schemas: Mutex<BTreeMap<u32, String>>,
    /// The ids of the versions of each subject, and how many of them `latest` knows of.
    subjects: Mutex<BTreeMap<String, (Vec<u32>, usize)>>,
}

/// It has what a test puts there, and is away when a test says so.
pub struct Registry {
    address: SocketAddr,
    known: Arc<Known>,
}

impl Registry {
    /// An empty one, on a port of its own.
    pub async fn start() -> anyhow::Result<Self> {
        let known = Arc::new(Known::default());
        let router = Router::new()
            .route("/schemas/ids/{id}", get(by_id))
            .route("/subjects/{subject}", post(look_up))
            .route("/subjects/{subject}/versions/latest", get(latest))
            .with_state(Arc::clone(&known));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, known })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A schema under an id.
    pub fn add(&self, id: u32, schema: &str) {
        self.known.schemas.lock().unwrap_or_else(PoisonError::into_inner).insert(id, schema.to_owned());
    }

    /// A new version of a subject: of an id that was added.
    pub fn add_version(&self, subject: &str, id: u32) {
        let mut subjects = self.known.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let (versions, latest) = subjects.entry(subject.to_owned()).or_default();
        versions.push(id);
        *latest = versions.len();
    }

    /// A new version that is not told yet as the latest: as a cache on the way may have it.
    pub fn add_version_quietly(&self, subject: &str, id: u32) {
        let mut subjects = self.known.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        subjects.entry(subject.to_owned()).or_default().0.push(id);
    }

    /// Answers 503, or no longer.
    pub fn set_away(&self, away: bool) {
        self.known.away.store(away, Ordering::Relaxed);
    }
}

fn away(known: &Known) -> Option<Response> {
    known.away.load(Ordering::Relaxed).then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

fn answer(known: &Known, found: Option<(u32, usize)>, subject: Option<&str>) -> Response {
    let known = |(id, version)| {
        Some((id, version, known.schemas.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?.clone()))
    };
    let Some((id, version, schema)) = found.and_then(known) else {
        let body = json!({"error_code": 40403, "message": "Schema not found"});
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    Json(json!({"id": id, "subject": subject, "version": version, "schema": schema})).into_response()
}

async fn by_id(State(known): State<Arc<Known>>, Path(id): Path<u32>) -> Response {
    away(&known).unwrap_or_else(|| answer(&known, Some((id, 1)), None))
}

async fn latest(State(known): State<Arc<Known>>, Path(subject): Path<String>) -> Response {
    let found = known
        .subjects
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&subject)
        .map(|(versions, latest)| (versions[*latest - 1], *latest));
    away(&known).unwrap_or_else(|| answer(&known, found, Some(&subject)))
}

async fn look_up(State(known): State<Arc<Known>>, Path(subject): Path<String>, Json(body): Json<Value>) -> Response {
    let schemas = known.schemas.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let is_it = |id: &u32| schemas.get(id).map(String::as_str) == body["schema"].as_str();
    let subjects = known.subjects.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let found = subjects.get(&subject).and_then(|(versions, _)| {
        let place = versions.iter().position(is_it)?;
        Some((versions[place], place + 1))
    });
    away(&known).unwrap_or_else(|| answer(&known, found, Some(&subject)))
}
