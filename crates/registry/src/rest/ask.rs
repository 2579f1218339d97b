//! What requests say.

use std::collections::HashMap;

use axum::{
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::request::Parts,
};
use http_body_util::LengthLimitError;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::answer::Failure;
use crate::{
    Error,
    model::{Offer, Page, Reference, Visible},
};

/// Bytes of a request's body.
const MAX_BODY: usize = 1024 * 1024;

/// Query parameters. Those that are not known are none of our business: clients send more with every version.
pub(super) struct Params(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Error::BadRequest(error.to_string()).into()),
        }
    }
}

impl Params {
    /// As Java reads it: `true` in any case, and everything else is not.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn visible(&self) -> Visible {
        match (self.flag("deleted"), self.flag("deletedOnly")) {
            (_, true) => Visible::Deleted,
            (true, false) => Visible::All,
            (false, false) => Visible::Live,
        }
    }

    /// `offset` and `limit`; a negative limit is none.
    pub(super) fn page(&self) -> Result<Page, Failure> {
        let number = |name: &str| match self.0.get(name) {
            None => Ok(None),
            Some(text) => match text.parse::<i64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Error::BadRequest(format!("{name}: expected a number, got {text:?}"))),
            },
        };
        let offset = number("offset")?.unwrap_or(0).max(0);
        Ok(Page { offset, limit: number("limit")?.filter(|limit| *limit >= 0) })
    }
}

/// A JSON body within its bound.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let bytes = match axum::body::to_bytes(request.into_body(), MAX_BODY).await {
            Ok(bytes) => bytes,
            Err(error)
                if std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) =>
            {
                return Err(Error::TooLarge { limit: MAX_BODY }.into());
            }
            Err(error) => return Err(Error::BadRequest(format!("read the request: {error}")).into()),
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Error::BadRequest(format!("JSON: {error}")).into())
    }
}

/// A schema as clients send it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted {
    schema: Option<String>,
    schema_type: Option<String>,
    references: Option<Vec<Reference>>,
    metadata: Option<Value>,
    rule_set: Option<Value>,
    id: Option<i64>,
    version: Option<i64>,
}

impl Posted {
    /// What is offered. What we would have to drop in silence is refused: metadata and rules are part of a schema's identity.
    pub(super) fn offer(self) -> Result<Offer, Failure> {
        let Self { schema, schema_type, references, metadata, rule_set, id, version } = self;
        let refuse = |what: &str| Err(Error::NotPermitted(what.to_owned()).into());
        match schema_type.as_deref() {
            None | Some("" | "AVRO") => {}
            Some(other) => return Err(Error::InvalidSchema(format!("Invalid schema type {other}")).into()),
        }
        if metadata.is_some_and(|metadata| !is_empty(&metadata)) {
            return refuse("metadata");
        }
        if rule_set.is_some_and(|rules| !is_empty(&rules)) {
            return refuse("ruleSet");
        }
        // Clients send -1 or 0 for "not given".
        if id.is_some_and(|id| id > 0) || version.is_some_and(|version| version > 0) {
            return refuse("registration under a given id or version (mode IMPORT)");
        }
        let text = schema.filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| Error::InvalidSchema("Empty schema".to_owned()))?;
        Ok(Offer { text, references: references.unwrap_or_default() })
    }
}

/// Nothing, or objects and lists of nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offer(value: Value) -> Result<Offer, String> {
        serde_json::from_value::<Posted>(value).unwrap().offer().map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn nothing_that_belongs_to_a_schema_is_dropped_in_silence() {
        let empty =
            json!({"schema": "\"int\"", "metadata": null, "ruleSet": {"domainRules": []}, "id": -1, "version": 0});
        assert!(offer(empty).is_ok());
        for (field, value) in [
            ("metadata", json!({"properties": {"owner": "x"}})),
            ("ruleSet", json!({"domainRules": [{"name": "x"}]})),
            ("id", json!(5)),
            ("schemaType", json!("PROTOBUF")),
        ] {
            let mut body = json!({"schema": "\"int\""});
            body[field] = value;
            assert!(offer(body).is_err(), "{field}");
        }
    }

    #[test]
    fn parameters_are_read_as_java_and_python_write_them() {
        let params = |pairs: &[(&str, &str)]| {
            Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert!(params(&[("normalize", "True")]).flag("normalize"));
        assert!(!params(&[("normalize", "False")]).flag("normalize"));
        let page = params(&[("offset", "2"), ("limit", "-1")]).page().unwrap();
        assert_eq!((page.offset, page.limit), (2, None));
        assert!(params(&[("offset", "x")]).page().is_err());
    }
}
