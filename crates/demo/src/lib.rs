//! The reference application: e-mail trust.
//!
//! ```text
//! World (organisations, staff, correspondents, lists, senders of spam; by seed)
//!   +--> Generator --> Labelled { mail, truth } --> encode --> Avro datum, label `unknown`   what a client publishes
//!                                            \----> write_training_file --> Avro file        what training reads, labelled
//! ```
//!
//! The documents beside the code are the whole pipeline: [`PIPELINE`], [`FEATURES`] and [`SCHEMA`]. All mail here is
//! made up; a seed gives the same stream again.

mod generator;
mod kinds;
mod mail;
mod training;
mod world;

use std::{fs, io, path::Path};

pub use generator::{Generator, Labelled, Settings};
pub use kinds::Kind;
pub use mail::{Attachment, Label, Mail, Text};
pub use training::write_training_file;

/// The pipeline's document.
pub const PIPELINE: &str = include_str!("../pipeline.yaml");

/// The features of its model, as data.
pub const FEATURES: &str = include_str!("../features.yaml");

/// The event's Avro schema, version 1.
pub const SCHEMA: &str = include_str!("../schemas/email-metadata.avsc");

/// The workflows of its batch path.
pub const DAGS: &str = include_str!("../dags/batch.yaml");

/// The pipeline's name.
pub const NAME: &str = "mail-trust";

/// Writes the documents as a user would have them: `mail-trust.yaml`, `features.yaml`, `schemas/`, and `dags/`, whose workflows find
/// the others here.
pub fn write_documents(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("schemas"))?;
    fs::create_dir_all(folder.join("dags"))?;
    let here = fs::canonicalize(folder)?;
    let dags = DAGS.replace("default: pipelines}", &format!("default: {:?}}}", here.display().to_string()));
    fs::write(folder.join("dags/batch.yaml"), dags)?;
    fs::write(folder.join("mail-trust.yaml"), PIPELINE)?;
    fs::write(folder.join("features.yaml"), FEATURES)?;
    fs::write(folder.join("schemas/email-metadata.avsc"), SCHEMA)
}

#[cfg(test)]
mod tests {
    use millrace_core::{Pipeline, Source};

    #[test]
    fn the_document_is_right() {
        let pipeline = Pipeline::parse(&Source::parse("pipeline.yaml", super::PIPELINE).unwrap()).unwrap();
        assert_eq!(pipeline.name(), super::NAME);
    }
}
