use std::time::Duration;

use anyhow::{Context as _, ensure};
use millrace_aws::{Args, Client, Objects, Queue};
use uuid::Uuid;

/// A bucket of one test's own, in the stand-in that `AWS_ENDPOINT_URL` names.
pub struct Bucket {
    name: String,
    objects: Objects,
}

impl Bucket {
    /// A new one, empty.
    pub async fn create(prefix: &str) -> anyhow::Result<Self> {
        let objects = client()?.objects();
        let name = format!("{prefix}-{}", Uuid::new_v4().simple());
        objects.create_bucket(&name).await?;
        Ok(Self { name, objects })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `s3://bucket/key`.
    pub fn uri(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> anyhow::Result<()> {
        Ok(self.objects.put(&self.name, key, bytes.into()).await?)
    }

    /// Removes it with all that is in it.
    pub async fn remove(self) -> anyhow::Result<()> {
        for object in self.objects.list(&self.name, "", false, 10_000).await?.objects {
            self.objects.delete(&self.name, &object.key).await?;
        }
        Ok(self.objects.delete_bucket(&self.name).await?)
    }
}

/// A queue of one test's own, with that visibility timeout. `remove` removes it.
pub async fn queue(prefix: &str, visibility: Duration) -> anyhow::Result<Queue> {
    let name = format!("{prefix}-{}", Uuid::new_v4().simple());
    Ok(Queue::create(&client()?, &name, visibility).await?)
}

/// Of the stand-in, and never of AWS itself.
fn client() -> anyhow::Result<Client> {
    let url = std::env::var("AWS_ENDPOINT_URL")
        .context("AWS_ENDPOINT_URL is not set: run `make test`, or start the stack and source its env file")?;
    ensure!(url.starts_with("http://127.0.0.1:"), "AWS_ENDPOINT_URL is not that of the local stack: {url}");
    Ok(Args::default().client())
}
