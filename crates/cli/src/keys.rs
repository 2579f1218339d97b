//! `millrace keys`.

use clap::Subcommand;
use jiff::Timestamp;
use millrace_proto::gateway::v1::{
    CreateKeyRequest, Key, ListKeysRequest, RevokeKeyRequest, key_service_client::KeyServiceClient,
};
use serde::Serialize;

use crate::{
    Output,
    connect::{Authorized, answer, channel},
};

/// The gateway's key service.
#[derive(Debug, clap::Args)]
pub(crate) struct Admin {
    /// The gateway's gRPC address.
    #[arg(long, env = "MILLRACE_GATEWAY_GRPC")]
    gateway: String,
    /// The gateway's admin token.
    #[arg(long, env = "MILLRACE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: String,
}

impl Admin {
    fn client(&self) -> anyhow::Result<KeyServiceClient<Authorized>> {
        Ok(KeyServiceClient::new(channel(&self.gateway, &self.admin_token)?))
    }
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key. It is shown once.
    Create {
        #[command(flatten)]
        admin: Admin,
        /// What it is for.
        #[arg(long)]
        name: String,
        /// A pipeline that it may publish to; `*` is all. May be repeated.
        #[arg(long = "pipeline", required = true)]
        pipelines: Vec<String>,
    },
    /// List keys, newest first.
    List {
        #[command(flatten)]
        admin: Admin,
        /// Also the revoked ones.
        #[arg(long)]
        revoked: bool,
    },
    /// Revoke a key: gateways refuse it within seconds.
    Revoke {
        #[command(flatten)]
        admin: Admin,
        /// Its id, as `list` shows it.
        id: String,
    },
}

#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    pipelines: Vec<String>,
    created_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<Key> for Row {
    fn from(key: Key) -> Self {
        let Key { id, name, pipelines, created_at, revoked_at } = key;
        let time = |at: prost_types::Timestamp| Timestamp::new(at.seconds, at.nanos).ok();
        Self {
            id,
            name,
            pipelines,
            created_at: created_at.and_then(time),
            revoked_at: revoked_at.and_then(time),
            secret: None,
        }
    }
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Create { admin, name, pipelines } => {
                let answer = answer(admin.client()?.create_key(CreateKeyRequest { name, pipelines }).await)?;
                let row = Row { secret: Some(answer.secret), ..answer.key.unwrap_or_default().into() };
                output.value(&row, |row| {
                    if output.is_terminal() {
                        eprintln!("key {} is made; this is the only time that it is shown:", row.id);
                    }
                    row.secret.clone().unwrap_or_default()
                })
            }
            Self::List { admin, revoked } => {
                let answer = answer(admin.client()?.list_keys(ListKeysRequest { include_revoked: revoked }).await)?;
                let rows: Vec<Row> = answer.keys.into_iter().map(Row::from).collect();
                output.rows(&rows, &["ID", "NAME", "PIPELINES", "CREATED", "REVOKED"], |row| {
                    let time = |at: Option<Timestamp>| at.map(|at| format!("{at:.0}")).unwrap_or_default();
                    let pipelines = row.pipelines.join(",");
                    vec![row.id.clone(), row.name.clone(), pipelines, time(row.created_at), time(row.revoked_at)]
                })
            }
            Self::Revoke { admin, id } => {
                let key = answer(admin.client()?.revoke_key(RevokeKeyRequest { id }).await)?.key.unwrap_or_default();
                output.value(&Row::from(key), |row| format!("key {} is revoked", row.id))
            }
        }
    }
}
