//! Where to draw the line: thresholds of the score, by tenant, that flag a given share of events.
//!
//! They are quantiles of the scores of the last week before the training, as scoring would have given them: a threshold
//! of last week holds better than one of all time, and tenants differ. A tenant of few events has no quantiles of its own
//! and takes those of all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which events a rate is a share of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// All events: the rate is that of flags.
    #[default]
    All,
    /// Those that are labelled as negative: the rate is that of false positives.
    Negatives,
}

/// How thresholds are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The field whose value is the tenant; without it there are thresholds for all alone.
    pub tenant: Option<String>,
    /// Shares of events to flag. Without any there are no thresholds.
    pub rates: Vec<f64>,
    /// What they are shares of.
    pub basis: Basis,
    /// Events that a tenant must have in the week for thresholds of its own.
    pub least: usize,
    /// How long the week is.
    pub days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tenant: None, rates: Vec::new(), basis: Basis::All, least: 500, days: 7 }
    }
}

/// A bundle's thresholds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// The field of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What rates are shares of.
    pub basis: Basis,
    /// The time of the first event, RFC 3339.
    pub from: String,
    /// The time of the last one.
    pub to: String,
    /// Shares of events, in the order of the lists of thresholds.
    pub rates: Vec<f64>,
    /// Of all events.
    pub all: Quantiles,
    /// Of tenants that have enough events.
    #[serde(default)]
    pub tenants: BTreeMap<String, Quantiles>,
}

/// Thresholds that were found on some events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// How many events.
    pub events: usize,
    /// By rate: scores at or above it are flagged. None where so few events say nothing about such a rate: it would flag
    /// less than one of them.
    pub thresholds: Vec<Option<f64>>,
}

impl Thresholds {
    /// Of scores, each with its tenant, if it has one.
    pub fn of(settings: &Settings, scores: &[(Option<Box<str>>, f64)]) -> Self {
        let mut all = Vec::with_capacity(scores.len());
        let mut tenants: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (tenant, score) in scores {
            all.push(*score);
            if let Some(tenant) = tenant {
                tenants.entry(tenant).or_default().push(*score);
            }
        }
        let quantiles = |scores| Quantiles::of(scores, &settings.rates);
        Self {
            tenant: settings.tenant.clone(),
            basis: settings.basis,
            rates: settings.rates.clone(),
            all: quantiles(all),
            tenants: tenants
                .into_iter()
                .filter(|(_, scores)| scores.len() >= settings.least.max(1))
                .map(|(tenant, scores)| (tenant.to_owned(), quantiles(scores)))
                .collect(),
            ..Self::default()
        }
    }

    /// The score from which on events of a tenant are to be flagged, so that this share of them is. `rate` is one of
    /// [`rates`](Self::rates). Tenants without one of their own have that of all.
    pub fn get(&self, tenant: &str, rate: f64) -> Option<f64> {
        let rate = self.rates.iter().position(|known| (known - rate).abs() <= 1e-9 * rate.abs())?;
        let of = |quantiles: &Quantiles| quantiles.thresholds.get(rate).copied().flatten();
        self.tenants.get(tenant).and_then(of).or_else(|| of(&self.all))
    }

    /// What is wrong with it, if anything: it may come from a file.
    pub(crate) fn problem(&self) -> Option<String> {
        let rates = self.rates.len();
        let lists = std::iter::once(("all", &self.all)).chain(self.tenants.iter().map(|(name, list)| (&**name, list)));
        let mut wrong = lists.filter(|(_, list)| list.thresholds.len() != rates);
        wrong.next().map(|(name, list)| format!("{} thresholds of {name} for {rates} rates", list.thresholds.len()))
    }
}

impl Quantiles {
    fn of(mut scores: Vec<f64>, rates: &[f64]) -> Self {
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        Self { events: scores.len(), thresholds: rates.iter().map(|rate| threshold(&scores, *rate)).collect() }
    }
}

/// The lowest of the falling scores at which no more than the allowed share is flagged. Equal scores are flagged all or
/// none; where even the highest are too many, none is.
fn threshold(scores: &[f64], rate: f64) -> Option<f64> {
    let allowed = (rate * scores.len() as f64).floor() as usize;
    if allowed == 0 {
        return None;
    }
    let Some(first_beyond) = scores.get(allowed) else { return scores.last().copied() };
    let flagged = scores.partition_point(|score| score > first_beyond);
    Some(match flagged {
        0 => first_beyond.next_up(),
        flagged => scores[flagged - 1],
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(rates: &[f64], least: usize) -> Settings {
        Settings { tenant: Some("org".to_owned()), rates: rates.to_vec(), least, ..Settings::default() }
    }

    fn scores(tenant: &str, count: usize, shift: f64) -> impl Iterator<Item = (Option<Box<str>>, f64)> {
        (0..count).map(move |i| (Some(tenant.into()), i as f64 / count as f64 / 2.0 + shift))
    }

    #[test]
    fn tenants_have_their_own_and_small_ones_that_of_all() {
        let scores: Vec<_> =
            scores("a", 100, 0.0).chain(scores("b", 100, 0.5)).chain(scores("small", 9, 0.0)).collect();
        let thresholds = Thresholds::of(&settings(&[0.1, 0.001], 50), &scores);
        assert_eq!(thresholds.get("a", 0.1), Some(0.45));
        assert_eq!(thresholds.get("b", 0.1), Some(0.95));
        assert_eq!(thresholds.get("small", 0.1), thresholds.get("unheard of", 0.1));
        assert_eq!(thresholds.get("small", 0.1), Some(0.9), "20 of 209");
        assert_eq!(thresholds.get("a", 0.001), None, "a thousandth of 209 is none");
        assert_eq!(thresholds.get("a", 0.2), None, "nobody asked for it");
        assert_eq!(thresholds.problem(), None);
    }

    #[test]
    fn ties_are_flagged_together_or_not_at_all() {
        assert_eq!(threshold(&[0.9, 0.5, 0.5, 0.5, 0.1], 0.4), Some(0.9));
        assert_eq!(threshold(&[0.9, 0.5, 0.5, 0.5, 0.1], 0.8), Some(0.5));
        assert_eq!(threshold(&[0.5; 10], 0.3), Some(0.5_f64.next_up()));
        assert_eq!(threshold(&[0.5; 10], 1.0), Some(0.5));
        assert_eq!(threshold(&[], 0.5), None);
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_is_flagged(
            scores in prop::collection::vec(0_u8..20, 1..100),
            rate in 0.0..1.0_f64,
        ) {
            let mut scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            if let Some(threshold) = threshold(&scores, rate) {
                let flagged = scores.iter().filter(|score| **score >= threshold).count();
                prop_assert!(flagged as f64 <= rate * scores.len() as f64 + 1e-9);
                // The next lower score would flag too many.
                let next = scores.iter().filter(|score| **score < threshold).copied().fold(f64::NAN, f64::max);
                let more = scores.iter().filter(|score| **score >= next).count();
                prop_assert!(next.is_nan() || more as f64 > rate * scores.len() as f64);
            }
        }
    }
}
