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

use std::{
    fs, io,
    path::{Path, PathBuf},
};

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

/// Writes the documents as a user would have them: `mail-trust.yaml`, `features.yaml` and `schemas/`.
pub fn write_documents(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("schemas"))?;
    fs::write(folder.join("mail-trust.yaml"), PIPELINE)?;
    fs::write(folder.join("features.yaml"), FEATURES)?;
    fs::write(folder.join("schemas/email-metadata.avsc"), SCHEMA)
}

/// Writes the workflows of the batch path beside the documents in `folder`, for the local stack in the folder `stack`. Gives the file.
pub fn write_dags(folder: &Path, stack: &Path) -> io::Result<PathBuf> {
    let quoted = |path: &Path| fs::canonicalize(path).map(|path| format!("{:?}", path.display().to_string()));
    let dags = DAGS
        .replace("default: .millrace}", &format!("default: {}}}", quoted(stack)?))
        .replace("default: pipelines}", &format!("default: {}}}", quoted(folder)?));
    fs::create_dir_all(folder.join("dags"))?;
    let file = folder.join("dags/batch.yaml");
    fs::write(&file, dags)?;
    Ok(file)
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
