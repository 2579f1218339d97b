//! One connection: password and certificates as they are now, and a session that cannot hang for ever.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use millrace_runtime::Secret;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Notification, Socket};

use crate::Result;
use crate::tls::Tls;

/// How long the way to the server may take, TCP, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may leave sent bytes unanswered before the connection counts as dead.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
/// A transaction that nobody drives is ended by the server, so that a stuck client cannot hold the ledger's row.
const IDLE_IN_TRANSACTION: Duration = Duration::from_mins(1);
/// How long a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that a new connection needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    config: Config,
    tls: Tls,
    password: Option<Secret>,
    session: String,
}

/// A connection and the task that drives it, or the driver's error: the pool speaks no other.
pub(crate) type Connected = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connector {
    pub(crate) fn new(mut config: Config, tls: Tls, password: Option<Secret>, statement_timeout: Duration) -> Self {
        defaults(&mut config);
        // Not as start-up options: poolers in the middle refuse those.
        let session = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
             SET TimeZone = 'UTC'; SET client_min_messages = warning",
            statement_timeout.as_millis(),
            LOCK_TIMEOUT.as_millis(),
            IDLE_IN_TRANSACTION.as_millis(),
        );
        Self(Arc::new(Inner { config, tls, password, session }))
    }

    /// Connects, and lets a task of its own drive the connection. It ends when the client is dropped, or with an abort
    /// of the task. Notifications of `LISTEN` go to `notifications`. The caller sets the limit of time: the driver's
    /// own ends with TCP, and a server may accept and stay silent.
    pub(crate) async fn connect(&self, notifications: Option<mpsc::Sender<Notification>>) -> Connected {
        let mut config = self.0.config.clone();
        if let Some(password) = &self.0.password {
            config.password(password.expose().as_bytes());
        }
        let (client, connection) = config.connect(self.0.tls.clone()).await?;
        let task = tokio::spawn(drive(connection, notifications));
        client.batch_execute(&self.0.session).await?;
        Ok((client, task))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }
}

/// Fills in what the address leaves open.
fn defaults(config: &mut Config) {
    if config.get_application_name().is_none() {
        config.application_name(program());
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
}

/// The binary's name: what `pg_stat_activity` shows.
fn program() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .unwrap_or_else(|| "millrace".to_owned())
}

async fn drive<S>(mut connection: Connection<Socket, S>, notifications: Option<mpsc::Sender<Notification>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if let Some(notifications) = &notifications
                    && notifications.send(notification).await.is_err()
                {
                    return;
                }
            }
            Some(Ok(AsyncMessage::Notice(notice))) => tracing::debug!(notice = notice.message(), "postgres notice"),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "postgres connection ended");
                return;
            }
            None => return,
        }
    }
}
