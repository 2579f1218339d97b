//! From margins to probabilities.

mod isotonic;
mod platt;

use serde::{Deserialize, Serialize};

pub use isotonic::Isotonic;
pub use platt::Platt;

/// How a calibration is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A straight line in log-odds: two numbers, which few rows can set.
    #[default]
    Platt,
    /// Whatever rises: needs some thousand rows, most of all at the ends, where thresholds are.
    Isotonic,
    /// Margins are taken at their word.
    None,
}

/// From a margin to a probability. It rises wherever margins do: events that the model tells apart are told apart by their
/// probabilities as well, and a threshold on probabilities is one on margins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Calibration {
    /// `{"slope": 1.0, "offset": 0.0}`
    Platt(Platt),
    /// `{"isotonic": [[margin, log-odds], ..]}`
    Isotonic(Isotonic),
}

/// As the margin says.
impl Default for Calibration {
    fn default() -> Self {
        Self::Platt(Platt::default())
    }
}

impl Calibration {
    /// Fits to rows that the model was not fitted to. Without both kinds of labels there is nothing to fit, and margins
    /// stay as they are.
    pub fn fit(method: Method, margins: &[f64], labels: &[bool]) -> Self {
        let (Some(_), Some(_)) = (labels.iter().find(|label| **label), labels.iter().find(|label| !**label)) else {
            return Self::default();
        };
        match method {
            Method::None => Self::default(),
            Method::Platt => Self::Platt(Platt::fit(margins, labels)),
            Method::Isotonic => Self::Isotonic(Isotonic::fit(margins, labels)),
        }
    }

    /// The probability of a margin.
    pub fn probability(&self, margin: f64) -> f64 {
        match self {
            Self::Platt(platt) => platt.probability(margin),
            Self::Isotonic(isotonic) => isotonic.probability(margin),
        }
    }

    /// What is wrong with it, if anything: it may come from a file.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Platt(platt) => (!platt.is_sound()).then_some("the slope must be above zero"),
            Self::Isotonic(isotonic) => {
                (!isotonic.is_sound()).then_some("margins and log-odds must rise, and be numbers")
            }
        }
    }
}

/// What labels count as in a fit: a little towards the middle, so that few rows never promise certainty.
fn targets(labels: &[bool]) -> (f64, f64) {
    let positives = labels.iter().filter(|label| **label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_overconfident_model_is_brought_down() {
        // Margins say 0.95 and 0.05, and one in five is otherwise.
        let (mut margins, mut labels) = (Vec::new(), Vec::new());
        for i in 0..1000 {
            margins.push(if i % 2 == 0 { 3.0 } else { -3.0 });
            labels.push((i % 2 == 0) != (i % 10 < 2));
        }
        for method in [Method::Platt, Method::Isotonic] {
            let fit = Calibration::fit(method, &margins, &labels);
            assert!((fit.probability(3.0) - 0.8).abs() < 0.01, "{fit:?}");
            assert!((fit.probability(-3.0) - 0.2).abs() < 0.01, "{fit:?}");
        }
    }

    #[test]
    fn what_cannot_be_fitted_stays_as_it_is() {
        for method in [Method::Platt, Method::Isotonic, Method::None] {
            assert_eq!(Calibration::fit(method, &[1.0, 2.0], &[true, true]), Calibration::default());
            assert_eq!(Calibration::fit(method, &[], &[]), Calibration::default());
            let reversed = Calibration::fit(method, &[2.0, 2.0, -2.0, -2.0], &[false, false, true, true]);
            assert_eq!(reversed.problem(), None);
        }
    }

    #[test]
    fn files_of_before_are_read() {
        let read: Calibration = serde_json::from_str(r#"{"slope": 2.0, "offset": -1.0}"#).unwrap();
        assert_eq!(read, Calibration::Platt(Platt { slope: 2.0, offset: -1.0 }));
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"slope":2.0,"offset":-1.0}"#);
        let wrong: Calibration = serde_json::from_str(r#"{"isotonic": [[1.0, 0.5], [1.0, 0.6]]}"#).unwrap();
        assert!(wrong.problem().is_some());
        assert!(serde_json::from_str::<Calibration>(r#"{"isotonic": [], "slope": 1.0}"#).is_err());
    }

    proptest! {
        #[test]
        fn order_is_never_lost(
            rows in prop::collection::vec((-300_i32..300, any::<bool>()), 2..200),
            probes in prop::collection::vec(-600_i32..600, 2..40),
            isotonic in any::<bool>(),
        ) {
            let margins: Vec<f64> = rows.iter().map(|row| f64::from(row.0) / 50.0).collect();
            let labels: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let method = if isotonic { Method::Isotonic } else { Method::Platt };
            let fit = Calibration::fit(method, &margins, &labels);
            prop_assert_eq!(fit.problem(), None);
            let back: Calibration = serde_json::from_str(&serde_json::to_string(&fit).unwrap()).unwrap();
            prop_assert_eq!(&back, &fit);
            let mut probes: Vec<f64> = probes.into_iter().map(|x| f64::from(x) / 50.0).collect();
            probes.sort_by(f64::total_cmp);
            probes.dedup();
            for pair in probes.windows(2) {
                let (low, high) = (fit.probability(pair[0]), fit.probability(pair[1]));
                prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
                // A line through few rows may be so steep, or so flat, that an `f64` shows no difference.
                prop_assert!(if isotonic { low < high } else { low <= high }, "{fit:?} {pair:?}");
            }
        }
    }
}
