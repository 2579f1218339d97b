//! A Job: what is wanted, what Kubernetes is given for it, and what is read of what it says.

mod manifest;
mod name;
mod state;

pub(crate) use manifest::{CONTAINER, MANAGED_BY};
pub use manifest::{config_map, manifest};
pub use name::{label, name};
pub use state::{Exit, Finish, Pod, Problem, State};

use std::{collections::BTreeMap, time::Duration};

/// The most bytes that a Job's items may have together: Kubernetes keeps a `ConfigMap` of 1 MiB.
pub const MAX_ITEMS_BYTES: usize = 1 << 20;
/// The most shards of a Job.
pub const MAX_SHARDS: usize = 100_000;
/// From here on Kubernetes wants to know how many shards may fail, and runs no more at once.
pub const MANY_SHARDS: usize = 10_000;
/// What Kubernetes keeps of the message that a container leaves at its end: 4 KiB. One that is as long was cut.
pub const MAX_MESSAGE: usize = 4096;
/// Where a container leaves its message.
pub const MESSAGE: &str = "/dev/termination-log";
/// Where a shard finds its item, a file in a folder of its own.
pub const ITEM: &str = "/millrace/item";
/// The variable in which a shard has its number.
pub const ITEM_NUMBER: &str = "MILLRACE_ITEM";

/// Which Job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name: a DNS label that leaves room for what Kubernetes adds ([`name`] makes one).
    pub name: String,
}

/// A Job that is to run: one pod, or one for each shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What it is known by.
    pub key: Key,
    /// Of the Job and its pods, to be selected by: [`label`] makes values that are allowed.
    pub labels: BTreeMap<String, String>,
    /// Of the Job. What is there under its name is this Job if it has the same.
    pub annotations: BTreeMap<String, String>,
    /// The image.
    pub image: String,
    /// In place of the image's entry point, unless it is empty.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// The environment; `$(NAME)` in a value stands for another one.
    pub env: BTreeMap<String, String>,
    /// Variables that hold a key of a secret: (secret, key).
    pub secrets: BTreeMap<String, (String, String)>,
    /// `requests` and `limits`.
    pub resources: BTreeMap<String, BTreeMap<String, String>>,
    /// Whose rights its pods have; without one, none, and no token.
    pub service_account: Option<String>,
    /// The user that it runs as; without one, the image's.
    pub user: Option<i64>,
    /// Kubernetes ends it when it has run for so long.
    pub deadline: Option<Duration>,
    /// How long it is kept when it has ended.
    pub keep: Duration,
    /// Whether its node may be taken away to save money.
    pub spot: bool,
    /// One pod for each of several items.
    pub shards: Option<Shards>,
}

/// The shards of a Job: pods with numbers from 0, each with an item in the file [`ITEM`].
#[derive(Clone, Debug, PartialEq)]
pub struct Shards {
    /// What each is given, one at least.
    pub items: Vec<String>,
    /// How many run at once.
    pub parallel: u32,
    /// How often Kubernetes tries one again that has failed.
    pub retries: u32,
}
