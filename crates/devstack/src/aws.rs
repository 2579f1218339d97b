//! What stands in for S3, SNS and SQS: moto's server. It keeps everything in memory, so that a start finds nothing of the
//! one before.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::folder::Folder;
use crate::leash::{self, Leash};
use crate::{Error, Part, Ports, Result, http};

const PROGRAM: &str = include_str!("../../../deploy/local/aws.py");

/// The bucket of the lake. It and the next are made at each start, before anybody can ask for them.
pub(crate) const LAKE_BUCKET: &str = "millrace-lake";
/// The bucket of the registry's models.
pub(crate) const MODEL_BUCKET: &str = "millrace-models";

/// Stopped after the services, by SIGTERM.
const LEASH: Leash = Leash { phase: 2, ..Leash::FIRST };

#[derive(Clone, Debug)]
pub(crate) struct Aws {
    python: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
}

impl Aws {
    /// `programs` is the Python environment that has it.
    pub(crate) fn new(folder: &Folder, programs: &Path, ports: Ports) -> Result<Self> {
        let home = folder.part(Part::Aws.name())?;
        let program = home.join("aws.py");
        fs::write(&program, PROGRAM).map_err(Error::io("write", &program))?;
        Ok(Self { python: programs.join("bin/python"), folder: home, address: ports.aws() })
    }

    pub(crate) fn command(&self, run: &Path) -> Command {
        let program = self.folder.join("aws.py");
        let port = self.address.port().to_string();
        let args = [program.as_os_str(), port.as_ref(), LAKE_BUCKET.as_ref(), MODEL_BUCKET.as_ref()];
        let mut command = leash::command(run, Part::Aws.name(), LEASH, self.python.as_os_str(), &args);
        command.current_dir(&self.folder);
        command
    }

    /// True when it answers.
    pub(crate) async fn is_ready(&self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(2);
        matches!(http::get(self.address, "/moto-api/", PATIENCE).await, Ok((200, _)))
    }
}
