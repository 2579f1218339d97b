//! Follows the registry's changes, so that the newest version is known without asking for it.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use millrace_proto::registry::v1::{
    ChangeKind, WatchRequest, WatchResponse, registry_service_client::RegistryServiceClient,
};
use tokio::time::sleep;
use tonic::{Status, transport::Endpoint};

use super::{Entry, Inner, Registered};
use crate::Schema;

/// "From now on": a registry takes a revision that is still to come for its newest one.
const NOW: u64 = u64::MAX;
/// Pauses between attempts to connect.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// Follows until the last client is dropped. A stream that breaks is resumed after the last change that was seen.
pub(super) async fn follow(endpoint: Endpoint, inner: Weak<Inner>) {
    let mut client = RegistryServiceClient::new(endpoint.connect_lazy());
    let mut revision = NOW;
    let mut failures = 0;
    while inner.strong_count() > 0 {
        let ended = stream(&mut client, &mut revision, &mut failures, &inner).await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.watching.swap(false, Ordering::AcqRel) {
            inner.latest.invalidate_all(); // what was kept for a minute is good for seconds now
            let after = (revision != NOW).then_some(revision);
            tracing::info!(after, "watch of the registry broke off, resuming");
        }
        if let Err(status) = ended {
            tracing::debug!(%status, "cannot watch the registry");
        }
        drop(inner);
        sleep(PAUSES[failures.min(PAUSES.len() - 1)]).await;
        failures += 1;
    }
}

async fn stream(
    client: &mut RegistryServiceClient<tonic::transport::Channel>,
    revision: &mut u64,
    failures: &mut usize,
    inner: &Weak<Inner>,
) -> Result<(), Status> {
    let request = WatchRequest { after_revision: *revision, subject_prefix: String::new() };
    let mut changes = client.watch(request).await?.into_inner();
    if let Some(inner) = inner.upgrade() {
        inner.latest.invalidate_all(); // asked for before the stream stood
        inner.watching.store(true, Ordering::Release);
    }
    *failures = 0;
    while let Some(change) = changes.message().await? {
        let Some(inner) = inner.upgrade() else { return Ok(()) };
        *revision = change.revision;
        inner.apply(change).await;
    }
    Ok(())
}

impl Inner {
    async fn apply(&self, change: WatchResponse) {
        let kind = change.kind();
        let Some(schema) = change.schema else { return };
        if matches!(kind, ChangeKind::Registered | ChangeKind::Deleted) {
            self.forget(&schema.subject).await;
        }
        // A schema with references is fetched when it is needed: its references are not in the message.
        if kind != ChangeKind::Registered || !schema.references.is_empty() {
            return;
        }
        let (Ok(parsed), Ok(guid)) = (Schema::parse(&schema.schema), schema.guid.parse()) else { return };
        let registered = Arc::new(Registered {
            id: schema.id,
            guid,
            subject: Some(schema.subject.clone()),
            version: Some(schema.version),
            schema: parsed,
        });
        self.remember(&registered).await;
        self.latest.insert(schema.subject, Entry::Found(registered)).await;
    }
}
