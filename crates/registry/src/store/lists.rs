//! Lists, in pages.

use super::{Store, all};
use crate::{
    Result,
    model::{Numbers, Page, Visible},
    subject::Subject,
};

impl Store {
    /// Subjects that begin so, by name.
    pub(crate) async fn subjects(&self, prefix: &str, visible: Visible, page: Page) -> Result<Vec<String>> {
        let client = self.client().await?;
        let (all_of, deleted_only) = (visible != Visible::Live, visible == Visible::Deleted);
        let sql = "SELECT subject FROM registry.versions \
                   WHERE starts_with(subject, $1) AND (NOT deleted OR $2) \
                   GROUP BY subject HAVING NOT $3 OR bool_and(deleted) \
                   ORDER BY subject COLLATE \"C\" OFFSET $4 LIMIT $5";
        let rows = all(&client, sql, &[&prefix, &all_of, &deleted_only, &page.offset, &page.limit]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The versions of a subject; nothing when there is no such subject.
    pub(crate) async fn numbers(&self, subject: &Subject, visible: Visible, page: Page) -> Result<Numbers> {
        let client = self.client().await?;
        let (all_of, deleted_only) = (visible != Visible::Live, visible == Visible::Deleted);
        let sql = "SELECT version FROM registry.versions \
                   WHERE subject = $1 AND (NOT deleted OR $2) AND (deleted OR NOT $3) \
                   ORDER BY version OFFSET $4 LIMIT $5";
        let parameters = [&subject.as_str() as super::Parameter<'_>, &all_of, &deleted_only, &page.offset, &page.limit];
        let rows = all(&client, sql, &parameters).await?;
        Ok(rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs()).collect())
    }

    /// Where an id is used: subjects and their versions.
    pub(crate) async fn uses(&self, id: u32, visible: Visible, page: Page) -> Result<Vec<(String, u32)>> {
        let Ok(id) = i32::try_from(id) else { return Ok(Vec::new()) };
        let client = self.client().await?;
        let all_of = visible != Visible::Live;
        let sql = "SELECT subject, version FROM registry.versions WHERE schema_id = $1 AND (NOT deleted OR $2) \
                   ORDER BY subject COLLATE \"C\", version OFFSET $3 LIMIT $4";
        let rows = all(&client, sql, &[&id, &all_of, &page.offset, &page.limit]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i32>(1).unsigned_abs())).collect())
    }

    /// The ids of live schemas that refer to a version.
    pub(crate) async fn referenced_by(&self, subject: &Subject, version: u32) -> Result<Vec<u32>> {
        let client = self.client().await?;
        super::deletions::referrers(&client, subject, version).await
    }
}
