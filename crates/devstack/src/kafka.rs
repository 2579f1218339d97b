//! Kafka: its folder, its command line, and when it serves.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::folder::Folder;
use crate::leash::{self, Leash};
use crate::process::Process;
use crate::{Error, Part, Ports, Result};

const PROPERTIES: &str = include_str!("../../../deploy/local/server.properties");
const LOG4J: &str = include_str!("../../../deploy/local/log4j2.yaml");

/// As Kafka's own scripts have it, with a heap for a laptop. Serial would be the JVM's choice for two cores, and its
/// pauses are seen in the tail of the verdicts' age. The second compiler would take a sixth of two cores in the first
/// minutes, which are all that a local stack mostly lives; without it the whole path carries a third more.
const JVM: [&str; 6] = [
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:TieredStopAtLevel=1",
];

/// Stopped after the services, by SIGTERM.
const LEASH: Leash = Leash { phase: 2, ..Leash::FIRST };

#[derive(Clone, Debug)]
pub(crate) struct Kafka {
    java: PathBuf,
    jars: PathBuf,
    folder: PathBuf,
    broker: SocketAddr,
}

impl Kafka {
    /// Writes the configuration, and formats the data folder when there is none yet.
    pub(crate) async fn prepare(folder: &Folder, run: &Path, java: PathBuf, jars: &Path, ports: Ports) -> Result<Self> {
        let home = folder.part(Part::Kafka.name())?;
        let data = home.join("data");
        let properties = PROPERTIES
            .replace("{broker_port}", &ports.kafka().port().to_string())
            .replace("{controller_port}", &ports.controller().port().to_string())
            .replace("{data}", &data.to_string_lossy());
        for (name, text) in [("server.properties", properties.as_str()), ("log4j2.yaml", LOG4J)] {
            fs::write(home.join(name), text).map_err(Error::io("write", &home.join(name)))?;
        }
        let kafka = Self { java, jars: jars.to_owned(), folder: home, broker: ports.kafka() };
        // Written last by the formatter: a folder without it was never finished.
        if !data.join("meta.properties").is_file() {
            kafka.format(folder, run, &data).await?;
        }
        Ok(kafka)
    }

    async fn format(&self, folder: &Folder, run: &Path, data: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(data);
        let name = "kafka-format";
        let log = folder.rotate_log(name)?;
        let id = cluster_id()?;
        let tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", &id, "-c", "server.properties"];
        let mut command = self.java(run, name, &["-Xmx128m", "-XX:TieredStopAtLevel=1"], &tool);
        leash::log_to(&mut command, &log).map_err(Error::io("open log of", Path::new(name)))?;
        let status = Process::spawn(command, run, name)?.ended().await;
        if status.success() {
            return Ok(());
        }
        let (log, tail) = (folder.log(name), folder.tail(name));
        Err(Error::Ended { name: name.to_owned(), status: status.to_string(), log, tail })
    }

    pub(crate) fn command(&self, run: &Path) -> Command {
        self.java(run, Part::Kafka.name(), &JVM, &["kafka.Kafka", "server.properties"])
    }

    fn java(&self, run: &Path, name: &str, jvm: &[&str], main: &[&str]) -> Command {
        let jars = format!("{}/*", self.jars.display());
        let log4j = format!("-Dlog4j2.configurationFile={}", self.folder.join("log4j2.yaml").display());
        let args: Vec<&str> = jvm.iter().copied().chain(["-cp", &jars, &log4j]).chain(main.iter().copied()).collect();
        let mut command = leash::command(run, name, LEASH, self.java.as_os_str(), &args);
        command.current_dir(&self.folder);
        command
    }

    /// True when the broker answers a client's first question, and not only the kernel for it.
    pub(crate) async fn is_ready(&self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(2);
        matches!(tokio::time::timeout(PATIENCE, brokers(self.broker)).await, Ok(Ok(count)) if count > 0)
    }
}

/// Asks for metadata of no topic, version 1, and reads how many brokers there are.
/// <https://kafka.apache.org/protocol#The_Messages_Metadata>
async fn brokers(address: SocketAddr) -> std::io::Result<i32> {
    const REQUEST: [u8; 18] = [
        0, 0, 0, 14, // length of what follows
        0, 3, // Metadata
        0, 1, // version
        0, 0, 0, 1, // correlation id
        0xff, 0xff, // no client id
        0, 0, 0, 0, // no topics
    ];
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&REQUEST).await?;
    let _length = stream.read_i32().await?;
    let _correlation_id = stream.read_i32().await?;
    stream.read_i32().await
}

/// A random id as Kafka writes them: 16 bytes in URL-safe base64, 22 characters. The kernel makes the UUID.
fn cluster_id() -> Result<String> {
    const SOURCE: &str = "/proc/sys/kernel/random/uuid";
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let uuid = fs::read_to_string(SOURCE).map_err(Error::io("read", Path::new(SOURCE)))?;
    let bits: u128 = uuid.chars().filter_map(|c| c.to_digit(16)).fold(0, |bits, digit| bits << 4 | u128::from(digit));
    // A first letter below 32 is none of `-` and `_`: the tool would take an id that begins with a dash for a flag.
    let bits = bits & (u128::MAX >> 1);
    let head = (0..21).map(|i| bits >> (122 - 6 * i) & 63);
    let id = head.chain([(bits & 3) << 4]).map(|six| char::from(ALPHABET[six as usize])).collect();
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids_have_the_length_that_kafka_wants_and_differ() {
        let (one, other) = (cluster_id().unwrap(), cluster_id().unwrap());
        assert_eq!((one.len(), other.len()), (22, 22));
        assert_ne!(one, other);
        assert!(one.starts_with(|c: char| c.is_ascii_alphabetic()));
    }
}
