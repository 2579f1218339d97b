//! `/config` and `/mode`. A GET says `compatibilityLevel`, a PUT takes and echoes `compatibility`: so it is with Confluent.

use axum::extract::{Path, State};
use millrace_schema::compatibility::Level;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    App,
    answer::{Answer, Json},
    ask::{Body, Params},
};
use crate::{Error, store::parse_level, subject::Subject};

/// What can be set. Fields that we do not have are refused unless they are empty: nobody should believe them in force.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    compatibility: Option<String>,
    /// As a GET names it: clients send back what they got.
    compatibility_level: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Config {
    fn level(self) -> Result<Level, Error> {
        let idle = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
        if let Some((name, _)) = self.rest.iter().find(|(_, value)| !idle(value)) {
            return Err(Error::NotPermitted(format!("the setting {name:?}")));
        }
        parse_level(&self.compatibility.or(self.compatibility_level).unwrap_or_default())
    }
}

pub(super) async fn default(State(app): State<App>) -> Answer {
    let client = app.registry.store.client().await?;
    Ok(level(app.registry.store.default_level(&client).await?))
}

pub(super) async fn set_default(State(app): State<App>, Body(config): Body<Config>) -> Answer {
    let level = config.level()?;
    app.registry.store.set_level(None, level).await?;
    Ok(Json(json!({"compatibility": level.as_str()})))
}

pub(super) async fn unset_default(State(app): State<App>) -> Answer {
    app.registry.store.unset_level(None).await?;
    default(State(app)).await
}

pub(super) async fn of(State(app): State<App>, Path(subject): Path<String>, params: Params) -> Answer {
    let subject = Subject::parse(&subject)?;
    let client = app.registry.store.client().await?;
    match app.registry.store.own_level(&client, Some(&subject)).await? {
        Some(own) => Ok(level(own)),
        None if params.flag("defaultToGlobal") => Ok(level(app.registry.store.default_level(&client).await?)),
        None => Err(Error::NotConfigured(subject.to_string()).into()),
    }
}

pub(super) async fn set(State(app): State<App>, Path(subject): Path<String>, Body(config): Body<Config>) -> Answer {
    let (subject, level) = (Subject::parse(&subject)?, config.level()?);
    app.registry.store.set_level(Some(&subject), level).await?;
    Ok(Json(json!({"compatibility": level.as_str()})))
}

pub(super) async fn unset(State(app): State<App>, Path(subject): Path<String>) -> Answer {
    let subject = Subject::parse(&subject)?;
    match app.registry.store.unset_level(Some(&subject)).await? {
        Some(was) => Ok(level(was)),
        None => Err(Error::NotConfigured(subject.to_string()).into()),
    }
}

/// There is one mode so far.
pub(super) async fn mode() -> Json {
    Json(json!({"mode": "READWRITE"}))
}

fn level(level: Level) -> Json {
    Json(json!({"compatibilityLevel": level.as_str()}))
}
