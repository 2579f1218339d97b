use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use millrace_runtime::Ready;

/// Ready when every lane is.
#[derive(Clone)]
pub struct Gate {
    ready: Ready,
    missing: Arc<AtomicUsize>,
}

impl Gate {
    /// For so many lanes.
    pub fn new(ready: Ready, lanes: usize) -> Self {
        Self { ready, missing: Arc::new(AtomicUsize::new(lanes)) }
    }

    /// What one lane reports to, for [`super::Lane::on_ready`].
    pub fn pass(&self) -> impl Fn(bool) + Send + Sync + 'static {
        let Self { ready, missing } = self.clone();
        move |works| {
            // Only the last one opens, so that one that was overtaken does not close again.
            if !works {
                missing.fetch_add(1, Ordering::AcqRel);
                ready.set(false);
            } else if missing.fetch_sub(1, Ordering::AcqRel) == 1 {
                ready.set(true);
            }
        }
    }
}
