//! The stack's own folder and what lies where in it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Logs of so many starts before this one are kept.
const OLD_LOGS: u32 = 3;

/// How much of a log's end goes into an error.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// `.millrace/`, absolute.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::io("create folder", path))?;
        Self::existing(path)
    }

    pub(crate) fn existing(path: &Path) -> Result<Self> {
        path.canonicalize().map(Self).map_err(Error::io("find folder", path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn env_file(&self) -> PathBuf {
        self.0.join("env")
    }

    /// One folder a start: who runs, by name.
    pub(crate) fn runs(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The working folder of a part, made when it is not there.
    pub(crate) fn part(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).map_err(Error::io("create folder", &path))?;
        Ok(path)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// A new log for this start; the older ones move on by one number.
    pub(crate) fn rotate_log(&self, name: &str) -> Result<File> {
        let path = self.log(name);
        let logs = self.0.join("logs");
        fs::create_dir_all(&logs).map_err(Error::io("create folder", &logs))?;
        let old = |n: u32| if n == 0 { path.clone() } else { logs.join(format!("{name}.log.{n}")) };
        for n in (0..OLD_LOGS).rev() {
            // One that is not there has nothing to move.
            let _ = fs::rename(old(n), old(n + 1));
        }
        self.append_log(name)
    }

    /// The log of this start, to go on in.
    pub(crate) fn append_log(&self, name: &str) -> Result<File> {
        let path = self.log(name);
        OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("open log", &path))
    }

    /// The last lines of a log, for an error.
    pub(crate) fn tail(&self, name: &str) -> String {
        fn read(path: &Path) -> std::io::Result<String> {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        let text = read(&self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// A secret that is made once, and found by every later start: 48 hexadecimal digits.
    pub(crate) fn secret(&self, name: &str) -> Result<String> {
        if let Some(secret) = self.remembered(name) {
            return Ok(secret);
        }
        let mut bytes = [0_u8; 24];
        let random = Path::new("/dev/urandom");
        File::open(random).and_then(|mut file| file.read_exact(&mut bytes)).map_err(Error::io("read", random))?;
        let secret = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        self.remember(name, &secret)?;
        Ok(secret)
    }

    pub(crate) fn remember(&self, name: &str, secret: &str) -> Result<()> {
        write_private(&self.0.join("secrets").join(name), secret)
    }

    pub(crate) fn remembered(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join("secrets").join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

/// Writes a file that only its owner may read, as a whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    const OWNER_ONLY: u32 = 0o600;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    let next = path.with_extension("next");
    let write = || {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(OWNER_ONLY).open(&next)?;
        file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&next, path)
    };
    write().map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_rotated_by_start_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(dir.path()).unwrap();
        for start in 0..6 {
            writeln!(folder.rotate_log("kafka").unwrap(), "start {start}").unwrap();
        }
        assert_eq!(folder.tail("kafka"), "start 5");
        assert_eq!(fs::read_to_string(dir.path().join("logs/kafka.log.3")).unwrap(), "start 2\n");
        assert_eq!(fs::read_dir(dir.path().join("logs")).unwrap().count(), 4);
    }

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(dir.path()).unwrap();
        let first = folder.secret("admin-token").unwrap();
        assert_eq!(first.len(), 48);
        assert_eq!(folder.secret("admin-token").unwrap(), first);
        let mode = fs::metadata(dir.path().join("secrets/admin-token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
