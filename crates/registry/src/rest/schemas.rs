//! `/schemas/...`

use std::sync::Arc;

use axum::extract::{Path, State};
use millrace_schema::Guid;
use serde_json::{Value, json, value::RawValue};

use super::{
    App,
    answer::{self, Answer, Immutable, Json},
    ask::Params,
};
use crate::{
    Error,
    model::{Content, Page},
};

/// All of a list.
const EVERYTHING: Page = Page { offset: 0, limit: None };

pub(super) async fn by_id(State(app): State<App>, Path(id): Path<String>) -> Answer<Immutable<Json>> {
    let content = find(&app, &id).await?;
    Ok(Immutable(Json(Value::Object(answer::content(&content)))))
}

pub(super) async fn text(State(app): State<App>, Path(id): Path<String>) -> Answer<Immutable<Json<Box<RawValue>>>> {
    raw(&*find(&app, &id).await?).map(Immutable)
}

pub(super) async fn subjects(
    State(app): State<App>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Json<Vec<String>>> {
    let uses = uses(&app, &id, &params, params.page()?).await?;
    let mut subjects: Vec<String> = uses.into_iter().map(|(subject, _)| subject).collect();
    subjects.dedup();
    Ok(Json(subjects))
}

pub(super) async fn versions(State(app): State<App>, Path(id): Path<String>, params: Params) -> Answer {
    let uses = uses(&app, &id, &params, params.page()?).await?;
    let versions = uses.into_iter().map(|(subject, version)| json!({"subject": subject, "version": version}));
    Ok(Json(versions.collect()))
}

pub(super) async fn by_guid(State(app): State<App>, Path(guid): Path<String>) -> Answer<Immutable<Json>> {
    let content = find_guid(&app, &guid).await?;
    Ok(Immutable(Json(Value::Object(answer::content(&content)))))
}

/// The content's number in each context; there is one.
pub(super) async fn ids(State(app): State<App>, Path(guid): Path<String>) -> Answer<Immutable<Json>> {
    let content = find_guid(&app, &guid).await?;
    Ok(Immutable(Json(json!([{"context": ".", "id": content.id}]))))
}

/// A schema's text as JSON of its own.
pub(super) fn raw(content: &Content) -> Answer<Json<Box<RawValue>>> {
    let text = RawValue::from_string(content.text.clone());
    text.map(Json).map_err(|error| Error::InvalidSchema(error.to_string()).into())
}

async fn find(app: &App, id: &str) -> Result<Arc<Content>, Error> {
    let missing = || Error::SchemaIdNotFound(id.to_owned());
    let id = id.parse().map_err(|_| missing())?;
    app.registry.store.by_id(id).await?.ok_or_else(missing)
}

async fn find_guid(app: &App, guid: &str) -> Result<Arc<Content>, Error> {
    let missing = || Error::SchemaIdNotFound(guid.to_owned());
    let guid: Guid = guid.parse().map_err(|_| missing())?;
    app.registry.store.by_guid(guid).await?.ok_or_else(missing)
}

async fn uses(app: &App, id: &str, params: &Params, page: Page) -> Result<Vec<(String, u32)>, Error> {
    let content = find(app, id).await?;
    let store = &app.registry.store;
    let found = store.uses(content.id, params.visible(), EVERYTHING).await?;
    let wanted = params.text("subject");
    let found = found.into_iter().filter(|(subject, _)| wanted.is_none_or(|wanted| wanted == subject));
    let limit = page.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    Ok(found.skip(usize::try_from(page.offset).unwrap_or(usize::MAX)).take(limit).collect())
}
