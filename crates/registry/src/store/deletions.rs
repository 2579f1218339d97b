//! Deletions: softly first, for good after that.

use millrace_postgres::{GenericClient, Transaction};
use serde_json::json;

use super::{
    Store, all, change,
    writes::{Told, tell},
};
use crate::{
    Error, Result,
    model::{Deletion, Numbers, Pick, Version, Visible},
    subject::Subject,
};

impl Store {
    /// Deletes a subject and gives its versions.
    pub(crate) async fn delete_subject(&self, subject: &Subject, how: Deletion) -> Result<Numbers> {
        let mut client = self.client().await?;
        let transaction = self.lock(&mut client, subject, &[]).await?;
        let every = self.versions(&transaction, subject, Visible::All).await?;
        let live = every.iter().any(|version| !version.deleted);
        let chosen: Vec<&Version> = match how {
            _ if every.is_empty() => return Err(Error::SubjectNotFound(subject.to_string())),
            Deletion::Soft if !live => return Err(Error::SubjectSoftDeleted(subject.to_string())),
            Deletion::Permanent if live => return Err(Error::SubjectNotSoftDeleted(subject.to_string())),
            Deletion::Soft => every.iter().filter(|version| !version.deleted).collect(),
            Deletion::Permanent => every.iter().collect(),
        };
        for version in &chosen {
            remove(&transaction, subject, version, how).await?;
        }
        change(&transaction, "DELETE FROM registry.config WHERE subject = $1", &[&subject.as_str()]).await?;
        announce(&transaction, subject, &chosen, how).await?;
        let numbers = chosen.iter().map(|version| version.number).collect();
        transaction.commit().await.map_err(millrace_postgres::Error::from)?;
        Ok(numbers)
    }

    /// Deletes one version and gives its number.
    pub(crate) async fn delete_version(&self, subject: &Subject, pick: Pick, how: Deletion) -> Result<u32> {
        let mut client = self.client().await?;
        let transaction = self.lock(&mut client, subject, &[]).await?;
        let every = self.versions(&transaction, subject, Visible::All).await?;
        if every.is_empty() {
            return Err(Error::SubjectNotFound(subject.to_string()));
        }
        let chosen = match pick {
            Pick::Latest => every.iter().rfind(|version| !version.deleted),
            Pick::Number(number) => every.iter().find(|version| version.number == number),
        };
        let version = match (chosen, how) {
            (Some(version), Deletion::Soft) if version.deleted => {
                return Err(Error::VersionSoftDeleted(subject.to_string(), version.number));
            }
            (Some(version), Deletion::Permanent) if !version.deleted => {
                return Err(Error::VersionNotSoftDeleted(subject.to_string(), version.number));
            }
            (Some(version), _) => version,
            (None, _) => return Err(Error::VersionNotFound(text_of(pick))),
        };
        remove(&transaction, subject, version, how).await?;
        announce(&transaction, subject, &[version], how).await?;
        transaction.commit().await.map_err(millrace_postgres::Error::from)?;
        Ok(version.number)
    }
}

pub(crate) fn text_of(pick: Pick) -> String {
    match pick {
        Pick::Number(number) => number.to_string(),
        Pick::Latest => "latest".to_owned(),
    }
}

async fn remove(transaction: &Transaction<'_>, subject: &Subject, version: &Version, how: Deletion) -> Result<()> {
    if !referrers(transaction, subject, version.number).await?.is_empty() {
        return Err(Error::Referenced(subject.to_string(), version.number));
    }
    let sql = match how {
        Deletion::Soft => "UPDATE registry.versions SET deleted = true WHERE subject = $1 AND version = $2",
        Deletion::Permanent => "DELETE FROM registry.versions WHERE subject = $1 AND version = $2",
    };
    change(transaction, sql, &[&subject.as_str(), &(version.number as i32)]).await?;
    Ok(())
}

/// Tells of what was live until now; a permanent deletion takes what watchers believe gone.
async fn announce(
    transaction: &Transaction<'_>,
    subject: &Subject,
    versions: &[&Version],
    how: Deletion,
) -> Result<()> {
    if how == Deletion::Permanent {
        return Ok(());
    }
    for version in versions {
        let told = Told {
            kind: "deleted",
            subject: subject.as_str(),
            version: Some(version.number as i32),
            schema_id: Some(version.content.id as i32),
            level: None,
        };
        tell(transaction, told).await?;
    }
    Ok(())
}

/// The ids of live schemas that refer to a version.
pub(super) async fn referrers(client: &impl GenericClient, subject: &Subject, version: u32) -> Result<Vec<u32>> {
    let sql = "SELECT s.id FROM registry.schemas s WHERE s.refs <> '[]' AND s.refs @> $1 \
               AND EXISTS (SELECT 1 FROM registry.versions v WHERE v.schema_id = s.id AND NOT v.deleted) ORDER BY s.id";
    let reference = json!([{"subject": subject.as_str(), "version": version}]);
    let rows = all(client, sql, &[&reference]).await?;
    Ok(rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs()).collect())
}
