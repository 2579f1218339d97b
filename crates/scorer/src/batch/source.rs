//! The bytes of an object: of one version of it, however often its reading begins.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    path::Path,
    sync::PoisonError,
    time::SystemTime,
};

use bytes::{Buf as _, Bytes};
use millrace_aws::{Body, Kind, Wanted};
use millrace_runtime::Shutdown;
use tokio::{runtime::Handle, time::sleep};
use xxhash_rust::xxh3::Xxh3;

use super::{
    error::{Error, Result},
    item::{Object, Place},
    job::Storage,
    retry,
};

/// Bytes that are read of a local file at once.
const BUFFER: usize = 256 << 10;
/// Bytes that are asked for at once behind a part's end, of its last block.
const BEHIND: u64 = 1 << 20;

/// An object that is open.
pub(super) struct Source<'a> {
    object: &'a Object,
    storage: &'a Storage,
    shutdown: &'a Shutdown,
    file: Option<(File, Stamp)>,
    version: String,
}

/// What tells that a local file was written to.
type Stamp = (u64, Option<SystemTime>);

impl<'a> Source<'a> {
    /// Pins a version. An object's is its etag. A local file's is a hash of all its bytes: a copy, or one that was only
    /// touched, has the same scores under the same name, and reading is cheap beside scoring; of size and time neither would
    /// be true.
    pub(super) fn open(object: &'a Object, storage: &'a Storage, shutdown: &'a Shutdown) -> Result<Self> {
        let (file, version) = match &object.place {
            Place::S3 { etag, .. } => (None, etag.clone()),
            Place::File(path) => {
                let file = File::open(path).map_err(|error| io_error("open", path, error))?;
                let stamp = stamp(&file, path)?;
                if stamp.0 != object.size {
                    return Err(Error::Changed);
                }
                let mut known = object.version.lock().unwrap_or_else(PoisonError::into_inner);
                let version = match &*known {
                    Some(version) => version.clone(),
                    None => known.insert(hash(&file, shutdown).map_err(|error| told(path, error))?).clone(),
                };
                (Some((file, stamp)), version)
            }
        };
        Ok(Self { object, storage, shutdown, file, version })
    }

    /// Which version it is.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Reads from a byte on, to the end of the object: what is wanted for sure ends before `end`.
    pub(super) fn read(&self, begin: u64, end: u64) -> Result<Box<dyn Read + '_>> {
        match (&self.object.place, &self.file) {
            (Place::File(path), Some((file, _))) => {
                (&mut &*file).seek(SeekFrom::Start(begin)).map_err(|error| io_error("read", path, error))?;
                Ok(Box::new(BufReader::with_capacity(BUFFER, Interruptible { file, shutdown: self.shutdown })))
            }
            (Place::S3 { bucket, key, etag }, _) => Ok(Box::new(Ranges {
                storage: self.storage,
                shutdown: self.shutdown,
                bucket,
                key,
                etag,
                next: begin,
                sure: end.min(self.object.size),
                size: self.object.size,
                body: None,
                chunk: Bytes::new(),
            })),
            (Place::File(_), None) => Err(Error::Missing),
        }
    }

    /// At the end: all that was read is of one version. Of S3's objects each answer was.
    pub(super) fn check(&self) -> Result<()> {
        match (&self.object.place, &self.file) {
            (Place::File(path), Some((file, before))) if stamp(file, path)? != *before => Err(Error::Changed),
            _ => Ok(()),
        }
    }
}

fn stamp(file: &File, path: &Path) -> Result<Stamp> {
    let metadata = file.metadata().map_err(|error| io_error("look at", path, error))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

fn hash(file: &File, shutdown: &Shutdown) -> io::Result<String> {
    let mut hash = Xxh3::new();
    let mut reader = Interruptible { file, shutdown };
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(format!("xxh3-{:032x}", hash.digest128())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::Missing,
        _ => Error::Io { what, path: path.to_owned(), source },
    }
}

/// What an input of ours said, or what the file did.
fn told(path: &Path, error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| io_error("read", path, error))
}

/// A local file that is not read on after the signal.
struct Interruptible<'a> {
    file: &'a File,
    shutdown: &'a Shutdown,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.shutdown.is_triggered() {
            return Err(Error::Stopped.into());
        }
        (&mut &*self.file).read(buffer)
    }
}

/// An object of S3, in ranges: first what is wanted for sure, then more in small ones.
struct Ranges<'a> {
    storage: &'a Storage,
    shutdown: &'a Shutdown,
    bucket: &'a str,
    key: &'a str,
    etag: &'a str,
    /// The next byte.
    next: u64,
    sure: u64,
    size: u64,
    body: Option<Body>,
    chunk: Bytes,
}

impl Ranges<'_> {
    /// The next bytes; none at the end of the object.
    async fn fill(&mut self) -> Result<Bytes> {
        let mut pauses = retry::pauses();
        loop {
            match self.once().await {
                Err(error)
                    if error.is_retriable()
                        && let Some(pause) = pauses.next() =>
                {
                    tracing::warn!(%error, at = self.next, "reading of an object broke off, going on");
                    self.body = None;
                    sleep(pause).await;
                }
                Err(error) => {
                    return Err(match error.kind() {
                        Kind::Changed => Error::Changed,
                        Kind::Missing => Error::Missing,
                        _ => error.into(),
                    });
                }
                Ok(bytes) => return Ok(bytes),
            }
        }
    }

    async fn once(&mut self) -> millrace_aws::Result<Bytes> {
        while self.next < self.size {
            let body = if let Some(body) = &mut self.body {
                body
            } else {
                let end = if self.next < self.sure { self.sure } else { self.size.min(self.next + BEHIND) };
                let etag = Some(self.etag.to_owned()).filter(|etag| !etag.is_empty());
                let wanted = Wanted { version: None, etag, range: Some(self.next..end) };
                self.body.insert(self.storage.objects.read(self.bucket, self.key, wanted).await?)
            };
            match body.next().await? {
                Some(bytes) => {
                    self.next += bytes.len() as u64;
                    return Ok(bytes);
                }
                None => self.body = None,
            }
        }
        Ok(Bytes::new())
    }
}

impl Read for Ranges<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let (runtime, shutdown): (&Handle, _) = (&self.storage.runtime, self.shutdown);
            self.chunk = runtime.block_on(async {
                tokio::select! {
                    filled = self.fill() => filled,
                    () = shutdown.wait() => Err(Error::Stopped),
                }
            })?;
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::Mutex};

    use jiff::Timestamp;

    use super::*;

    fn object(path: &Path, size: u64) -> Object {
        Object {
            place: Place::File(path.to_owned()),
            name: "x.avro".to_owned(),
            size,
            modified: Timestamp::UNIX_EPOCH,
            version: Mutex::default(),
        }
    }

    #[tokio::test]
    async fn a_file_is_known_by_its_bytes_and_one_that_changes_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("x.avro"), folder.path().join("y.avro"));
        std::fs::write(&path, b"some bytes").unwrap();
        std::fs::write(&copy, b"some bytes").unwrap();
        let objects = millrace_aws::Args::default().client().objects();
        let (storage, shutdown) = (Storage { objects, runtime: Handle::current() }, Shutdown::new());
        let (first, second) = (object(&path, 10), object(&copy, 10));
        let source = Source::open(&first, &storage, &shutdown).unwrap();
        assert_eq!(source.version(), Source::open(&second, &storage, &shutdown).unwrap().version());
        let mut read = String::new();
        source.read(5, 10).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "bytes");
        source.check().unwrap();

        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
        assert!(matches!(source.check(), Err(Error::Changed)));
        assert!(matches!(Source::open(&first, &storage, &shutdown), Err(Error::Changed)), "since it was listed");
        std::fs::remove_file(&copy).unwrap();
        assert!(matches!(Source::open(&second, &storage, &shutdown), Err(Error::Missing)));
        shutdown.trigger();
        let stopped = source.read(0, 10).unwrap().read(&mut [0; 4]).unwrap_err();
        assert!(matches!(stopped.downcast::<Error>(), Ok(Error::Stopped)));
    }
}
