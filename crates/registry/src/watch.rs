//! Streams of changes. The database's revisions say what is to be sent, its notifications only when to look: a lost notification
//! costs time and never a change.

use std::{sync::Arc, time::Duration};

use millrace_runtime::{Shutdown, grpc};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tonic::Status;

use crate::{Result, model::Change, registry::Shared};

/// How long a stream goes without looking when it hears nothing.
const POLL: Duration = Duration::from_secs(5);
/// The pause after the database could not be read.
const PAUSE: Duration = Duration::from_millis(500);
/// Changes sent and not yet taken by the client; then the stream waits.
const AHEAD: usize = 64;

/// Tells all streams of this replica that something has changed.
#[derive(Clone)]
pub(crate) struct Bell(Arc<watch::Sender<()>>);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// Hears it from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }

    /// Rings whenever the database says so, until shutdown.
    pub(crate) async fn ring(self, registry: Shared, shutdown: Shutdown) {
        let mut listener = registry.store.listen();
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                // Whatever was said: a connection that was made anew may have missed something.
                _ = listener.next() => { self.0.send_replace(()); }
            }
        }
    }
}

/// What a client asked for.
pub(crate) struct Wish {
    pub(crate) after: u64,
    pub(crate) prefix: String,
}

/// Sends every change after a revision, for as long as the client takes them.
pub(crate) async fn stream(
    registry: Shared,
    bell: &Bell,
    wish: Wish,
    shutdown: Shutdown,
) -> Result<mpsc::Receiver<Result<Change, Status>>> {
    let bell = bell.subscribe(); // before the first look: what happens from here on rings
    // A revision that is still to come: the client wants what is new, or has outlived a restored backup.
    let after = wish.after.min(registry.store.head().await?);
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let watching = registry.metrics.watcher();
        let wish = Wish { after, ..wish };
        tokio::select! {
            () = send(&registry, bell, wish, &sender) => {}
            () = sender.closed() => {}
            () = shutdown.wait() => {
                let bye = grpc::status(millrace_core::Code::Unavailable, "registry is stopping, resume elsewhere");
                let _ = sender.try_send(Err(bye)); // a client that is behind sees the stream end, which says the same
            }
        }
        drop(watching);
    });
    Ok(receiver)
}

async fn send(
    registry: &Shared,
    mut bell: watch::Receiver<()>,
    wish: Wish,
    sender: &mpsc::Sender<Result<Change, Status>>,
) {
    let Wish { mut after, prefix } = wish;
    loop {
        bell.mark_unchanged();
        match registry.store.changes(after, &prefix).await {
            Ok((changes, complete)) => {
                for change in changes {
                    if sender.send(Ok(change)).await.is_err() {
                        return;
                    }
                }
                if complete > after {
                    after = complete; // there may be more than one batch
                    continue;
                }
                let _ = timeout(POLL, bell.changed()).await; // either way: look
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read changes, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
