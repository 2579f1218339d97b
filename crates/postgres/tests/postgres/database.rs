//! A database for one test.

use millrace_postgres::{Args, Pool};
use uuid::Uuid;

/// Goes away with the test, where the test ends well enough for that.
pub(crate) struct Database {
    pub(crate) pool: Pool,
    admin: Pool,
    name: String,
}

impl Database {
    pub(crate) async fn fresh() -> Self {
        let url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL is not set: these tests need the local stack's Postgres, `make test` starts it");
        let name = format!("t_{}", Uuid::new_v4().simple());
        let admin = Args::from_url(&url).pool().unwrap();
        admin.get().await.unwrap().batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (base, _) = url.rsplit_once('/').unwrap();
        Self { pool: Args::from_url(format!("{base}/{name}")).pool().unwrap(), admin, name }
    }

    pub(crate) async fn drop(self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        self.admin.get().await.unwrap().batch_execute(&drop).await.unwrap();
    }
}
