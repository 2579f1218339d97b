//! Where Postgres is and how it is spoken to.

use std::path::PathBuf;

use millrace_core::Span;
use millrace_runtime::{ConfigError, Secret};

use crate::connect::Connector;
use crate::pool::Pool;
use crate::tls::Tls;

/// The database: every service that has one flattens this.
#[derive(Clone, clap::Args)]
#[expect(
    clippy::struct_field_names,
    reason = "they are the flags' names, which share one space with every other group's"
)]
#[command(next_help_heading = "Postgres")]
pub struct Args {
    /// `postgres://user@host:port/database`, or `key=value` pairs. `sslmode` may be disable, prefer (the default),
    /// require, verify-ca or verify-full; the last two check the certificate's chain and its host name.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,

    /// A file with the password, read again when it changes: a rotated secret is taken up by new connections.
    #[arg(long, env = "MILLRACE_DATABASE_PASSWORD_FILE", value_name = "FILE")]
    database_password_file: Option<PathBuf>,

    /// Certificates (PEM) that the server's chain must end in; default: the system's.
    #[arg(long, env = "MILLRACE_DATABASE_CA", value_name = "FILE")]
    database_ca: Option<PathBuf>,

    /// Connections at most.
    #[arg(long, env = "MILLRACE_DATABASE_MAX_CONNECTIONS", default_value_t = 8, value_name = "N")]
    database_max_connections: usize,

    /// How long one statement may run.
    #[arg(long, env = "MILLRACE_DATABASE_STATEMENT_TIMEOUT", default_value = "30s", value_name = "SPAN")]
    database_statement_timeout: Span,
}

impl Args {
    /// A database by its URL and everything else by default: for tools and tests.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self {
            database_url: url.into(),
            database_password_file: None,
            database_ca: None,
            database_max_connections: 8,
            database_statement_timeout: Span::seconds(30),
        }
    }

    /// The same with so many connections at least: for who holds several and would wait for one more.
    #[must_use]
    pub fn with_room(mut self, least: usize) -> Self {
        self.database_max_connections = self.database_max_connections.max(least);
        self
    }

    /// A pool that has not connected yet: what can be checked without a server is checked, all of it at once.
    pub fn pool(&self) -> Result<Pool, ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |error: String| faults.push(error);
        let password = self.database_password_file.as_ref().map(Secret::file).transpose();
        let password = password.map_err(|error| fault(format!("--database-password-file: {error}"))).ok().flatten();
        let parsed = Tls::from_url(&self.database_url, self.database_ca.clone()).and_then(|(url, tls)| {
            let config: tokio_postgres::Config = url.parse().map_err(|error| crate::error::describe(&error))?;
            tls.config()?;
            Ok((config, tls))
        });
        let parsed = parsed.map_err(|error| fault(format!("--database-url (DATABASE_URL): {error}"))).ok();
        if self.database_max_connections == 0 {
            fault("--database-max-connections: expected at least 1, got 0".to_owned());
        }
        ConfigError::check(faults)?;
        let (mut config, tls) = parsed.ok_or_else(|| ConfigError::new("DATABASE_URL cannot be read"))?;
        config.ssl_mode(tls.driver_mode());
        let connector = Connector::new(config, tls, password, self.database_statement_timeout.into());
        Ok(Pool::new(connector, self.database_max_connections))
    }
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Args").field("database_max_connections", &self.database_max_connections).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_together_and_name_their_flags() {
        let mut args = Args::from_url("postgres://u@h/d?sslmode=perhaps");
        args.database_password_file = Some("/no/such/file".into());
        args.database_max_connections = 0;
        let error = args.pool().err().unwrap();
        assert_eq!(error.faults().len(), 3, "{error}");
        assert!(error.to_string().contains("--database-password-file"));
    }

    #[test]
    fn a_password_in_the_address_never_shows() {
        assert!(!format!("{:?}", Args::from_url("postgres://u:hunter2@h/d")).contains("hunter2"));
    }
}
