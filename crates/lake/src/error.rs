//! What can be wrong with what is read.

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A manifest that says what cannot be.
#[derive(Debug, thiserror::Error)]
#[error("manifest {key}: {reason}")]
pub struct Error {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
}

impl Error {
    /// About the manifest with that key.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}
