//! Which cluster, and how it is reached.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use millrace_runtime::ConfigError;

use crate::Cluster;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Kubernetes tells every pod where it is.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// Without it a pod has nothing to say there.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The cluster: every service that has one flattens this. Without any of these flags it is the cluster that the process
/// itself runs in, if it does.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Args {
    /// A file that says how a cluster is reached; without it, the cluster that this process runs in.
    #[arg(long, env = "MILLRACE_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of that file; default: the current one.
    #[arg(long, env = "MILLRACE_KUBE_CONTEXT", value_name = "NAME", requires = "kubeconfig")]
    kube_context: Option<String>,
    /// The namespace in which things are made that name none; default: the context's, or that of this process.
    #[arg(long, env = "MILLRACE_KUBE_NAMESPACE", value_name = "NAME")]
    kube_namespace: Option<String>,
}

impl Args {
    /// By a file, for tools and tests.
    pub fn from_file(kubeconfig: impl Into<PathBuf>) -> Self {
        Self { kubeconfig: Some(kubeconfig.into()), ..Self::default() }
    }

    /// The cluster; none where there is no file and this process does not run in one. Nothing is sent to it yet.
    pub async fn connect(&self) -> Result<Option<Cluster>, ConfigError> {
        let mut config = match &self.kubeconfig {
            Some(path) => self.file(path).await?,
            None if std::env::var_os(IN_CLUSTER).is_none() || !Path::new(TOKEN).exists() => return Ok(None),
            None => Config::incluster()
                .map_err(|error| ConfigError::new(format!("the cluster that this process runs in: {error}")))?,
        };
        config.connect_timeout = Some(CONNECT);
        if let Some(namespace) = &self.kube_namespace {
            config.default_namespace.clone_from(namespace);
        }
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| ConfigError::new(format!("--kubeconfig: {error}")))?;
        Ok(Some(Cluster::new(client, namespace)))
    }

    async fn file(&self, path: &PathBuf) -> Result<Config, ConfigError> {
        let fault = |error: kube::config::KubeconfigError| {
            ConfigError::new(format!("--kubeconfig (MILLRACE_KUBECONFIG) {}: {error}", path.display()))
        };
        let options = KubeConfigOptions { context: self.kube_context.clone(), ..KubeConfigOptions::default() };
        let file = Kubeconfig::read_from(path).map_err(fault)?;
        Config::from_custom_kubeconfig(file, &options).await.map_err(fault)
    }
}
