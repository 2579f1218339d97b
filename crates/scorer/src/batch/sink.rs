//! A file of scores while it is written: it is there whole, or not at all.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use millrace_aws::Upload;
use millrace_runtime::Shutdown;
use millrace_schema::{
    Schema,
    container::{Codec, Writer},
};
use tempfile::NamedTempFile;

use super::{
    error::{Error, Result},
    job::Storage,
    location::Destination,
    worker::Packed,
};

/// Bytes that are gathered before they are handed on.
const CHUNK: usize = 256 << 10;
/// Bytes after which a local file is asked to be on its disk: at the end there is little left to wait for, and meanwhile the
/// workers work.
const SYNC: usize = 16 << 20;

/// A file of scores.
pub(super) struct Sink<'a> {
    writer: Writer<Vec<u8>>,
    target: Target<'a>,
    /// Its key in the bucket, or its path.
    key: String,
    rows: u64,
}

enum Target<'a> {
    S3 {
        upload: Upload,
        storage: &'a Storage,
        shutdown: &'a Shutdown,
    },
    /// Under another name in the same folder, which begins with a dot, until it is whole.
    File {
        temporary: NamedTempFile,
        path: PathBuf,
        unsynced: usize,
    },
}

impl<'a> Sink<'a> {
    /// Begins a file of that name below the destination.
    pub(super) fn begin(
        to: &Destination,
        name: &str,
        schema: &Schema,
        storage: &'a Storage,
        shutdown: &'a Shutdown,
    ) -> Result<Self> {
        let (target, key) = match to {
            Destination::S3 { bucket, prefix } => {
                let key = format!("{prefix}{name}");
                (Target::S3 { upload: storage.objects.upload(bucket, &key), storage, shutdown }, key)
            }
            Destination::Folder(folder) => {
                let path = below(folder, name)?;
                let key = path.display().to_string();
                let temporary = temporary(&path).map_err(|error| io_error("write", &path, error))?;
                (Target::File { temporary, path, unsynced: 0 }, key)
            }
        };
        let writer = Writer::new(Vec::with_capacity(2 * CHUNK), schema, Codec::Zstandard);
        let writer = writer.map_err(|error| Error::container(0, error))?;
        Ok(Self { writer, target, key, rows: 0 })
    }

    /// Adds scores.
    pub(super) fn add(&mut self, packed: &Packed) -> Result<()> {
        self.writer.append_block(packed.count, &packed.data).map_err(|error| Error::container(0, error))?;
        self.rows += packed.count;
        if self.writer.output_mut().len() < CHUNK {
            return Ok(());
        }
        let chunk = std::mem::take(self.writer.output_mut());
        self.target.write(&chunk)
    }

    /// Now it is there: its key, and how many scores are in it.
    pub(super) fn finish(mut self) -> Result<(String, u64)> {
        let last = self.writer.finish().map_err(|error| Error::container(0, error))?;
        if let Err(error) = self.target.write(&last) {
            self.target.abandon();
            return Err(error);
        }
        self.target.finish()?;
        Ok((self.key, self.rows))
    }

    /// It never was.
    pub(super) fn abandon(self) {
        self.target.abandon();
    }
}

impl Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::S3 { upload, storage, shutdown } => storage.runtime.block_on(async {
                tokio::select! {
                    written = upload.write(bytes) => Ok(written?),
                    () = shutdown.wait() => Err(Error::Stopped),
                }
            }),
            Self::File { temporary, path, unsynced } => {
                *unsynced += bytes.len();
                let mut write = || {
                    temporary.write_all(bytes)?;
                    if *unsynced < SYNC {
                        return Ok(());
                    }
                    *unsynced = 0;
                    temporary.as_file().sync_data()
                };
                write().map_err(|error| io_error("write", path, error))
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            // Not interrupted: whoever does not wait for the answer does not know whether it is there.
            Self::S3 { upload, storage, .. } => Ok(storage.runtime.block_on(upload.finish())?),
            Self::File { temporary, path, .. } => {
                let put = || {
                    temporary.as_file().sync_all()?;
                    temporary.persist(&path)?;
                    // The name as well.
                    File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
                };
                put().map_err(|error| io_error("write", &path, error))
            }
        }
    }

    fn abandon(self) {
        if let Self::S3 { upload, storage, .. } = self {
            storage.runtime.block_on(upload.abandon());
        }
    }
}

/// A name below a folder: an object's key must not lead out of it.
fn below(folder: &Path, name: &str) -> Result<PathBuf> {
    let leads_out = name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if leads_out { Err(Error::Name) } else { Ok(folder.join(name)) }
}

fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    // Others read it: as open as the process's mask lets it be.
    tempfile::Builder::new()
        .prefix(".scored-")
        .suffix(".partial")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_the_folder() {
        let below = |name| below(Path::new("/to"), name).ok();
        assert_eq!(below("a b+c/x.avro"), Some("/to/a b+c/x.avro".into()));
        for name in ["../x", "a/../../x", "/etc/x", "a//x", "./x"] {
            assert_eq!(below(name), None, "{name}");
        }
    }
}
