//! What the registry does, whatever protocol it is asked in.

use std::{sync::Arc, time::Duration};

use millrace_postgres::GenericClient;
use millrace_schema::{
    Guid, Schema,
    compatibility::{self, IncompatibilityKind, Level},
};

use crate::{
    Error, Result,
    metrics::Metrics,
    model::{Conflict, Offer, Pick, Version, Visible, compared},
    store::Store,
    subject::Subject,
};

/// How often a transaction that lost against another is tried again.
const TRIES: u32 = 4;
/// The pause before that, times the number of tries.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Registry {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
}

/// An offer that was understood.
struct Understood {
    schema: Schema,
    guid: Guid,
    /// What is stored: Java's rendering, which the GUID is made from.
    text: String,
}

impl Registry {
    pub(crate) fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// Registers a schema, or finds it under the subject.
    pub(crate) async fn register(&self, subject: &Subject, offer: &Offer) -> Result<Version> {
        let result = self.register_quietly(subject, offer).await;
        self.metrics.registration(match &result {
            Ok((_, true)) => "new",
            Ok((_, false)) => "known",
            Err(error) => error.tag(),
        });
        let (version, new) = result?;
        if new {
            tracing::info!(%subject, version = version.number, id = version.content.id, "schema registered");
        }
        Ok(version)
    }

    /// The version, and whether it is new.
    async fn register_quietly(&self, subject: &Subject, offer: &Offer) -> Result<(Version, bool)> {
        let client = self.store.client().await?;
        let understood = self.understand(&client, offer).await?;
        if let Some(known) = self.store.find(&client, subject, understood.guid, Visible::Live).await? {
            return Ok((known, false));
        }
        drop(client);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.register_once(subject, offer, &understood).await {
                // Two transactions stood in each other's way; one of them is through by now.
                Err(Error::Store(error)) if error.sqlstate().is_some() && error.is_retriable() && tries < TRIES => {
                    tokio::time::sleep(PAUSE * tries).await;
                }
                result => return result,
            }
        }
    }

    async fn register_once(
        &self,
        subject: &Subject,
        offer: &Offer,
        understood: &Understood,
    ) -> Result<(Version, bool)> {
        let Understood { schema, guid, text } = understood;
        let mut client = self.store.client().await?;
        let transaction = self.store.lock(&mut client, subject, &offer.references).await?;
        // Whoever had the lock before may have done what we are about to do.
        if let Some(known) = self.store.find(&transaction, subject, *guid, Visible::Live).await? {
            return Ok((known, false));
        }
        let level = self.store.level(&transaction, subject).await?;
        let existing = self.store.versions(&transaction, subject, Visible::Live).await?;
        let conflicts = self.conflicts(&transaction, level, schema, &existing).await?;
        if !conflicts.is_empty() {
            return Err(Error::Incompatible { subject: subject.to_string(), conflicts });
        }
        self.store.insert(&transaction, subject, (*guid, text, &offer.references)).await?;
        let version = self.store.find(&transaction, subject, *guid, Visible::Live).await?;
        transaction.commit().await.map_err(millrace_postgres::Error::from)?;
        Ok((version.ok_or(Error::SchemaNotFound)?, true))
    }

    /// The version of a subject that has this schema.
    pub(crate) async fn look_up(&self, subject: &Subject, offer: &Offer, visible: Visible) -> Result<Version> {
        let client = self.store.client().await?;
        let understood = self.understand(&client, offer).await?;
        if let Some(found) = self.store.find(&client, subject, understood.guid, visible).await? {
            return Ok(found);
        }
        match self.store.version(&client, subject, Pick::Latest, visible).await? {
            None => Err(Error::SubjectNotFound(subject.to_string())),
            Some(_) => Err(Error::SchemaNotFound),
        }
    }

    /// One version of a subject.
    pub(crate) async fn version(&self, subject: &Subject, pick: Pick, visible: Visible) -> Result<Version> {
        let client = self.store.client().await?;
        self.version_by(&client, subject, pick, visible).await
    }

    async fn version_by(
        &self,
        client: &impl GenericClient,
        subject: &Subject,
        pick: Pick,
        visible: Visible,
    ) -> Result<Version> {
        if let Some(found) = self.store.version(client, subject, pick, visible).await? {
            return Ok(found);
        }
        match self.store.version(client, subject, Pick::Latest, visible).await? {
            None => Err(Error::SubjectNotFound(subject.to_string())),
            Some(_) => Err(Error::VersionNotFound(crate::store::text_of(pick))),
        }
    }

    /// Why a schema could not follow: one version (`Some`), or those that the subject's level compares with.
    pub(crate) async fn check(&self, subject: &Subject, against: Option<Pick>, offer: &Offer) -> Result<Vec<Conflict>> {
        let client = self.store.client().await?;
        let schema = self.understand(&client, offer).await?.schema;
        let level = self.store.level(&client, subject).await?;
        let existing = match against {
            None => self.store.versions(&client, subject, Visible::Live).await?,
            Some(pick) => vec![self.version_by(&client, subject, pick, Visible::Live).await?],
        };
        self.conflicts(&client, level, &schema, &existing).await
    }

    async fn conflicts(
        &self,
        client: &impl GenericClient,
        level: Level,
        schema: &Schema,
        existing: &[Version],
    ) -> Result<Vec<Conflict>> {
        let (level, versions) = compared(level, existing);
        let mut conflicts = Vec::new();
        for version in versions {
            let existing = self.store.schema(client, &version.content).await?;
            let found = compatibility::check(level, schema, std::slice::from_ref(&existing));
            conflicts.extend(found.into_iter().map(|found| Conflict {
                version: version.number,
                kind: name_of(found.kind).to_owned(),
                path: found.path,
                message: found.message,
            }));
        }
        Ok(conflicts)
    }

    async fn understand(&self, client: &impl GenericClient, offer: &Offer) -> Result<Understood> {
        let schema = self.store.parse(client, &offer.text, &offer.references).await?;
        let names = offer.references.iter();
        let guid = Guid::with_references(&schema, names.map(|of| (of.name.as_str(), of.subject.as_str(), of.version)));
        let text = schema.java_string();
        Ok(Understood { schema, guid, text })
    }
}

/// As Confluent spells it.
fn name_of(kind: IncompatibilityKind) -> &'static str {
    match kind {
        IncompatibilityKind::NameMismatch => "NAME_MISMATCH",
        IncompatibilityKind::FixedSizeMismatch => "FIXED_SIZE_MISMATCH",
        IncompatibilityKind::MissingEnumSymbols => "MISSING_ENUM_SYMBOLS",
        IncompatibilityKind::ReaderFieldMissingDefaultValue => "READER_FIELD_MISSING_DEFAULT_VALUE",
        IncompatibilityKind::TypeMismatch => "TYPE_MISMATCH",
        IncompatibilityKind::MissingUnionBranch => "MISSING_UNION_BRANCH",
    }
}

/// Shared by all requests.
pub(crate) type Shared = Arc<Registry>;
