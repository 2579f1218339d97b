use anyhow::Context as _;
use millrace_postgres::{Args, Pool};
use uuid::Uuid;

/// A database of one test's own, on the server that `DATABASE_URL` names.
pub struct Database {
    name: String,
    /// For processes.
    pub url: String,
    /// For the test.
    pub pool: Pool,
    admin: Pool,
}

impl Database {
    /// A new one, empty.
    pub async fn create(prefix: &str) -> anyhow::Result<Self> {
        let base = std::env::var("DATABASE_URL")
            .context("DATABASE_URL is not set: run `make test`, or start the stack and source its env file")?;
        let (server, _) = base.rsplit_once('/').context("DATABASE_URL names no database")?;
        let name = format!("{prefix}_{}", Uuid::new_v4().simple());
        let admin = Args::from_url(&base).pool()?;
        admin.get().await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let url = format!("{server}/{name}");
        let pool = Args::from_url(&url).pool()?;
        Ok(Self { name, url, pool, admin })
    }

    /// Removes it; a test that fails leaves it to be looked at.
    pub async fn remove(self) -> anyhow::Result<()> {
        let Self { name, admin, pool, .. } = self;
        drop(pool);
        admin.get().await?.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        Ok(())
    }
}
