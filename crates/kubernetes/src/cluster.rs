use kube::Client;

use crate::Jobs;

/// A cluster, and the namespace in which things are made that name none. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    pub(crate) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// The namespace in which things are made that name none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Jobs, all of them followed by one watch for each namespace.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(self.client.clone())
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
