//! When a stack in the foreground is to end.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// How soon the end of a parent is seen.
const POLL: Duration = Duration::from_millis(200);

/// Why it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Ctrl-C, SIGTERM, or the terminal was closed.
    Asked,
    /// Who started us, and wanted us to end with him, is gone.
    Orphaned,
}

/// Listens from its making on; nothing that comes between two waits is missed.
pub(super) struct Ends {
    signals: [tokio::signal::unix::Signal; 3],
    parent: Option<u32>,
}

impl Ends {
    /// `with_parent`: the end of the process that started this one counts too.
    pub(super) fn new(with_parent: bool) -> anyhow::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [a, b, c] = kinds.map(signal);
        let what = "listen for signals";
        let signals = [a.context(what)?, b.context(what)?, c.context(what)?];
        Ok(Self { signals, parent: with_parent.then(std::os::unix::process::parent_id) })
    }

    /// Waits for the next reason to end.
    pub(super) async fn next(&mut self) -> End {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => End::Asked,
            _ = terminate.recv() => End::Asked,
            _ = hangup.recv() => End::Asked,
            () = orphaned(self.parent) => End::Orphaned,
        }
    }
}

/// A process whose parent has ended gets another one. There is no signal for it that would not also come when only the
/// parent's thread ends.
async fn orphaned(parent: Option<u32>) {
    let Some(parent) = parent else { return std::future::pending().await };
    while std::os::unix::process::parent_id() == parent {
        tokio::time::sleep(POLL).await;
    }
}
