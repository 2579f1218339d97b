//! What all commands that make bundles begin with and end with.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context;
use millrace_core::{Pipeline, pipeline::Scoring};
use millrace_runtime::ConfigError;
use millrace_schema::{FieldPath, Schema, container};
use millrace_scoring::{
    Bundle,
    calibration::Method,
    features::{self, Document},
    thresholds::{self, Basis},
    train::{Corpus, Labels, Settings, Window},
};
use serde::de::DeserializeOwned;

/// Labelled records, the documents that say what is in them, and where the bundle is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Labelled {
    /// The pipeline document: the model's name, the events' schema and time, the fields that must not be features.
    #[arg(long, value_name = "FILE", env = "MILLRACE_PIPELINE")]
    pipeline: PathBuf,
    /// The document of features.
    #[arg(long, value_name = "FILE")]
    features: PathBuf,
    /// The bundle's folder; a bundle that is there is replaced, at once and whole.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    score: ScoreArgs,
    /// Keys that each table of baselines keeps at most: those seen most.
    #[arg(long, value_name = "N", default_value_t = Settings::default().baseline_keys, help_heading = "Bundle")]
    baseline_keys: usize,
    /// Events that the bundle carries with it, with what they must score, for those that load it to try it on. They are
    /// whole events: 0 where these must not leave the lake.
    #[arg(long, value_name = "N", default_value_t = Settings::default().reference_rows, help_heading = "Bundle")]
    reference_rows: usize,
    /// Avro container files: records with labels; those without one are counted in the baselines.
    #[arg(required = true, value_name = "AVRO", help_heading = "Input")]
    inputs: Vec<PathBuf>,
}

/// What is true of a record.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Labels")]
struct LabelArgs {
    /// The field of the label.
    #[arg(long, value_name = "PATH", default_value = "label")]
    label_field: FieldPath,
    /// Labels that count as positive.
    #[arg(long, value_name = "LABEL,..", value_delimiter = ',', required = true)]
    positive: Vec<String>,
    /// Labels that count as negative; records with any other have none.
    #[arg(long, value_name = "LABEL,..", value_delimiter = ',', required = true)]
    negative: Vec<String>,
}

/// Which records, in which order.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Split by time")]
struct TimeArgs {
    /// The field of the event's own time; that of the pipeline where it is not given.
    #[arg(long, value_name = "PATH")]
    time_field: Option<FieldPath>,
    /// Records before this instant are left out (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = Window::instant)]
    since: Option<i64>,
    /// Records from this instant on are left out (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = Window::instant)]
    until: Option<i64>,
    /// The share of labelled records, the latest, that ends the training, sets the calibration and is measured on.
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().valid_fraction, value_parser = share)]
    valid_fraction: f64,
}

/// What becomes of margins.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Scores")]
struct ScoreArgs {
    /// How margins become probabilities: platt, isotonic (some thousand labelled records), or none.
    #[arg(long, value_name = "METHOD", default_value = "platt", value_parser = word::<Method>)]
    calibration: Method,
    /// Shares of events to find thresholds for, from the scores of the last days: 0.001,0.01.
    #[arg(long, value_name = "SHARE,..", value_delimiter = ',', value_parser = share)]
    flag_rates: Vec<f64>,
    /// What these are shares of: all events, or negatives, for rates of false positives.
    #[arg(long, value_name = "BASIS", default_value = "all", value_parser = word::<Basis>)]
    flag_basis: Basis,
    /// The field of the tenant: each has thresholds of its own, if it has enough events.
    #[arg(long, value_name = "PATH")]
    tenant: Option<FieldPath>,
    /// Events that are enough for a tenant.
    #[arg(long, value_name = "N", default_value_t = thresholds::Settings::default().least)]
    tenant_events: usize,
    /// How many days of events thresholds are found on, the last ones.
    #[arg(long, value_name = "N", default_value_t = thresholds::Settings::default().days)]
    threshold_days: u32,
}

/// Read, and ready to make a bundle of.
pub(crate) struct Ready {
    pub(crate) settings: Settings,
    pub(crate) features: Document,
    pub(crate) corpus: Corpus,
    out: PathBuf,
}

impl Labelled {
    /// Reads the documents, then the records.
    pub(crate) fn read(self) -> anyhow::Result<Ready> {
        let Self { pipeline, features, out, labels, time, score, baseline_keys, reference_rows, inputs } = self;
        let document = Pipeline::load(&pipeline)?;
        let Some(Scoring { model, never, .. }) = document.spec.scoring.clone() else {
            let fault = format!("{}: no `scoring`, so there is no model to train", pipeline.display());
            return Err(ConfigError::new(fault))?;
        };
        let schema = event_schema(&pipeline, &document)?;
        let (features, source) = Document::load(&features)?;
        let never = crate::models::forbidden_fields(&never)?;
        features::check(&features, &source, &schema, &never)?;
        let settings = Settings {
            name: model,
            valid_fraction: time.valid_fraction,
            baseline_keys,
            calibration: score.calibration,
            thresholds: score.thresholds(),
            reference_rows,
            ..Settings::default()
        };
        let mut corpus = time.corpus(schema, labels, &document)?;
        for input in &inputs {
            read(input, &mut corpus).with_context(|| format!("read {}", input.display()))?;
        }
        Ok(Ready { settings, features, corpus, out })
    }
}

impl Ready {
    /// Puts the bundle in its place, and prints what came of it.
    pub(crate) fn save(self, bundle: &Bundle) -> anyhow::Result<()> {
        bundle.save(&self.out).context("save bundle")?;
        report(bundle, &self.out);
        Ok(())
    }
}

impl TimeArgs {
    fn corpus(&self, schema: Schema, labels: LabelArgs, pipeline: &Pipeline) -> anyhow::Result<Corpus> {
        let LabelArgs { label_field: field, positive, negative } = labels;
        let time = match (&self.time_field, &pipeline.spec.events.time) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.parse().context("read `time` of the pipeline")?,
            (None, None) => Err(ConfigError::new("--time-field: the pipeline has no `time` to split by".to_owned()))?,
        };
        let window = Window { since: self.since.unwrap_or(i64::MIN), until: self.until.unwrap_or(i64::MAX) };
        Ok(Corpus::new(schema, Labels { time, field, positive, negative }, window)?)
    }
}

impl ScoreArgs {
    fn thresholds(&self) -> thresholds::Settings {
        thresholds::Settings {
            tenant: self.tenant.as_ref().map(ToString::to_string),
            rates: self.flag_rates.clone(),
            basis: self.flag_basis,
            least: self.tenant_events,
            days: self.threshold_days,
        }
    }
}

/// The newest schema, beside the document.
fn event_schema(pipeline: &Path, document: &Pipeline) -> anyhow::Result<Schema> {
    let path = pipeline.parent().unwrap_or_else(|| "".as_ref()).join(&document.spec.events.schema);
    let wrong = |why: String| ConfigError::new(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    Ok(Schema::parse(&text).map_err(|error| wrong(error.to_string()))?)
}

fn read(path: &Path, corpus: &mut Corpus) -> anyhow::Result<()> {
    let file = File::open(path)?;
    let mut reader = container::Reader::new(BufReader::new(file), container::Limits::default())?;
    let writer = corpus.writer(reader.schema())?;
    while let Some(datum) = reader.next_datum() {
        corpus.add(writer, datum?)?;
    }
    Ok(())
}

fn report(bundle: &Bundle, out: &Path) {
    let training = &bundle.manifest().training;
    let metrics = &training.metrics;
    println!("{} {} in {}", bundle.name(), bundle.version(), out.display());
    println!(
        "{} model; {} records ({} labelled, {} positive) of {} to {}: {} trees, {} keys",
        bundle.model().kind().as_str(),
        training.records,
        training.labelled,
        training.positives,
        training.from,
        training.to,
        training.trees,
        training.baseline_keys,
    );
    println!(
        "measured from {} on ({} labelled): ROC-AUC {:.4}, log loss {:.4}",
        training.split, metrics.rows, metrics.roc_auc, metrics.log_loss,
    );
    for point in &metrics.recall {
        println!(
            "  {:>5.1} % of negatives over {:.3}: {:.1} % of positives found",
            100.0 * point.at_fpr,
            point.threshold,
            100.0 * point.recall,
        );
    }
    let Some(thresholds) = bundle.thresholds() else { return };
    println!(
        "thresholds of {} events of {} to {}, and of {} tenants",
        thresholds.all.events,
        thresholds.from,
        thresholds.to,
        thresholds.tenants.len(),
    );
    for (rate, threshold) in thresholds.rates.iter().zip(&thresholds.all.thresholds) {
        let threshold = threshold.map_or("unknown: too few events".to_owned(), |threshold| format!("{threshold:.4}"));
        println!("  {:>5.2} %: {threshold}", 100.0 * rate);
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number")?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a share from 0 to 1".to_owned()) }
}

/// One of the words that a setting knows.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}
