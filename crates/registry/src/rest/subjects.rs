//! `/subjects/...`

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::{
    App,
    answer::{self, Answer, Json},
    ask::{Body, Params, Posted},
};
use crate::{
    Error,
    model::{Deletion, Pick},
    subject::Subject,
};

/// Confluent's spelling of "in all contexts", the default.
const ALL_CONTEXTS: &str = ":*:";

pub(super) async fn list(State(app): State<App>, params: Params) -> Answer<Json<Vec<String>>> {
    let prefix = params.text("subjectPrefix").unwrap_or_default();
    let prefix = prefix.strip_prefix(ALL_CONTEXTS).or_else(|| prefix.strip_prefix(":.:")).unwrap_or(prefix);
    Ok(Json(app.registry.store.subjects(prefix, params.visible(), params.page()?).await?))
}

pub(super) async fn register(
    State(app): State<App>,
    Path(subject): Path<String>,
    Body(posted): Body<Posted>,
) -> Answer {
    let version = app.registry.register(&Subject::parse(&subject)?, &posted.offer()?).await?;
    let Json(mut body) = answer::version(&version);
    // Confluent's answer to a registration leaves the subject out.
    if let Some(fields) = body.as_object_mut() {
        fields.shift_remove("subject");
    }
    Ok(Json(body))
}

pub(super) async fn look_up(
    State(app): State<App>,
    Path(subject): Path<String>,
    params: Params,
    Body(posted): Body<Posted>,
) -> Answer {
    let subject = Subject::parse(&subject)?;
    Ok(answer::version(&app.registry.look_up(&subject, &posted.offer()?, params.visible()).await?))
}

pub(super) async fn versions(
    State(app): State<App>,
    Path(subject): Path<String>,
    params: Params,
) -> Answer<Json<Vec<u32>>> {
    let subject = Subject::parse(&subject)?;
    let page = params.page()?;
    let numbers = app.registry.store.numbers(&subject, params.visible(), page).await?;
    if numbers.is_empty() && page.offset == 0 && page.limit != Some(0) {
        return Err(Error::SubjectNotFound(subject.to_string()).into());
    }
    Ok(Json(numbers))
}

pub(super) async fn version(
    State(app): State<App>,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
) -> Answer {
    let (subject, pick) = (Subject::parse(&subject)?, Pick::parse(&version)?);
    Ok(answer::version(&app.registry.version(&subject, pick, params.visible()).await?))
}

/// The bare text, which is JSON itself.
pub(super) async fn text(
    State(app): State<App>,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
) -> Answer<Json<Box<serde_json::value::RawValue>>> {
    let (subject, pick) = (Subject::parse(&subject)?, Pick::parse(&version)?);
    let found = app.registry.version(&subject, pick, params.visible()).await?;
    super::schemas::raw(&found.content)
}

pub(super) async fn referenced_by(
    State(app): State<App>,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
) -> Answer<Json<Vec<u32>>> {
    let (subject, pick) = (Subject::parse(&subject)?, Pick::parse(&version)?);
    let found = app.registry.version(&subject, pick, params.visible()).await?;
    Ok(Json(app.registry.store.referenced_by(&subject, found.number).await?))
}

pub(super) async fn delete(State(app): State<App>, Path(subject): Path<String>, params: Params) -> Answer {
    let subject = Subject::parse(&subject)?;
    Ok(Json(json!(app.registry.store.delete_subject(&subject, deletion(&params)).await?)))
}

pub(super) async fn delete_version(
    State(app): State<App>,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
) -> Answer<Json<Value>> {
    let (subject, pick) = (Subject::parse(&subject)?, Pick::parse(&version)?);
    Ok(Json(json!(app.registry.store.delete_version(&subject, pick, deletion(&params)).await?)))
}

fn deletion(params: &Params) -> Deletion {
    if params.flag("permanent") { Deletion::Permanent } else { Deletion::Soft }
}
