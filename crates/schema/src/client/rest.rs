//! The registry's REST API, and what its answers mean to us.

use std::{
    error::Error as _,
    fmt::Write as _,
    future::Future,
    pin::Pin,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use schema_registry_converter::{
    async_impl::schema_registry::{SrSettings, perform_sr_call},
    error::SRCError,
    schema_registry_common::{RawError, RawRegisteredSchema, RegisteredReference, SrCall},
};
use serde_json::{Value, json};

use super::{Args, Error, Registered};
use crate::{Guid, Schema, compatibility::Level};

/// How long one request may take.
pub(super) const REQUEST: Duration = Duration::from_secs(5);
/// How deep references may refer to references.
const MAX_DEPTH: usize = 16;

pub(super) struct Rest {
    args: Args,
    settings: RwLock<SrSettings>,
    /// For the calls that the converter does not know.
    http: reqwest::Client,
}

impl Rest {
    pub(super) fn new(args: &Args) -> Result<Self, Error> {
        let http = args.http()?.build().map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Self { args: args.clone(), settings: RwLock::new(args.settings()?), http })
    }

    pub(super) async fn by_id(&self, id: u32) -> Result<Registered, Error> {
        let mut raw = self.call(SrCall::GetById(id)).await?;
        raw.id = Some(id); // the answer does not repeat it
        self.registered(raw).await
    }

    pub(super) async fn by_guid(&self, guid: Guid) -> Result<Registered, Error> {
        let mut raw = self.call(SrCall::GetByGuid(&guid.to_string())).await?;
        raw.guid = Some(guid.to_string());
        if raw.id.is_none() {
            raw.id = self.id_of(guid).await;
        }
        self.registered(raw).await
    }

    /// `None` is the latest.
    pub(super) async fn version(&self, subject: &str, version: Option<u32>) -> Result<Registered, Error> {
        let name = segment(subject);
        let raw = match version {
            Some(version) => self.call(SrCall::GetBySubjectAndVersion(&name, version)).await?,
            None => self.call(SrCall::GetLatest(&name)).await?,
        };
        self.registered(raw).await
    }

    pub(super) async fn lookup(&self, subject: &str, schema: &Schema) -> Result<Registered, Error> {
        let raw = self.call(SrCall::PostForVersion(&segment(subject), &body(schema))).await?;
        Ok(known(raw, schema, subject))
    }

    pub(super) async fn register(&self, subject: &str, schema: &Schema) -> Result<Registered, Error> {
        let (name, body) = (segment(subject), body(schema));
        let mut raw = self.call(SrCall::PostNew(&name, &body)).await?;
        if raw.version.is_none() {
            // Registries before 8.0 answer with the id alone.
            raw = self.call(SrCall::PostForVersion(&name, &body)).await?;
        }
        Ok(known(raw, schema, subject))
    }

    pub(super) async fn set_compatibility(&self, subject: &str, level: Level) -> Result<(), Error> {
        let path = format!("/config/{}", segment(subject));
        let body = json!({"compatibility": level.as_str()});
        self.request(reqwest::Method::PUT, &path, Some(&body)).await.map(drop)
    }

    /// What speaks against a schema as the subject's next version, in the registry's words.
    pub(super) async fn incompatibilities(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, Error> {
        let path = format!("/compatibility/subjects/{}/versions?verbose=true", segment(subject));
        let body = json!({"schema": schema.java_string()});
        let answer = self.request(reqwest::Method::POST, &path, Some(&body)).await?;
        if answer["is_compatible"] == Value::Bool(true) {
            return Ok(Vec::new());
        }
        let messages = answer["messages"].as_array().into_iter().flatten();
        let messages: Vec<String> = messages.filter_map(|message| message.as_str()).map(str::to_owned).collect();
        Ok(if messages.is_empty() { vec!["the registry does not say why".to_owned()] } else { messages })
    }

    /// The number of a GUID, where the registry tells it.
    async fn id_of(&self, guid: Guid) -> Option<u32> {
        let ids = self.request(reqwest::Method::GET, &format!("/schemas/guids/{guid}/ids"), None).await.ok()?;
        ids.get(0)?.get("id")?.as_u64()?.try_into().ok()
    }

    /// A call of the converter; refused credentials are read again, once.
    async fn call(&self, call: SrCall<'_>) -> Result<RawRegisteredSchema, Error> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let error = match perform_sr_call(&settings, call).await {
            Ok(raw) => return Ok(raw),
            Err(error) => error,
        };
        if !matches!(status(&error), Some(401 | 403)) {
            return Err(classify(&error));
        }
        let fresh = self.args.settings().map_err(|error| Error::Unavailable(error.to_string()))?;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        perform_sr_call(&fresh, call).await.map_err(|error| classify(&error))
    }

    /// A call that the converter does not know, at the first URL that answers.
    async fn request(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let mut last = Error::Unavailable("no URL given".to_owned());
        for url in &self.args.registry_url {
            let mut request = self.args.authorize(self.http.request(method.clone(), format!("{url}{path}")))?;
            if let Some(body) = body {
                request = request.json(body);
            }
            last = match request.send().await {
                Err(error) => Error::Unavailable(causes(&error)),
                Ok(answer) if answer.status().is_success() => {
                    return answer.json().await.map_err(|error| Error::Unavailable(causes(&error)));
                }
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let raw = answer.json::<RawError>().await.ok();
                    of_status(Some(status), raw.as_ref(), || format!("HTTP status {status}"))
                }
            };
            if !last.is_retriable() {
                break;
            }
        }
        Err(last)
    }

    /// Parses what came, with the schemas that it refers to.
    async fn registered(&self, raw: RawRegisteredSchema) -> Result<Registered, Error> {
        let kind = raw.schema_type.as_deref().unwrap_or("AVRO");
        if kind != "AVRO" {
            return Err(Error::Invalid(format!("schema is of type {kind}: expected AVRO")));
        }
        let text = raw.schema.ok_or_else(|| Error::Unavailable("answer without a schema".to_owned()))?;
        let references = raw.references.unwrap_or_default();
        let resolved = self.resolve(&references, MAX_DEPTH).await?;
        let schema = Schema::parse_with(&text, &resolved).map_err(|error| Error::Invalid(error.to_string()))?;
        let names = references.iter().map(|of| (of.name.as_str(), of.subject.as_str(), of.version));
        let guid = raw.guid.and_then(|guid| guid.parse().ok()).unwrap_or_else(|| Guid::with_references(&schema, names));
        Ok(Registered { id: raw.id.unwrap_or(0), guid, subject: raw.subject, version: raw.version, schema })
    }

    fn resolve<'a>(&'a self, references: &'a [RegisteredReference], depth: usize) -> Resolving<'a> {
        Box::pin(async move {
            let mut schemas = Vec::with_capacity(references.len());
            if depth == 0 && !references.is_empty() {
                return Err(Error::Invalid(format!("references are deeper than {MAX_DEPTH}")));
            }
            for RegisteredReference { subject, version, .. } in references {
                let raw = self.call(SrCall::GetBySubjectAndVersion(&segment(subject), *version)).await?;
                let inner = raw.references.unwrap_or_default();
                let inner = self.resolve(&inner, depth - 1).await?;
                let text = raw.schema.ok_or_else(|| Error::Unavailable("answer without a schema".to_owned()))?;
                let schema = Schema::parse_with(&text, &inner)
                    .map_err(|error| Error::Invalid(format!("{subject} version {version}: {error}")))?;
                schemas.extend(inner);
                schemas.push(schema);
            }
            Ok(schemas)
        })
    }
}

type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Vec<Schema>, Error>> + Send + 'a>>;

/// The registry's view of a schema that we hold.
fn known(raw: RawRegisteredSchema, schema: &Schema, subject: &str) -> Registered {
    let guid = raw.guid.and_then(|guid| guid.parse().ok()).unwrap_or_else(|| schema.guid());
    let subject = Some(subject.to_owned());
    Registered { id: raw.id.unwrap_or(0), guid, subject, version: raw.version, schema: schema.clone() }
}

/// The text is self-contained: what came by references is written out.
fn body(schema: &Schema) -> String {
    json!({"schema": schema.standalone(), "schemaType": "AVRO"}).to_string()
}

/// A subject as one segment of a path. (The converter escapes slashes only.)
fn segment(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // writing to a String cannot fail
        }
    }
    out
}

/// The HTTP status behind a failure: the converter keeps it in its text only.
fn status(error: &SRCError) -> Option<u16> {
    error.error.split("status ").nth(1)?.get(..3)?.parse().ok()
}

fn classify(error: &SRCError) -> Error {
    let raw = error.source().and_then(|source| source.downcast_ref::<RawError>());
    of_status(status(error), raw, || error.source().map_or_else(|| error.error.clone(), causes))
}

/// What an HTTP status with the registry's own code means. What is not clearly about the schema is about the registry: refused
/// credentials, a proxy's error page, a 404 that no registry wrote. Such must never turn into "this event is bad".
fn of_status(status: Option<u16>, raw: Option<&RawError>, otherwise: impl FnOnce() -> String) -> Error {
    let raw = raw.filter(|raw| raw.error_code != 0);
    let said = |raw: &RawError| format!("{} (registry error {})", raw.message, raw.error_code);
    match (status, raw) {
        (Some(404), Some(raw)) if raw.error_code >= 40_400 => Error::NotFound(said(raw)),
        (Some(409), Some(raw)) => Error::Incompatible(said(raw)),
        (Some(400 | 413 | 422), Some(raw)) => Error::Invalid(said(raw)),
        (Some(status), Some(raw)) => Error::Unavailable(format!("HTTP status {status}: {}", said(raw))),
        _ => Error::Unavailable(otherwise()),
    }
}

/// An error with its causes: reqwest's own text stops at "error sending request".
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}"); // writing to a String cannot fail
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(code: u32) -> Option<RawError> {
        serde_json::from_value(json!({"error_code": code, "message": "m"})).ok()
    }

    #[test]
    fn only_the_registry_itself_can_say_that_a_schema_is_missing_or_bad() {
        let of = |status, code| of_status(Some(status), raw(code).as_ref(), String::new);
        assert!(matches!(of(404, 40403), Error::NotFound(_)));
        assert!(matches!(of(404, 0), Error::Unavailable(_)));
        assert!(matches!(of(404, 404), Error::Unavailable(_)));
        assert!(matches!(of(409, 409), Error::Incompatible(_)));
        assert!(matches!(of(409, 40901), Error::Incompatible(_)));
        assert!(matches!(of(422, 42201), Error::Invalid(_)));
        for status in [401, 403, 429, 500, 503] {
            assert!(of(status, 50001).is_retriable(), "{status}");
        }
        assert!(of_status(None, None, String::new).is_retriable());
    }

    #[test]
    fn a_subject_is_one_segment() {
        assert_eq!(segment("mail-trust.events-value"), "mail-trust.events-value");
        assert_eq!(segment("a/b?c#d%"), "a%2Fb%3Fc%23d%25");
        assert_eq!(segment(":.ctx:s"), ":.ctx:s");
    }
}
