//! Labelled mail as a file, for training.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use millrace_schema::{Schema, container};

use crate::{Generator, SCHEMA, mail::Text};

/// Writes `count` mails of a stream with their labels as an Avro container file, in the order of time.
pub fn write_training_file(path: &Path, stream: Generator, count: usize) -> io::Result<()> {
    let schema = Schema::parse(SCHEMA).map_err(io::Error::other)?;
    let file = BufWriter::new(File::create(path)?);
    let mut writer = container::Writer::new(file, &schema, container::Codec::Deflate).map_err(io::Error::other)?;
    let mut datum = Vec::new();
    for labelled in stream.take(count) {
        let mut mail = labelled.reported(false);
        mail.label_source = Text::Borrowed("generator");
        datum.clear();
        mail.encode(&mut datum);
        writer.append(&datum).map_err(io::Error::other)?;
    }
    writer.finish().map_err(io::Error::other)?.flush()
}
