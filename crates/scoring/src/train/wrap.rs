use std::collections::BTreeMap;

use super::{Corpus, Error, Result, Settings, bundle, judge::Judged, rows::Past, timeline::Timeline};
use crate::{
    Bundle, Model,
    features::{Document, Program},
    gbdt::Matrix,
    model::{Kind, OnnxSettings, Output},
};

/// A model that was trained elsewhere, and what its file does not say.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    /// What the file is.
    pub kind: Kind,
    /// The file.
    pub file: Vec<u8>,
    /// Of a network: what it gives.
    pub output: Output,
    /// Of a network: the name of its output, where there are several.
    pub output_name: Option<String>,
    /// Of a network: which value of a row's output.
    pub column: usize,
    /// Of a network: what stands in for missing values, by feature; of others their mean.
    pub impute: BTreeMap<String, f32>,
}

/// Makes a bundle around a model. Baselines are counted from the records as in [training](super::train), and the later
/// labelled ones set calibration, metrics, reference and thresholds.
pub fn wrap(settings: &Settings, document: &Document, corpus: &Corpus, foreign: &Foreign) -> Result<Bundle> {
    let program = Program::compile(document, corpus.schema())?;
    let timeline = Timeline::of(corpus);
    let (_, split) = timeline.cuts(0.0, settings.valid_fraction)?;
    let mut past = Past::new(&program, corpus, &timeline)?;
    past.pass(0..split)?;
    let later = past.rows_standing_still(split..timeline.len())?;
    let onnx = (foreign.kind == Kind::Onnx).then(|| foreign.onnx(program.names(), &later.matrix)).transpose();
    let model = onnx
        .and_then(|onnx| Model::parse(foreign.kind, &foreign.file, program.names(), onnx))
        .map_err(|problem| Error::Training(format!("{} model: {problem}", foreign.kind.as_str())))?;
    let judged = Judged::of(settings, &model, &later, &past, split)?;
    past.pass(split..timeline.len())?;
    bundle(settings, document, corpus, past, (model, judged, split))
}

impl Foreign {
    fn onnx(&self, names: &[String], rows: &Matrix) -> Result<OnnxSettings, String> {
        if let Some(unknown) = self.impute.keys().find(|name| !names.contains(name)) {
            return Err(format!("there is no feature `{unknown}` to impute"));
        }
        let reference: Vec<f32> = (0..rows.features()).map(|feature| mean(rows.column(feature))).collect();
        let impute = names.iter().zip(&reference).map(|(name, mean)| self.impute.get(name).copied().unwrap_or(*mean));
        let impute = impute.collect();
        Ok(OnnxSettings { output: self.output, name: self.output_name.clone(), column: self.column, impute, reference })
    }
}

/// Of what is there; zero where nothing is.
fn mean(column: &[f32]) -> f32 {
    let there = || column.iter().filter(|x| !x.is_nan()).map(|x| f64::from(*x));
    (there().sum::<f64>() / there().count().max(1) as f64) as f32
}
