//! A model and all that belongs to it, as a folder.
//!
//! ```text
//! <dir>/manifest.json              what the others are, and their hashes: renamed into place last, so a reader finds the
//!       model.3f9a01c2.json        old bundle or the new one and never a mixture
//!       features.91b2….json  schema.….avsc  calibration.….json  baselines.….bin  reference.….json
//!       rows.….json: events and what they must score   thresholds.….json   onnx.….json: only beside a network
//! ```
//!
//! The version is a hash of the contents: the same training gives the same version.

mod files;
mod manifest;
mod rows;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use millrace_core::document::Source;
use millrace_schema::Schema;

pub use manifest::{FileEntry, Manifest, Training};

use crate::{
    Error, Result,
    baselines::Baselines,
    calibration::Calibration,
    features::{self, Document, Program},
    model::Model,
    reference::Reference,
    thresholds::Thresholds,
};
use files::Part;
use rows::Rows;

/// What a bundle is put together from.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) document: Document,
    pub(crate) schema: Schema,
    pub(crate) model: Model,
    pub(crate) calibration: Calibration,
    pub(crate) baselines: Baselines,
    pub(crate) reference: Reference,
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) training: Training,
}

/// A model that is ready to score.
#[derive(Debug)]
pub struct Bundle {
    manifest: Manifest,
    document: Document,
    schema: Schema,
    program: Program,
    model: Model,
    calibration: Calibration,
    baselines: Baselines,
    reference: Reference,
    rows: Option<Rows>,
    thresholds: Option<Thresholds>,
}

impl Bundle {
    /// Reads a folder. Hashes are compared and everything is checked before it is used: what is wrong is said with its
    /// file.
    pub fn load(dir: &Path) -> Result<Arc<Self>> {
        let mut manifest = files::manifest(dir)?;
        loop {
            match files::read(dir, &manifest).and_then(|contents| Self::decode(dir, manifest.clone(), &contents)) {
                // Another bundle took the place of this one while it was read: its manifest is there by now.
                Err(Error::Io { .. }) if files::manifest(dir)?.version != manifest.version => {
                    manifest = files::manifest(dir)?;
                }
                done => return done.map(Arc::new),
            }
        }
    }

    /// Writes the folder, in place of the bundle that may be there. Readers find one or the other at any time.
    pub fn save(&self, dir: &Path) -> Result<()> {
        files::write(dir, &self.manifest, &self.encode())
    }

    /// Puts parts together that belong to each other.
    pub(crate) fn assemble(parts: Parts) -> Result<Self> {
        let Parts { name, document, schema, model, calibration, baselines, reference, thresholds, training } = parts;
        let bundle = Self {
            manifest: Manifest::default(),
            program: Program::compile(&document, &schema)?,
            document,
            schema,
            model,
            calibration,
            baselines,
            reference,
            rows: None,
            thresholds,
        };
        Ok(bundle.described(name, training))
    }

    /// With a manifest of what it holds.
    fn described(mut self, name: String, training: Training) -> Self {
        self.manifest = Manifest::of(name, self.model.kind(), &self.encode(), self.schema.guid(), training);
        self
    }

    fn encode(&self) -> Vec<(Part, Vec<u8>)> {
        let json = |value: serde_json::Result<Vec<u8>>| value.expect("plain structs with string keys are JSON");
        let mut contents = vec![
            (Part::Model, self.model.file()),
            (Part::Features, json(serde_json::to_vec_pretty(&self.document))),
            (Part::Schema, self.schema.standalone().into_bytes()),
            (Part::Calibration, json(serde_json::to_vec(&self.calibration))),
            (Part::Baselines, self.baselines.to_bytes()),
            (Part::Reference, json(serde_json::to_vec(&self.reference))),
        ];
        if let Model::Onnx(onnx) = &self.model {
            contents.push((Part::Onnx, json(serde_json::to_vec(onnx.settings()))));
        }
        if let Some(rows) = &self.rows {
            contents.push((Part::Rows, json(serde_json::to_vec(rows))));
        }
        if let Some(thresholds) = &self.thresholds {
            contents.push((Part::Thresholds, json(serde_json::to_vec_pretty(thresholds))));
        }
        contents
    }

    fn decode(dir: &Path, manifest: Manifest, contents: &[(Part, Vec<u8>)]) -> Result<Self> {
        let reader = Reader { dir, manifest: &manifest, contents };
        let text = String::from_utf8_lossy(reader.bytes(Part::Schema));
        let schema = Schema::parse(&text).map_err(|error| reader.wrong(Part::Schema, error))?;
        let text = String::from_utf8_lossy(reader.bytes(Part::Features));
        let document = Source::parse("", &text)
            .and_then(|source| {
                let document = Document::parse(&source)?;
                features::check(&document, &source, &schema, &[]).map(|()| document)
            })
            .map_err(|faults| reader.wrong(Part::Features, faults))?;
        let program = Program::compile(&document, &schema).map_err(|error| reader.wrong(Part::Features, error))?;
        let model =
            Model::parse(manifest.kind, reader.bytes(Part::Model), program.names(), reader.optional(Part::Onnx)?)
                .map_err(|problem| reader.wrong(Part::Model, problem))?;
        let calibration: Calibration = reader.json(Part::Calibration)?;
        if let Some(problem) = calibration.problem() {
            return Err(reader.wrong(Part::Calibration, problem));
        }
        let baselines = Baselines::from_bytes(reader.bytes(Part::Baselines))
            .map_err(|problem| reader.wrong(Part::Baselines, problem))?;
        if !program.fits(&baselines) {
            return Err(reader.wrong(Part::Baselines, "its tables are not those that the features count in"));
        }
        let reference: Reference = reader.json(Part::Reference)?;
        if let Some(problem) = reference.problem(program.features()) {
            return Err(reader.wrong(Part::Reference, problem));
        }
        let rows: Option<Rows> = reader.optional(Part::Rows)?;
        let thresholds: Option<Thresholds> = reader.optional(Part::Thresholds)?;
        if let Some(problem) = thresholds.as_ref().and_then(Thresholds::problem) {
            return Err(reader.wrong(Part::Thresholds, problem));
        }
        Ok(Self { manifest, document, schema, program, model, calibration, baselines, reference, rows, thresholds })
    }

    /// The model's name, as pipelines have it.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// 16 hexadecimal digits of the contents' hash.
    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// What is known about the bundle.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The features as they were declared.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The events' schema at the time of training: names, aliases and defaults by which other versions are read.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The features, compiled.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// From margins to probabilities.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// What was seen before.
    pub fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// What rows and scores looked like.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Where to draw lines, if the training was asked for it.
    pub fn thresholds(&self) -> Option<&Thresholds> {
        self.thresholds.as_ref()
    }

    /// The score from which on a tenant's events are to be flagged, so that this share of last week's would have been.
    /// Nothing where the bundle has no threshold for that rate.
    pub fn threshold(&self, tenant: &str, rate: f64) -> Option<f64> {
        self.thresholds.as_ref()?.get(tenant, rate)
    }
}

/// Contents of files that were read, and what to call them in errors.
struct Reader<'a> {
    dir: &'a Path,
    manifest: &'a Manifest,
    contents: &'a [(Part, Vec<u8>)],
}

impl Reader<'_> {
    fn bytes(&self, part: Part) -> &[u8] {
        self.contents.iter().find(|(other, _)| *other == part).map_or(&[], |(_, bytes)| bytes)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, part: Part) -> Result<T> {
        serde_json::from_slice(self.bytes(part)).map_err(|error| self.wrong(part, error))
    }

    /// Of a part that not all bundles have.
    fn optional<T: serde::de::DeserializeOwned>(&self, part: Part) -> Result<Option<T>> {
        if self.manifest.files.contains_key(part.key()) { self.json(part).map(Some) } else { Ok(None) }
    }

    fn wrong(&self, part: Part, problem: impl std::fmt::Display) -> Error {
        let file = self.manifest.files.get(part.key()).map_or(part.key(), |entry| entry.file.as_str());
        Error::Bundle { path: PathBuf::from(self.dir).join(file), problem: problem.to_string() }
    }
}

#[cfg(test)]
mod tests;
