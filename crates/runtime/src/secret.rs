//! Secrets, given by value or by file, that never show in a log.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use crate::ConfigError;

/// How often a file is looked at, at most.
const RECHECK: Duration = Duration::from_secs(5);

/// A secret. From a file it is read again when the file changes, so that it can be rotated under a running process.
#[derive(Clone)]
pub struct Secret(Arc<Source>);

enum Source {
    Value(Arc<str>),
    File { path: PathBuf, current: Mutex<Current> },
}

struct Current {
    text: Arc<str>,
    changed: Option<SystemTime>,
    checked: Instant,
}

impl Secret {
    /// From the value itself.
    pub fn value(text: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(Source::Value(text.into())))
    }

    /// From a file, without the white space at its end. It must be readable now.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        let (text, changed) =
            read(&path).map_err(|error| ConfigError::new(format!("read secret {}: {error}", path.display())))?;
        let current = Mutex::new(Current { text, changed, checked: Instant::now() });
        Ok(Self(Arc::new(Source::File { path, current })))
    }

    /// From a pair of settings, `value` or `file`; `name` is how the user knows them (`--admin-token`).
    pub fn from_settings(name: &str, value: Option<&str>, file: Option<&Path>) -> Result<Option<Self>, ConfigError> {
        match (value.filter(|value| !value.is_empty()), file) {
            (Some(_), Some(_)) => Err(ConfigError::new(format!("{name}: give it by value or by file, not both"))),
            (Some(value), None) => Ok(Some(Self::value(value))),
            (None, Some(file)) => Self::file(file).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The secret as it is now. A file that cannot be read any more leaves the last text in force.
    pub fn expose(&self) -> Arc<str> {
        match &*self.0 {
            Source::Value(text) => Arc::clone(text),
            Source::File { path, current } => {
                let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
                if current.checked.elapsed() >= RECHECK {
                    current.refresh(path);
                }
                Arc::clone(&current.text)
            }
        }
    }
}

impl Current {
    fn refresh(&mut self, path: &Path) {
        self.checked = Instant::now();
        if changed(path).is_some_and(|changed| Some(changed) == self.changed) {
            return;
        }
        match read(path) {
            Ok((text, changed)) => {
                if text != self.text {
                    tracing::info!(path = %path.display(), "secret changed");
                }
                (self.text, self.changed) = (text, changed);
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read secret again, keeping the last"),
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(path: &Path) -> std::io::Result<(Arc<str>, Option<SystemTime>)> {
    let changed = changed(path); // before the text: a change in between is seen next time
    let text = std::fs::read_to_string(path)?;
    match text.trim_end() {
        // Also what a file is for a moment while it is written anew. An empty secret is one that everybody knows.
        "" => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the file is empty")),
        text => Ok((text.into(), changed)),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::Value(_) => f.write_str("Secret(hidden)"),
            Source::File { path, .. } => write!(f, "Secret(file {})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_no_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\n").unwrap();
        assert!(Secret::file(file.path()).unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_secret_never_shows() {
        assert_eq!(format!("{:?}", Secret::value("hunter2")), "Secret(hidden)");
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_is_not_fatal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let secret = Secret::file(&path).unwrap();
        assert_eq!(&*secret.expose(), "one");
        let Source::File { current, .. } = &*secret.0 else { panic!("made from a file") };

        std::fs::write(&path, "two\n").unwrap();
        let mut current = current.lock().unwrap();
        current.changed = None; // file systems with coarse clocks
        current.refresh(&path);
        assert_eq!(&*current.text, "two");

        std::fs::remove_file(&path).unwrap();
        current.refresh(&path);
        assert_eq!(&*current.text, "two");
    }

    #[test]
    fn value_and_file_together_are_refused_by_name() {
        let error = Secret::from_settings("--admin-token", Some("x"), Some(Path::new("y"))).unwrap_err();
        assert!(error.to_string().starts_with("--admin-token"));
        assert!(Secret::from_settings("--admin-token", Some(""), None).unwrap().is_none());
    }
}
