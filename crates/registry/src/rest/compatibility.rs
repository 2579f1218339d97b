//! `/compatibility/...`

use axum::extract::{Path, State};
use serde_json::json;

use super::{
    App,
    answer::{Answer, Json},
    ask::{Body, Params, Posted},
};
use crate::{
    Error,
    model::{Conflict, Pick},
    subject::Subject,
};

/// With the versions that the subject's level compares with.
pub(super) async fn with_level(
    State(app): State<App>,
    Path(subject): Path<String>,
    params: Params,
    Body(posted): Body<Posted>,
) -> Answer {
    let conflicts = app.registry.check(&Subject::parse(&subject)?, None, &posted.offer()?).await?;
    Ok(verdict(&conflicts, &params))
}

/// With one version, at the subject's level.
pub(super) async fn with_version(
    State(app): State<App>,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
    Body(posted): Body<Posted>,
) -> Answer {
    let (subject, pick) = (Subject::parse(&subject)?, Pick::parse(&version)?);
    match app.registry.check(&subject, Some(pick), &posted.offer()?).await {
        // A subject that does not exist yet has nothing to be incompatible with.
        Err(Error::SubjectNotFound(_)) if pick == Pick::Latest => Ok(verdict(&[], &params)),
        result => Ok(verdict(&result?, &params)),
    }
}

fn verdict(conflicts: &[Conflict], params: &Params) -> Json {
    let compatible = conflicts.is_empty();
    if !params.flag("verbose") {
        return Json(json!({"is_compatible": compatible}));
    }
    let messages: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    Json(json!({"is_compatible": compatible, "messages": messages}))
}
