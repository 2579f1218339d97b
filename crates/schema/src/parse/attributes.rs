//! The attributes of one JSON object of a schema.

use serde_json::{Map, Value};

use super::{ParseError, Pointer};
use crate::{Name, Props, path::is_name};

pub(super) type Object = Map<String, Value>;

/// Attributes that the specification defines on schemas; what else there is, is kept as it stands.
const ON_SCHEMAS: [&str; 10] =
    ["doc", "fields", "items", "name", "namespace", "size", "symbols", "values", "type", "aliases"];

/// Attributes that the specification defines on fields.
const ON_FIELDS: [&str; 6] = ["default", "doc", "name", "order", "type", "aliases"];

pub(super) fn schema_props(object: &Object) -> Props {
    // On an enum `default` is the specification's; elsewhere Java keeps it like any other.
    let is_enum = object.get("type").and_then(Value::as_str) == Some("enum");
    others(object, |key| ON_SCHEMAS.contains(&key) || (is_enum && key == "default"))
}

pub(super) fn field_props(object: &Object) -> Props {
    others(object, |key| ON_FIELDS.contains(&key))
}

fn others(object: &Object, is_known: impl Fn(&str) -> bool) -> Props {
    let unknown = object.iter().filter(|(key, _)| !is_known(key));
    unknown.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A text attribute; one of another type is none, as for Java.
pub(super) fn text<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

pub(super) fn doc(object: &Object) -> Option<String> {
    text(object, "doc").map(str::to_owned)
}

/// The checked full name of a record, an enum or a fixed, defined within the namespace `space`.
pub(super) fn full_name(object: &Object, space: Option<&str>, at: Pointer<'_>) -> Result<Name, ParseError> {
    let name = text(object, "name").ok_or_else(|| at.error("a named type needs a \"name\""))?;
    let own = match object.get("namespace") {
        None | Some(Value::Null) => space,
        Some(Value::String(own)) => Some(own.as_str()),
        Some(_) => return Err(at.key("namespace").error("a namespace is a text")),
    };
    let full = Name::new(name, own);
    check_name(&full).map_err(|message| at.key("name").error(message))?;
    Ok(full)
}

/// A full name is names joined by dots, and no primitive type's.
fn check_name(name: &Name) -> Result<(), String> {
    if let Some(bad) = name.full().split('.').find(|part| !is_name(part)) {
        return Err(format!("{bad:?} is not a name: a letter or _, then letters, digits and _"));
    }
    match crate::Type::primitive(name.full()) {
        Some(_) => Err(format!("{:?} is a primitive type and cannot be defined", name.full())),
        None => Ok(()),
    }
}

/// Former full names, relative to the namespace of the type itself.
pub(super) fn type_aliases(object: &Object, name: &Name, at: Pointer<'_>) -> Result<Vec<Name>, ParseError> {
    let mut aliases = Vec::new();
    for (i, alias) in aliases_of(object, at)?.into_iter().enumerate() {
        let alias = Name::new(alias, name.namespace());
        check_name(&alias).map_err(|message| at.key("aliases").index(i).error(message))?;
        if !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    Ok(aliases)
}

pub(super) fn field_aliases(object: &Object, at: Pointer<'_>) -> Result<Vec<String>, ParseError> {
    let mut aliases = Vec::new();
    for alias in aliases_of(object, at)? {
        if !aliases.iter().any(|known| known == alias) {
            aliases.push(alias.to_owned());
        }
    }
    Ok(aliases)
}

fn aliases_of<'a>(object: &'a Object, at: Pointer<'_>) -> Result<Vec<&'a str>, ParseError> {
    let wrong = || at.key("aliases").error("aliases are a list of texts");
    match object.get("aliases") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(|alias| alias.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}
