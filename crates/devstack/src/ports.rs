//! All ports of a stack, from one base.
//!
//! | offset | what | offset | what |
//! |---|---|---|---|
//! | +32 | Postgres | +10 | gateway, admin |
//! | +50 | gateway, gRPC | +11 | registry, admin |
//! | +80 | gateway, HTTP | +12 | scorer, admin |
//! | +81 | registry, HTTP | +13 | importer, admin |
//! | +82 | registry, gRPC | +14 | alerter, admin |
//! | +84 | scheduler, gRPC | +15 | scheduler, admin |
//! | +92 | Kafka, broker | +16 | archiver, admin |
//! | +93 | Kafka, controller | +71 | S3, SNS and SQS |
//! | +70 | the demo's webhooks | +17 | importer of files, admin |
//!
//! Two stacks side by side have bases that are [`SPAN`] or more apart.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use nix::unistd::Uid;

use crate::error::PortInUse;
use crate::{Error, Part, Result};

/// The base when none is given: below the range from which Linux takes its ephemeral ports.
pub const DEFAULT_BASE: u16 = 29_000;

/// How many ports a stack may use from its base on.
pub const SPAN: u16 = 100;

/// The highest base: all ports of the stack are real ports.
pub const MAX_BASE: u16 = u16::MAX - SPAN;

/// The ports of one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports(u16);

impl Ports {
    /// From a base, at most [`MAX_BASE`].
    pub fn from_base(base: u16) -> Self {
        Self(base.min(MAX_BASE))
    }

    /// The base.
    pub fn base(self) -> u16 {
        self.0
    }

    /// Where Kafka's clients connect.
    pub fn kafka(self) -> SocketAddr {
        self.at(92)
    }

    /// Where Kafka's controller listens for its broker.
    pub fn controller(self) -> SocketAddr {
        self.at(93)
    }

    /// Where Postgres listens.
    pub fn postgres(self) -> SocketAddr {
        self.at(32)
    }

    /// Where the stand-in for S3, SNS and SQS listens for HTTP.
    pub fn aws(self) -> SocketAddr {
        self.at(71)
    }

    /// Where a service listens for gRPC; `None` for one that does not.
    pub fn grpc(self, part: Part) -> Option<SocketAddr> {
        match part {
            Part::Gateway => Some(self.at(50)),
            Part::Registry => Some(self.at(82)),
            Part::Scheduler => Some(self.at(84)),
            _ => None,
        }
    }

    /// Where a service listens for HTTP; `None` for one that does not.
    pub fn http(self, part: Part) -> Option<SocketAddr> {
        match part {
            Part::Gateway => Some(self.at(80)),
            Part::Registry => Some(self.at(81)),
            _ => None,
        }
    }

    /// Where a service answers `/readyz` and `/metrics`; `None` for the stores.
    pub fn admin(self, part: Part) -> Option<SocketAddr> {
        let offset = match part {
            Part::Gateway => 10,
            Part::Registry => 11,
            Part::Scorer => 12,
            Part::Importer => 13,
            Part::Alerter => 14,
            Part::Scheduler => 15,
            Part::Archiver => 16,
            Part::ImporterObjects => 17,
            Part::Kafka | Part::Postgres | Part::Aws => return None,
        };
        Some(self.at(offset))
    }

    /// Every port that `part` listens on.
    pub fn of(self, part: Part) -> Vec<SocketAddr> {
        match part {
            Part::Kafka => vec![self.kafka(), self.controller()],
            Part::Postgres => vec![self.postgres()],
            Part::Aws => vec![self.aws()],
            _ => [self.grpc(part), self.http(part), self.admin(part)].into_iter().flatten().collect(),
        }
    }

    /// Refuses with all ports of `parts` that somebody listens on.
    pub fn check_free(self, parts: &[Part]) -> Result<()> {
        let wanted = parts.iter().flat_map(|&part| self.of(part).into_iter().map(move |address| (part, address)));
        let taken: Vec<PortInUse> = wanted
            .filter(|(_, address)| !is_free(*address))
            .map(|(part, address)| PortInUse {
                port: address.port(),
                wanted_by: part.name(),
                holder: holder(address.port()),
            })
            .collect();
        if taken.is_empty() { Ok(()) } else { Err(Error::PortsInUse(taken)) }
    }

    fn at(self, offset: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0 + offset).into()
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self(DEFAULT_BASE)
    }
}

/// A base whose ports are all free, for a stack that nobody has to find: tests.
///
/// It belongs to this process until it ends: no other caller, here or in another process of this user, gets it meanwhile.
pub fn free_base() -> Result<Ports> {
    const FIRST: u16 = 20_000;
    const BLOCKS: u16 = 80;
    static OURS: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = env::temp_dir().join(format!("millrace-ports-{}", Uid::effective()));
    fs::create_dir_all(&folder).map_err(Error::io("create folder", &folder))?;
    let mut taken = Vec::new();
    for block in 0..BLOCKS {
        let ports = Ports::from_base(FIRST + block * SPAN);
        let path = folder.join(ports.base().to_string());
        let file = File::create(&path).map_err(Error::io("open", &path))?;
        if file.try_lock().is_err() {
            continue; // Another test's.
        }
        match ports.check_free(&Part::ALL) {
            Ok(()) => {
                OURS.lock().unwrap_or_else(PoisonError::into_inner).push(file);
                return Ok(ports);
            }
            Err(Error::PortsInUse(ports)) => taken.extend(ports),
            Err(error) => return Err(error),
        }
    }
    Err(Error::PortsInUse(taken))
}

fn is_free(address: SocketAddr) -> bool {
    // Also the wildcard: Kafka listens on [::ffff:127.0.0.1], others on 0.0.0.0 or [::].
    TcpListener::bind(address).is_ok()
}

/// Who listens on the port, as far as this user may see.
fn holder(port: u16) -> Option<(String, u32)> {
    let inode = listening_inode(port)?;
    let link = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        if fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == link.as_str())) {
            let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((command.trim().to_owned(), pid));
        }
    }
    None
}

/// The inode of the socket that listens on the port, from the kernel's tables: `sl local remote st .. inode`.
fn listening_inode(port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|table| fs::read_to_string(table).ok()).find_map(|table| {
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
            listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_parts_share_a_port_and_all_are_in_the_span() {
        let ports = Ports::from_base(40_000);
        let mut all: Vec<u16> = Part::ALL.iter().flat_map(|&part| ports.of(part)).map(|a| a.port()).collect();
        assert!(all.iter().all(|port| (40_000..40_000 + SPAN).contains(port)));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_base_beyond_the_last_is_the_last() {
        assert_eq!(Ports::from_base(u16::MAX).controller().port(), u16::MAX - SPAN + 93);
    }

    #[test]
    fn a_port_in_use_is_named_with_its_owner() {
        let ports = free_base().unwrap();
        let _held = TcpListener::bind(ports.kafka()).unwrap();
        let error = ports.check_free(&[Part::Kafka, Part::Postgres]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("port {} (for kafka) is in use by", ports.kafka().port())), "{text}");
        assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
        assert!(!text.contains("postgres"), "{text}");
    }
}
