//! Two manifests side by side: every number among their metrics.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

/// One metric of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    metric: String,
    one: Option<f64>,
    other: Option<f64>,
}

impl Row {
    pub(super) fn cells(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map(|value| format!("{value:.4}")).unwrap_or_default();
        let difference = self.one.zip(self.other).map(|(one, other)| format!("{:+.4}", one - other));
        vec![self.metric.clone(), number(self.one), number(self.other), difference.unwrap_or_default()]
    }
}

/// The metrics of two manifests, those that only one has as well.
pub(super) fn rows(one: &str, other: &str) -> anyhow::Result<Vec<Row>> {
    let (one, other) = (metrics(one)?, metrics(other)?);
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let row =
        |name: &String| Row { metric: name.clone(), one: one.get(name).copied(), other: other.get(name).copied() };
    Ok(names.into_iter().map(row).collect())
}

fn metrics(manifest: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let manifest: Value = serde_json::from_str(manifest).context("read a manifest")?;
    let mut found = BTreeMap::new();
    collect("", &manifest["training"]["metrics"], &mut found);
    Ok(found)
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, f64>) {
    let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(&below(name), value, found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| collect(&below(&place.to_string()), value, found));
        }
        other => found.extend(other.as_f64().map(|number| (path.to_owned(), number))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_beside_the_others() {
        let one = r#"{"training": {"metrics": {"auc": 0.9, "recall": [{"recall": 0.5}], "name": "x"}}}"#;
        let other = r#"{"training": {"metrics": {"auc": 0.8, "loss": 1}}}"#;
        let rows = rows(one, other).unwrap();
        let cells: Vec<String> = rows.iter().map(|row| row.cells().join(" ")).collect();
        assert_eq!(cells, ["auc 0.9000 0.8000 +0.1000", "loss  1.0000 ", "recall.0.recall 0.5000  "]);
    }
}
