//! A bounded pool that connects when it is asked to.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{Client, Connect, Manager, ManagerConfig, RecyclingMethod, Runtime};

use crate::Result;
use crate::connect::{Connected, Connector};

/// How long [`Pool::get`] waits for a connection at most: to be free, or to be made.
pub(crate) const WAIT: Duration = Duration::from_secs(15);

/// Connections to one database. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    pool: deadpool_postgres::Pool,
    connector: Connector,
}

impl Pool {
    pub(crate) fn new(connector: Connector, max_connections: usize) -> Self {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(connector.config().clone(), Dial(connector.clone()), config);
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(max_connections)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with timeouts needs a runtime, and it was given one");
        Self { pool, connector }
    }

    /// A connection, made now if none is idle. `prepare_cached` keeps its statements.
    pub async fn get(&self) -> Result<Client> {
        Ok(self.pool.get().await?)
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<()> {
        self.get().await?.simple_query("SELECT 1").await?;
        Ok(())
    }

    /// Drops idle connections: they are of another time once the server has been away.
    pub fn forget_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    /// Host, port and database for a log line; never the password.
    pub fn describe(&self) -> String {
        let config = self.connector.config();
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", config.get_dbname().unwrap_or_default())
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }
}

/// Whether the database answers: the function that readiness probes call.
pub async fn ready(pool: &Pool) -> Result<()> {
    pool.ready().await
}

/// Our way to connect, for the pool.
struct Dial(Connector);

impl Connect for Dial {
    fn connect(&self, _: &tokio_postgres::Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(self.0.connect(None))
    }
}
