//! Documents: YAML or JSON with positions, checked against the JSON Schema of a Rust type, all faults at once.
//!
//! The type is the only truth: its JSON Schema is generated, the checker walks it, and each fault gets the line of the
//! place that its JSON pointer names.

mod faults;
mod source;
mod split;

pub use faults::{Fault, Faults};
pub use source::{Source, files_in, segment};
pub use split::split;

use jsonschema::{ValidationError, error::ValidationErrorKind};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// Reads a document into its type. Every place that does not fit is reported, not only the first.
pub fn load<T: DeserializeOwned + JsonSchema>(source: &Source) -> Result<T, Faults> {
    let schema = schemars::schema_for!(T).to_value();
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| Faults(vec![source.fault("", format!("the document's own schema is broken: {error}"))]))?;
    let mut faults: Vec<Fault> =
        validator.iter_errors(source.value()).flat_map(|error| describe(source, &error)).collect();
    if faults.is_empty() {
        match serde_json::from_value(source.value().clone()) {
            Ok(document) => return Ok(document),
            Err(error) => faults.push(source.fault("", error.to_string())),
        }
    }
    faults.sort();
    faults.dedup();
    Err(Faults(faults))
}

/// The JSON Schema of a document type, for editors.
pub fn json_schema<T: JsonSchema>() -> serde_json::Value {
    schemars::schema_for!(T).to_value()
}

/// One sentence per fault. What is unexpected is reported at its own place and not at its parent's.
fn describe(source: &Source, error: &ValidationError<'_>) -> Vec<Fault> {
    let pointer = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| source.fault(&source::child(&pointer, name), format!("unknown field `{name}`")))
            .collect(),
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![source.fault(&pointer, format!("missing field `{name}`"))]
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            closest(source, context).unwrap_or_else(|| vec![source.fault(&pointer, error.to_string())])
        }
        _ => vec![source.fault(&pointer, sentence(error))],
    }
}

/// Of several forms that a value may have, the one that got furthest: its faults are the deepest.
fn closest(source: &Source, context: &[Vec<ValidationError<'static>>]) -> Option<Vec<Fault>> {
    let depth = |errors: &Vec<ValidationError<'static>>| {
        errors.iter().map(|error| error.instance_path().to_string().matches('/').count()).max().unwrap_or(0)
    };
    // Of equals the first: the last is often `null`, for what may be left out.
    let best = context.iter().rev().max_by_key(|errors| depth(errors))?;
    Some(best.iter().flat_map(|error| describe(source, error)).collect())
}

fn sentence(error: &ValidationError<'_>) -> String {
    let got = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => format!("{text:?}"),
        serde_json::Value::Array(_) => "a list".to_owned(),
        serde_json::Value::Object(_) => "a map".to_owned(),
        other => other.to_string(),
    };
    match error.kind() {
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(got).collect();
            format!("expected one of {}, got {}", options.join(", "), got(error.instance()))
        }
        ValidationErrorKind::Constant { expected_value } => {
            format!("expected {}, got {}", got(expected_value), got(error.instance()))
        }
        ValidationErrorKind::Pattern { pattern } => {
            format!("expected text that matches {pattern}, got {}", got(error.instance()))
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        items: Vec<Item>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Item {
        count: u32,
    }

    #[test]
    fn all_faults_come_at_once_each_with_its_line() {
        let source =
            Source::parse("sample.yaml", "nam: x\nitems:\n  - count: 1\n  - count: two\n  - {cuont: 3}\n").unwrap();
        let faults = load::<Sample>(&source).unwrap_err();
        let lines: Vec<(usize, &str)> = faults.0.iter().map(|fault| (fault.line, fault.path.as_str())).collect();
        assert_eq!(
            lines,
            [(1, "$"), (1, "$.nam"), (4, "$.items[1].count"), (5, "$.items[2]"), (5, "$.items[2].cuont")]
        );
        assert!(faults.to_string().contains("sample.yaml:5:"), "{faults}");
    }

    #[test]
    fn a_document_that_fits_is_read() {
        let source = Source::parse("sample.yaml", "name: x\nitems: [{count: 3}]\n").unwrap();
        let sample: Sample = load(&source).unwrap();
        assert_eq!((sample.name.as_str(), sample.items[0].count), ("x", 3));
    }
}
