use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use millrace_core::{Fault, Source};
use serde_json::{Value, json};

/// What a run (or a template) can be given: names, a schema each, and defaults.
#[derive(Debug, Default)]
pub struct Params {
    schemas: BTreeMap<String, Validator>,
    defaults: BTreeMap<String, Value>,
}

impl Params {
    /// Of JSON Schemas by name, at a place in a document. What is wrong with them is added to `faults`.
    pub fn new(params: &BTreeMap<String, Value>, pointer: &str, source: &Source, faults: &mut Vec<Fault>) -> Self {
        let mut read = Self::default();
        for (name, schema) in params {
            let place = format!("{pointer}/{name}");
            if !is_name(name) {
                faults.push(
                    source.fault(&place, format!("{name:?} is no name: letters, digits and _, not a digit first")),
                );
            }
            if !schema.is_object() {
                faults.push(source.fault(&place, "expected a JSON Schema such as {type: string, default: champion}"));
                continue;
            }
            let validator = match jsonschema::validator_for(schema) {
                Ok(validator) => validator,
                Err(error) => {
                    faults.push(source.fault(&place, format!("is no JSON Schema: {error}")));
                    continue;
                }
            };
            if let Some(default) = schema.get("default") {
                if let Err(error) = validator.validate(default) {
                    faults.push(source.fault(&format!("{place}/default"), error.to_string()));
                }
                read.defaults.insert(name.clone(), default.clone());
            }
            read.schemas.insert(name.clone(), validator);
        }
        read
    }

    /// Their names.
    pub fn names(&self) -> BTreeSet<String> {
        self.schemas.keys().cloned().collect()
    }

    /// What is wrong with a name that is none of theirs.
    pub(super) fn unknown(&self) -> String {
        let known: Vec<&str> = self.schemas.keys().map(String::as_str).collect();
        format!("is not a parameter; there are: {}", known.join(", "))
    }

    /// What is wrong with giving a parameter a value, or only with its name: the value is a template.
    pub(super) fn problem(&self, name: &str, value: &Value, is_value: bool) -> Option<String> {
        match self.schemas.get(name) {
            None => Some(self.unknown()),
            Some(schema) if is_value => schema.validate(value).err().map(|error| error.to_string()),
            Some(_) => None,
        }
    }

    /// Those that have no default and are not among these.
    pub fn missing<'a>(&'a self, given: &BTreeSet<&str>) -> Vec<&'a str> {
        let names = self.schemas.keys().map(String::as_str);
        names.filter(|name| !self.defaults.contains_key(*name) && !given.contains(name)).collect()
    }

    /// The values of those that have a default.
    pub fn defaults(&self) -> &BTreeMap<String, Value> {
        &self.defaults
    }

    /// Values in place of defaults; later ones go before earlier ones. Says every one that is unknown, missing or of
    /// another form, by its name.
    pub fn resolve<'a>(
        &self,
        given: impl IntoIterator<Item = &'a BTreeMap<String, Value>>,
    ) -> Result<Value, Vec<(String, String)>> {
        let mut values = self.defaults.clone();
        for (name, value) in given.into_iter().flatten() {
            values.insert(name.clone(), value.clone());
        }
        let mut faults = Vec::new();
        for (name, value) in &values {
            match self.schemas.get(name) {
                None => faults.push((name.clone(), self.unknown())),
                Some(schema) => {
                    faults.extend(schema.iter_errors(value).map(|error| (name.clone(), error.to_string())));
                }
            }
        }
        let missing = self.schemas.keys().filter(|name| !values.contains_key(*name));
        faults.extend(missing.map(|name| (name.clone(), "has no default and is not given".to_owned())));
        if faults.is_empty() { Ok(json!(values)) } else { Err(faults) }
    }
}

/// Whether a text can be a name in templates and conditions.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
