//! Conditions of a promotion: what must be true of metrics.

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::{Error, Result};

/// `<metric> <comparison> <number>` or `<metric> <comparison> champion [+ or - <number>]`.
///
/// A metric is a path below `training.metrics` of a manifest, such as `roc_auc` or `recall.0.recall`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    text: String,
    metric: String,
    comparison: Comparison,
    /// Beside the champion's own value, where that is named.
    of_champion: bool,
    number: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
}

const COMPARISONS: [(&str, Comparison); 4] =
    [(">=", Comparison::AtLeast), ("<=", Comparison::AtMost), (">", Comparison::Above), ("<", Comparison::Below)];

impl Condition {
    /// Whether it holds of a manifest, beside that of the champion. Without a champion nobody is worse than one.
    pub(crate) fn check(&self, manifest: &Value, champion: Option<&Value>) -> Result<()> {
        let value = self.value(manifest)?;
        let bound = match (self.of_champion, champion) {
            (false, _) => self.number,
            (true, Some(champion)) => self.value(champion)? + self.number,
            (true, None) => return Ok(()),
        };
        let holds = match self.comparison {
            Comparison::AtLeast => value >= bound,
            Comparison::AtMost => value <= bound,
            Comparison::Above => value > bound,
            Comparison::Below => value < bound,
        };
        let said = || format!("condition `{self}` does not hold: {} is {value}, against {bound}", self.metric);
        if holds { Ok(()) } else { Err(Error::Unmet(said())) }
    }

    fn value(&self, manifest: &Value) -> Result<f64> {
        let metrics = &manifest["training"]["metrics"];
        let found = self.metric.split('.').try_fold(metrics, |value, step| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            other => other.get(step),
        });
        found.and_then(Value::as_f64).ok_or_else(|| {
            let (name, version) = (&manifest["name"], &manifest["version"]);
            let known = metrics.as_object().map(|metrics| metrics.keys().cloned().collect::<Vec<_>>().join(", "));
            let known = known.unwrap_or_default();
            let said = format!(
                "condition `{self}`: model {name} {version} has no number `{}` among its metrics ({known})",
                self.metric
            );
            Error::BadRequest(said)
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Condition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let expected = "expected such as `roc_auc >= 0.95` or `log_loss <= champion + 0.01`";
            Error::BadRequest(format!("condition `{text}`: {expected}"))
        };
        let (at, (sign, comparison)) = COMPARISONS
            .iter()
            .filter_map(|known| text.find(known.0).map(|at| (at, known)))
            // Of `>=` and `>` at one place the longer one, which is listed first.
            .min_by_key(|(at, _)| *at)
            .ok_or_else(wrong)?;
        let (metric, bound) = (text[..at].trim(), text[at + sign.len()..].trim());
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let (of_champion, number) = match bound.strip_prefix("champion").map(str::trim_start) {
            None => (false, number(bound)),
            Some("") => (true, Some(0.0)),
            Some(rest) => {
                let minus = || rest.strip_prefix('-').and_then(number).map(|number| -number);
                (true, rest.strip_prefix('+').and_then(number).or_else(minus))
            }
        };
        let is_path = !metric.is_empty() && metric.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c));
        let number = number.filter(|_| is_path).ok_or_else(wrong)?;
        Ok(Self {
            text: text.trim().to_owned(),
            metric: metric.to_owned(),
            comparison: *comparison,
            of_champion,
            number,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(roc_auc: f64, log_loss: f64) -> Value {
        let metrics = json!({"roc_auc": roc_auc, "log_loss": log_loss, "recall": [{"recall": 0.5}]});
        json!({"name": "m", "version": "v", "training": {"metrics": metrics}})
    }

    fn holds(condition: &str, champion: Option<&Value>) -> Result<bool> {
        match condition.parse::<Condition>()?.check(&manifest(0.9, 0.3), champion) {
            Ok(()) => Ok(true),
            Err(Error::Unmet(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    #[test]
    fn metrics_are_compared_with_numbers_and_with_the_champions() {
        let champion = manifest(0.91, 0.3);
        for (condition, expected) in [
            ("roc_auc >= 0.9", true),
            ("roc_auc > 0.9", false),
            ("roc_auc>=0.95", false),
            ("log_loss < 1e-1", false),
            ("recall.0.recall <= 0.5", true),
            ("roc_auc >= champion", false),
            ("roc_auc >= champion - 0.02", true),
            ("log_loss <= champion + 0.0", true),
            ("log_loss < champion+0.01", true),
        ] {
            assert_eq!(holds(condition, Some(&champion)).unwrap(), expected, "{condition}");
        }
        assert!(holds("roc_auc > champion + 1", None).unwrap(), "without a champion");
    }

    #[test]
    fn what_is_none_or_asks_for_what_is_not_there_says_so() {
        for wrong in [
            "",
            "roc_auc",
            "roc_auc = 1",
            "roc_auc >= x",
            ">= 1",
            "a b > 1",
            "x > champion * 2",
            "x > champion – 1",
            "x > nan",
        ] {
            assert!(wrong.parse::<Condition>().unwrap_err().to_string().contains("expected such as"), "{wrong}");
        }
        let error = holds("auc > 1", None).unwrap_err().to_string();
        assert!(error.contains("no number `auc`") && error.contains("roc_auc"), "{error}");
    }
}
