//! As much of S3 as the archiver asks for. Files are taken and forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, State},
    http::{HeaderMap, Method, StatusCode, Uri, header::IF_NONE_MATCH},
    response::{IntoResponse, Response},
};

/// Objects up to here are kept: manifests and notes.
const SMALL: usize = 1 << 20;
const ETAG: (&str, &str) = ("etag", "\"1\"");

type Kept = Arc<Mutex<HashMap<String, Bytes>>>;

/// A server that takes everything.
pub(crate) struct Sink {
    url: String,
    kept: Kept,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let kept = Kept::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let limit = DefaultBodyLimit::disable();
        let router = Router::new().fallback(answer).layer(limit).with_state(Arc::clone(&kept));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, kept }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// An object that was kept.
    pub(crate) fn small(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.kept.lock().unwrap().get(&format!("/{bucket}/{key}")).map(|bytes| bytes.to_vec())
    }
}

async fn answer(
    State(kept): State<Kept>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (path, query) = (uri.path().to_owned(), query.unwrap_or_default());
    let mut kept = kept.lock().unwrap();
    match method {
        Method::GET if query.contains("list-type") => xml(
            StatusCode::OK,
            "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
        ),
        Method::GET => match kept.get(&path) {
            Some(bytes) => ([ETAG], bytes.clone()).into_response(),
            None => xml(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>"),
        },
        Method::POST if query.contains("uploads") => {
            xml(StatusCode::OK, "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        }
        Method::POST => {
            xml(StatusCode::OK, "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>")
        }
        Method::PUT if headers.contains_key(IF_NONE_MATCH) && kept.contains_key(&path) => {
            xml(StatusCode::PRECONDITION_FAILED, "<Error><Code>PreconditionFailed</Code></Error>")
        }
        Method::PUT => {
            if !query.contains("partNumber") && body.len() <= SMALL {
                kept.insert(path, body);
            }
            [ETAG].into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

fn xml(status: StatusCode, body: &'static str) -> Response {
    (status, [("content-type", "application/xml")], body).into_response()
}
