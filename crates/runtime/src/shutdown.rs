use tokio_util::sync::CancellationToken;

/// The request to stop: cheap to clone, triggered once, seen by all clones.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// One that nobody has triggered; for tests and for parts that end on their own terms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone who holds a clone to stop.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether the request was made; for loops that cannot await.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when the request is made, at once if it was made before.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// One that follows this one, and can also be triggered alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}
