//! Reading the Prometheus text that each service shows on `/metrics`.

/// One scrape: samples as they stand there.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    /// `a="b",c="d"`, as written.
    labels: String,
    value: f64,
}

impl Samples {
    /// Reads a page; a line that is none of the format's is left out.
    pub(super) fn parse(page: &str) -> Self {
        Self(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of all series of a name whose labels hold all of these.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|sample| sample.value).sum()
    }

    /// A histogram: how many observations were at most so large, by bound, over all series whose labels hold these.
    pub(super) fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Histogram {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.series(&format!("{name}_bucket"), labels) {
            let Some(bound) = label(&sample.labels, "le").and_then(|le| le.parse::<f64>().ok()) else { continue };
            match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Histogram(buckets)
    }

    fn series<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        let fits = move |sample: &&Sample| labels.iter().all(|(key, value)| label(&sample.labels, key) == Some(value));
        self.0.iter().filter(move |sample| sample.name == name).filter(fits)
    }
}

/// Cumulative counts by upper bound, ascending; the last bound is infinite.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// What was observed since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before =
            |bound: f64| earlier.0.iter().find(|(known, _)| known.total_cmp(&bound).is_eq()).map_or(0.0, |b| b.1);
        Self(self.0.iter().map(|&(bound, count)| (bound, (count - before(bound)).max(0.0))).collect())
    }

    /// The value under which that share of the observations lies, by straight lines inside the buckets. None without any.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.0.last().map(|last| last.1).filter(|total| *total > 0.0)?;
        let rank = share * total;
        let mut lower = (0.0, 0.0);
        for &(bound, count) in &self.0 {
            if count >= rank {
                // Nothing is known above the last finite bound but that it is above.
                let inside = if count > lower.1 { (rank - lower.1) / (count - lower.1) } else { 1.0 };
                return Some(if bound.is_finite() { lower.0 + (bound - lower.0) * inside } else { lower.0 });
            }
            lower = (bound, count);
        }
        Some(lower.0)
    }
}

/// `name{labels} value` or `name value`, perhaps with a timestamp after it.
fn sample(line: &str) -> Option<Sample> {
    let (name, labels, rest) = if let Some((name, rest)) = line.split_once('{') {
        let (labels, rest) = rest.rsplit_once('}')?;
        (name, labels, rest)
    } else {
        let (name, rest) = line.split_once(' ')?;
        (name, "", rest)
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.trim().to_owned(), labels: labels.to_owned(), value })
}

/// The value of a label. None of ours holds a quote or a comma.
fn label<'a>(labels: &'a str, key: &str) -> Option<&'a str> {
    labels
        .split(',')
        .find_map(|pair| pair.trim().split_once('=').filter(|(k, _)| *k == key))
        .map(|(_, v)| v.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# TYPE events_total counter
events_total{pipeline=\"mail\",action=\"pass\"} 90
events_total{pipeline=\"mail\",action=\"quarantine\"} 10
up 1 1700000000
age_seconds_bucket{le=\"0.1\"} 50
age_seconds_bucket{le=\"0.2\"} 90
age_seconds_bucket{le=\"+Inf\"} 100
nonsense
";

    #[test]
    fn counters_are_summed_by_labels() {
        let samples = Samples::parse(PAGE);
        assert!((samples.sum("events_total", &[]) - 100.0).abs() < 1e-9);
        assert!((samples.sum("events_total", &[("pipeline", "mail"), ("action", "quarantine")]) - 10.0).abs() < 1e-9);
        assert!((samples.sum("up", &[]) - 1.0).abs() < 1e-9);
        assert!(samples.sum("absent", &[]).abs() < 1e-9);
    }

    #[test]
    fn quantiles_lie_inside_their_bucket() {
        let histogram = Samples::parse(PAGE).histogram("age_seconds", &[]);
        assert!((histogram.quantile(0.5).unwrap() - 0.1).abs() < 1e-9);
        assert!((histogram.quantile(0.7).unwrap() - 0.15).abs() < 1e-9);
        assert!((histogram.quantile(0.99).unwrap() - 0.2).abs() < 1e-9, "above the last bound: that bound");
        assert_eq!(histogram.since(&histogram).quantile(0.5), None);
        assert_eq!(histogram.since(&Histogram::default()), histogram);
    }
}
