//! Networks, by `tract`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tract_onnx::prelude::*;

use super::{BOUND, FINE, OnnxSettings, Output, units};

/// No probability is nearer to certainty: its log-odds are to be a number.
const CERTAIN: f64 = 1e-12;

type Network = Arc<TypedRunnableModel>;

/// A network of one input, `[rows, features]` of singles.
///
/// What a feature contributes is found by putting the row's values in the place of the reference's, one after the other,
/// and once more from the last to the first; of both the mean. The steps of each way add up to the margin, as with all
/// kinds, and of what two features do together each has half: for networks of no higher order these are Shapley's
/// values. It costs two runs of the network for each feature, in one batch, and is left out where nobody wants reasons.
pub struct Onnx {
    settings: OnnxSettings,
    file: Vec<u8>,
    /// For one row.
    one: Network,
    /// For all steps from the reference to a row, if the network takes so many rows at a time.
    steps: Option<Network>,
    /// Twice as many units as a margin has: the mean of two ways is whole.
    bias: i64,
}

impl std::fmt::Debug for Onnx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Onnx")
            .field("settings", &self.settings)
            .field("bytes", &self.file.len())
            .finish_non_exhaustive()
    }
}

impl Onnx {
    /// Reads a file and runs it once.
    pub(super) fn new(file: &[u8], settings: OnnxSettings, features: usize) -> Result<Self, String> {
        settings.check(features)?;
        let one = network(file, &settings, 1, features)?;
        let reference = settings.reference.clone();
        let steps = network(file, &settings, steps(features), features)
            .ok()
            .filter(|_| features > 1)
            .filter(|steps| run(steps, &reference.repeat(self::steps(features)), features, settings.column).is_ok());
        let mut onnx = Self { file: file.to_owned(), one, steps, bias: 0, settings };
        let margin = onnx.margins(&onnx.one, &reference)?;
        onnx.bias = margin.first().copied().ok_or("it gives nothing for a row")?;
        Ok(onnx)
    }

    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    pub(crate) fn settings(&self) -> &OnnxSettings {
        &self.settings
    }

    pub(super) fn features(&self) -> usize {
        self.settings.impute.len()
    }

    /// The margin of the reference.
    pub(super) fn bias(&self) -> f64 {
        self.bias as f64 * FINE
    }

    /// The margin of a row. A row for which the network gives no number has that of the reference: it is known as little.
    pub(super) fn explain(&self, row: &[f32], wanted: bool, contributions: &mut Vec<i64>) -> f64 {
        assert_eq!(row.len(), self.features(), "a row has a value for each feature");
        contributions.clear();
        let row: Vec<f32> =
            row.iter().zip(&self.settings.impute).map(|(x, impute)| if x.is_nan() { *impute } else { *x }).collect();
        let margin = self.margins(&self.one, &row).ok().and_then(|margins| margins.first().copied());
        let margin = margin.unwrap_or(self.bias);
        if wanted {
            self.attribute(&row, margin, contributions);
        }
        margin as f64 * FINE
    }

    /// What each feature adds on the way from the reference to the row.
    fn attribute(&self, row: &[f32], margin: i64, contributions: &mut Vec<i64>) {
        let features = row.len();
        let mut rows = Vec::with_capacity(steps(features) * features);
        for own in 1..features {
            rows.extend_from_slice(&row[..own]);
            rows.extend_from_slice(&self.settings.reference[own..]);
        }
        for own in 1..features {
            rows.extend_from_slice(&self.settings.reference[..features - own]);
            rows.extend_from_slice(&row[features - own..]);
        }
        let between = match &self.steps {
            Some(steps) => self.margins(steps, &rows),
            None => rows.chunks(features).map(|row| Ok(self.margins(&self.one, row)?[0])).collect(),
        };
        // Where it fails, nothing is said: the margin is known all the same.
        let Ok(between) = between else { return };
        contributions.resize(features, 0);
        let (forth, back) = between.split_at(features - 1);
        let mut last = self.bias;
        for (feature, next) in forth.iter().chain([&margin]).enumerate() {
            contributions[feature] += next - last;
            last = *next;
        }
        last = self.bias;
        for (feature, next) in back.iter().chain([&margin]).enumerate() {
            contributions[features - 1 - feature] += next - last;
            last = *next;
        }
        for units in contributions.iter_mut() {
            *units /= 2;
        }
    }

    /// The margins of rows, in even units.
    fn margins(&self, network: &Network, rows: &[f32]) -> Result<Vec<i64>, String> {
        let values = run(network, rows, self.features(), self.settings.column)?;
        let margin = |value: f32| {
            let margin = match self.settings.output {
                Output::Logit => f64::from(value),
                Output::Probability => {
                    let p = f64::from(value).clamp(CERTAIN, 1.0 - CERTAIN);
                    (p / (1.0 - p)).ln()
                }
            };
            if margin.is_nan() { Err("it gives something that is no number".to_owned()) } else { Ok(even(margin)) }
        };
        values.into_iter().map(margin).collect()
    }
}

fn even(margin: f64) -> i64 {
    units(margin.clamp(-BOUND, BOUND) / 2.0) * 2
}

/// Rows between the reference and another one, there by both ways.
fn steps(features: usize) -> usize {
    2 * features.saturating_sub(1)
}

/// Makes a file ready for so many rows at a time.
fn network(file: &[u8], settings: &OnnxSettings, rows: usize, features: usize) -> Result<Network, String> {
    let build = || -> TractResult<Network> {
        let mut model = tract_onnx::onnx().model_for_read(&mut &*file)?;
        let inputs = model.input_outlets()?.len();
        if inputs != 1 {
            return Err(TractError::msg(format!("it has {inputs} inputs and not one")));
        }
        if let Some(name) = &settings.name {
            let outlet = model.find_outlet_label(name);
            let outlet = outlet.ok_or_else(|| TractError::msg(format!("it has no output `{name}`")))?;
            model.select_output_outlets(&[outlet])?;
        }
        model.with_input_fact(0, f32::fact([rows, features]).into())?.into_optimized()?.into_runnable()
    };
    // What is no network at all may lead a reader of networks anywhere.
    match catch_unwind(AssertUnwindSafe(build)) {
        Ok(built) => built.map_err(|error| format!("{error:#}")),
        Err(_) => Err("it cannot be read as a network".to_owned()),
    }
}

/// The chosen value of each row.
fn run(network: &Network, rows: &[f32], features: usize, column: usize) -> Result<Vec<f32>, String> {
    let count = rows.len() / features;
    let work = || -> TractResult<Vec<f32>> {
        let input = Tensor::from_shape(&[count, features], rows)?;
        let outputs = network.run(tvec!(input.into()))?;
        let output = outputs[0].cast_to::<f32>()?;
        Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    };
    let values = catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "it cannot be run".to_owned())?
        .map_err(|error| format!("{error:#}"))?;
    let width = values.len() / count.max(1);
    if width * count != values.len() || column >= width {
        return Err(format!("it gives {} values for {count} rows, and column {column} is asked for", values.len()));
    }
    Ok(values.into_iter().skip(column).step_by(width).collect())
}
