//! `millrace-scorer train`: labelled Avro files in, a model bundle out. No services are needed.

use std::{fs::File, io::BufReader, path::PathBuf};

use anyhow::Context;
use millrace_core::{Pipeline, pipeline::Scoring};
use millrace_runtime::ConfigError;
use millrace_schema::{FieldPath, Schema, container};
use millrace_scoring::{
    Bundle,
    features::{self, Document},
    gbdt,
    train::{Corpus, Labels, Settings, Window, train},
};

/// Makes a model bundle from labelled records, split by time.
#[derive(Debug, clap::Args)]
pub struct Train {
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
    split: SplitArgs,
    #[command(flatten)]
    trees: TreeArgs,
    /// Keys that each table of baselines keeps at most: those seen most.
    #[arg(long, value_name = "N", default_value_t = Settings::default().baseline_keys)]
    baseline_keys: usize,
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

/// What is learned from, and what is measured on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Split by time")]
struct SplitArgs {
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
    /// The share of labelled records, the earliest, that is only counted: to them everything is new.
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().warm_up, value_parser = share)]
    warm_up: f64,
    /// Keep the trees of the earlier part, and do not fit them once more to all records.
    #[arg(long)]
    no_refit: bool,
}

/// How trees are grown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Trees")]
struct TreeArgs {
    /// Trees at most.
    #[arg(long, value_name = "N", default_value_t = gbdt::Settings::default().rounds)]
    rounds: usize,
    /// Leaves of a tree at most.
    #[arg(long, value_name = "N", default_value_t = gbdt::Settings::default().leaves)]
    leaves: usize,
    /// What part of a tree's step is taken.
    #[arg(long, value_name = "SHARE", default_value_t = gbdt::Settings::default().shrinkage, value_parser = share)]
    shrinkage: f64,
    /// The same seed, settings and records give the same bundle.
    #[arg(long, value_name = "N", default_value_t = gbdt::Settings::default().seed)]
    seed: u64,
}

impl Train {
    /// Trains, saves, and prints what came of it.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { pipeline, features, out, labels, split, trees, baseline_keys, inputs } = self;
        let document = Pipeline::load(&pipeline)?;
        let Some(Scoring { model, never, .. }) = document.spec.scoring.clone() else {
            return Err(ConfigError::new(format!(
                "{}: no `scoring`, so there is no model to train",
                pipeline.display()
            )))?;
        };
        let schema = event_schema(&pipeline, &document)?;
        let (features, source) = Document::load(&features)?;
        let never = crate::models::forbidden_fields(&never)?;
        features::check(&features, &source, &schema, &never)?;

        let settings = Settings {
            name: model,
            valid_fraction: split.valid_fraction,
            warm_up: split.warm_up,
            refit: !split.no_refit,
            baseline_keys,
            trees: trees.settings(),
        };
        let mut corpus = split.corpus(schema, labels, &document)?;
        for input in &inputs {
            read(input, &mut corpus).with_context(|| format!("read {}", input.display()))?;
        }
        let bundle = train(&settings, &features, &corpus).context("train")?;
        bundle.save(&out).context("save bundle")?;
        report(&bundle, &out);
        Ok(())
    }
}

impl SplitArgs {
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

impl TreeArgs {
    fn settings(self) -> gbdt::Settings {
        let Self { rounds, leaves, shrinkage, seed } = self;
        gbdt::Settings { rounds, leaves, shrinkage, seed, ..gbdt::Settings::default() }
    }
}

/// The newest schema, beside the document.
fn event_schema(pipeline: &std::path::Path, document: &Pipeline) -> anyhow::Result<Schema> {
    let path = pipeline.parent().unwrap_or_else(|| "".as_ref()).join(&document.spec.events.schema);
    let wrong = |why: String| ConfigError::new(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    Ok(Schema::parse(&text).map_err(|error| wrong(error.to_string()))?)
}

fn read(path: &std::path::Path, corpus: &mut Corpus) -> anyhow::Result<()> {
    let file = File::open(path)?;
    let mut reader = container::Reader::new(BufReader::new(file), container::Limits::default())?;
    let writer = corpus.writer(reader.schema())?;
    while let Some(datum) = reader.next_datum() {
        corpus.add(writer, datum?)?;
    }
    Ok(())
}

fn report(bundle: &Bundle, out: &std::path::Path) {
    let training = &bundle.manifest().training;
    let metrics = &training.metrics;
    println!("{} {} in {}", bundle.name(), bundle.version(), out.display());
    println!(
        "learned from {} records ({} labelled, {} positive) of {} to {}: {} trees, {} keys",
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
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number")?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a share from 0 to 1".to_owned()) }
}
