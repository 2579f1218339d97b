//! The parts of the stack, by name.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::Error;

/// One process of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Apache Kafka, broker and controller in one.
    Kafka,
    /// PostgreSQL.
    Postgres,
    /// What stands in for S3, SNS and SQS.
    Aws,
    /// `millrace-registry`.
    Registry,
    /// `millrace-gateway`.
    Gateway,
    /// `millrace-scorer stream`.
    Scorer,
    /// `millrace-importer stream`.
    Importer,
    /// `millrace-importer objects`.
    ImporterObjects,
    /// `millrace-archiver`.
    Archiver,
    /// `millrace-alerter`.
    Alerter,
    /// `millrace-scheduler`.
    Scheduler,
}

impl Part {
    /// What the services stand on.
    pub const STORES: [Self; 3] = [Self::Kafka, Self::Postgres, Self::Aws];

    /// The services, in the order in which they start.
    pub const SERVICES: [Self; 8] = [
        Self::Registry,
        Self::Gateway,
        Self::Scorer,
        Self::Importer,
        Self::ImporterObjects,
        Self::Archiver,
        Self::Alerter,
        Self::Scheduler,
    ];

    /// All of them, in the order in which they start.
    pub const ALL: [Self; 11] = [
        Self::Kafka,
        Self::Postgres,
        Self::Aws,
        Self::Registry,
        Self::Gateway,
        Self::Scorer,
        Self::Importer,
        Self::ImporterObjects,
        Self::Archiver,
        Self::Alerter,
        Self::Scheduler,
    ];

    /// The name in commands, folders and log files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::Aws => "aws",
            Self::Registry => "registry",
            Self::Gateway => "gateway",
            Self::Scorer => "scorer",
            Self::Importer => "importer",
            Self::ImporterObjects => "importer-objects",
            Self::Archiver => "archiver",
            Self::Alerter => "alerter",
            Self::Scheduler => "scheduler",
        }
    }

    /// Whether it is one of ours, over the stores.
    pub fn is_service(self) -> bool {
        !Self::STORES.contains(&self)
    }

    /// What asks it to end. Postgres on SIGTERM would wait for its clients to leave; SIGINT sends them away.
    pub(crate) fn stop_signal(self) -> Signal {
        match self {
            Self::Postgres => Signal::SIGINT,
            _ => Signal::SIGTERM,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| Error::UnknownPart(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for part in Part::ALL {
            assert_eq!(part.name().parse::<Part>().unwrap(), part);
        }
        assert!("zookeeper".parse::<Part>().unwrap_err().to_string().contains("kafka, postgres"));
    }

    #[test]
    fn stores_come_first() {
        assert_eq!(Part::ALL.iter().filter(|part| part.is_service()).count(), Part::SERVICES.len());
        assert_eq!(Part::ALL[..3], Part::STORES);
    }
}
