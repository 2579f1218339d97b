//! What a program needs to reach the stack, as environment variables and as a dotenv file.

use std::path::Path;

use crate::aws::{Aws, BATCH_BUCKET, LAKE_BUCKET, MODELS_BUCKET};
use crate::folder::{self, Folder};
use crate::{Part, Ports, Result};

/// Names and values, in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env(Vec<(String, String)>);

impl Env {
    /// Addresses of Kafka, Postgres and the stand-in for AWS. The last are the names that every SDK of AWS reads; the
    /// stand-in takes any key, and an SDK wants one. Its buckets and queues are there from its start.
    pub(crate) fn stores(ports: Ports, password: &str) -> Self {
        let mut env = Self::default();
        env.set("KAFKA_BOOTSTRAP_SERVERS", &ports.kafka());
        env.set("DATABASE_URL", &format!("postgres://postgres:{password}@{}/postgres", ports.postgres()));
        env.set("AWS_ENDPOINT_URL", &format!("http://{}", ports.aws()));
        env.set("AWS_REGION", "us-east-1");
        env.set("AWS_ACCESS_KEY_ID", "local");
        env.set("AWS_SECRET_ACCESS_KEY", "local");
        env.set("MILLRACE_LAKE_BUCKET", LAKE_BUCKET);
        env.set("MILLRACE_BATCH_BUCKET", BATCH_BUCKET);
        env.set("MILLRACE_MODEL_STORE", &format!("s3://{MODELS_BUCKET}"));
        let [queue, dead] = Aws::queues(ports);
        env.set("MILLRACE_IMPORT_QUEUE_URL", &queue);
        env.set("MILLRACE_IMPORT_DEAD_QUEUE_URL", &dead);
        env
    }

    /// Addresses of the services, and the admin token.
    pub(crate) fn add_services(&mut self, ports: Ports, admin_token: &str) {
        for part in Part::SERVICES {
            let name = part.name().to_uppercase().replace('-', "_");
            if let Some(address) = ports.http(part) {
                self.set(&format!("MILLRACE_{name}_HTTP"), &format!("http://{address}"));
            }
            if let Some(address) = ports.grpc(part) {
                // A gRPC target has no scheme; clients of all languages take it like this.
                self.set(&format!("MILLRACE_{name}_GRPC"), &address);
            }
            if let Some(address) = ports.admin(part) {
                self.set(&format!("MILLRACE_{name}_ADMIN"), &format!("http://{address}"));
            }
        }
        self.set("MILLRACE_ADMIN_TOKEN", admin_token);
    }

    pub(crate) fn set(&mut self, name: &str, value: &(impl ToString + ?Sized)) {
        let value = value.to_string();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<(String, String)> {
        self.0.clone()
    }

    /// `.millrace/env`, for `set -a; . .millrace/env`.
    pub(crate) fn write(&self, folder: &Folder) -> Result<()> {
        let text = self.0.iter().fold(String::new(), |text, (name, value)| text + name + "=" + value + "\n");
        folder::write_private(&folder.env_file(), &text)
    }
}

/// Reads a file that [`Env::write`] wrote.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_names_that_others_rely_on_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(dir.path()).unwrap();
        let mut env = Env::stores(Ports::from_base(29_000), "secret");
        env.add_services(Ports::from_base(29_000), "token");
        env.set("MILLRACE_API_KEY", "first");
        env.set("MILLRACE_API_KEY", "second");
        env.write(&folder).unwrap();
        let read = read(&folder.env_file()).unwrap();
        assert_eq!(read, env.to_vec());
        let value = |name: &str| read.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(value("KAFKA_BOOTSTRAP_SERVERS"), Some("127.0.0.1:29092"));
        assert_eq!(value("DATABASE_URL"), Some("postgres://postgres:secret@127.0.0.1:29032/postgres"));
        assert_eq!(value("AWS_ENDPOINT_URL"), Some("http://127.0.0.1:29071"));
        assert_eq!(value("MILLRACE_LAKE_BUCKET"), Some("millrace-lake"));
        assert_eq!(value("MILLRACE_IMPORT_QUEUE_URL"), Some("http://127.0.0.1:29071/123456789012/millrace-scores"));
        assert_eq!(value("MILLRACE_IMPORTER_OBJECTS_ADMIN"), Some("http://127.0.0.1:29017"));
        assert_eq!(value("MILLRACE_MODEL_STORE"), Some("s3://millrace-models"));
        assert_eq!(value("MILLRACE_ARCHIVER_ADMIN"), Some("http://127.0.0.1:29016"));
        assert_eq!(value("MILLRACE_GATEWAY_HTTP"), Some("http://127.0.0.1:29080"));
        assert_eq!(value("MILLRACE_REGISTRY_HTTP"), Some("http://127.0.0.1:29081"));
        assert_eq!(value("MILLRACE_SCORER_ADMIN"), Some("http://127.0.0.1:29012"));
        assert_eq!(value("MILLRACE_API_KEY"), Some("second"));
        assert_eq!(value("MILLRACE_GATEWAY_GRPC"), Some("127.0.0.1:29050"));
        assert_eq!(value("MILLRACE_REGISTRY_GRPC"), Some("127.0.0.1:29082"));
        assert_eq!(value("MILLRACE_ADMIN_TOKEN"), Some("token"));
    }
}
