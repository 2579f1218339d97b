//! What can go wrong with a local stack, in sentences that say what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_core::Code;

use crate::Part;

/// The result of a step of the stack.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the stack, or a part of it, does not stand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of the machine is not there.
    #[error("{what} is missing: install it (Debian, Ubuntu: apt-get install {package})")]
    Missing {
        /// The program, with its version where that matters.
        what: String,
        /// The Debian package.
        package: &'static str,
    },
    /// Ports that somebody else listens on, all of them.
    #[error("{}; choose other ports with --port-base or MILLRACE_PORT_BASE", Lines(.0))]
    PortsInUse(Vec<PortInUse>),
    /// Another starter holds the folder.
    #[error("a stack is running in {dir} already{}; end it with `millrace dev down`", Pid(*pid))]
    AlreadyRunning {
        /// The stack's folder.
        dir: PathBuf,
        /// The starter.
        pid: Option<u32>,
    },
    /// No stack in the folder.
    #[error("no stack is running in {0}; start one with `make up` or `millrace dev up`")]
    NotRunning(PathBuf),
    /// Maven could not fetch Kafka and Postgres, or pip the stand-in for AWS.
    #[error("fetch {what} failed: {why}")]
    Fetch {
        /// What, and by which client.
        what: &'static str,
        /// What the client said.
        why: String,
    },
    /// A service's binary is not beside ours.
    #[error("{0} is not there; build it with `cargo build --release`")]
    NoBinary(PathBuf),
    /// A child ended when it was to stay or to succeed.
    #[error("{name} ended with {status}; the end of {log}:\n{tail}")]
    Ended {
        /// The part or the step.
        name: String,
        /// As the system says it.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A part does not answer.
    #[error("{part} is not ready after {} s; the end of {log}:\n{tail}", after.as_secs())]
    NotReady {
        /// The part.
        part: Part,
        /// How long was waited.
        after: Duration,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// No part of that name.
    #[error(
        "there is no part {0:?}; the parts are kafka, postgres, aws, registry, gateway, scorer, importer, archiver, alerter, scheduler"
    )]
    UnknownPart(String),
    /// The part is not started, and cannot be stopped or killed.
    #[error("{0} is not running")]
    PartNotRunning(Part),
    /// This machine is not one that the pinned binaries are made for.
    #[error("the local stack needs Linux on x86_64 or aarch64, and this is {0}")]
    Platform(&'static str),
    /// The file system, or a process that cannot be started.
    #[error("{what}: {source}")]
    Io {
        /// Verb and object.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What callers see.
    pub fn code(&self) -> Code {
        match self {
            Self::Missing { .. } | Self::Platform(_) | Self::PortsInUse(_) | Self::NoBinary(_) => Code::InvalidConfig,
            Self::AlreadyRunning { .. } => Code::AlreadyExists,
            Self::NotRunning(_) | Self::UnknownPart(_) | Self::PartNotRunning(_) => Code::NotFound,
            Self::Fetch { .. } | Self::Ended { .. } => Code::Unavailable,
            Self::NotReady { .. } => Code::DeadlineExceeded,
            Self::Io { .. } => Code::Internal,
        }
    }

    /// Low cardinality, stable.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::PortsInUse(_) => "ports_in_use",
            Self::AlreadyRunning { .. } => "already_running",
            Self::NotRunning(_) => "not_running",
            Self::Fetch { .. } => "fetch",
            Self::NoBinary(_) => "no_binary",
            Self::Ended { .. } => "ended",
            Self::NotReady { .. } => "not_ready",
            Self::UnknownPart(_) => "unknown_part",
            Self::PartNotRunning(_) => "part_not_running",
            Self::Platform(_) => "platform",
            Self::Io { .. } => "io",
        }
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retriable(&self) -> bool {
        self.code().is_retriable()
    }

    /// An I/O error with the verb and the path that it was about.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let what = format!("{verb} {}", path.display());
        move |source| Self::Io { what, source }
    }
}

/// One port that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInUse {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// What of ours wants it.
    pub wanted_by: &'static str,
    /// Who listens there, where that can be seen: command and pid.
    pub holder: Option<(String, u32)>,
}

impl fmt::Display for PortInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} (for {}) is in use", self.port, self.wanted_by)?;
        match &self.holder {
            Some((command, pid)) => write!(f, " by {command} (pid {pid})"),
            None => Ok(()),
        }
    }
}

struct Lines<'a>(&'a [PortInUse]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, port) in self.0.iter().enumerate() {
            write!(f, "{}{port}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

struct Pid(Option<u32>);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(f, " (pid {pid})"))
    }
}
