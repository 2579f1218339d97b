//! What stands in for S3, SNS and SQS: moto's server. It keeps everything in memory, so that a start finds nothing of the
//! one before.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::folder::Folder;
use crate::leash::{self, Leash};
use crate::{Error, Part, Ports, Result, http};

const PROGRAM: &str = include_str!("../../../deploy/local/aws.py");

/// The bucket of files of events and of scores; it tells of the latter. It is made at each start, before anybody can ask for it, and so
/// are the others.
pub(crate) const BATCH_BUCKET: &str = "millrace-batch";
/// The bucket of the lake.
pub(crate) const LAKE_BUCKET: &str = "millrace-lake";
/// The bucket of models.
pub(crate) const MODELS_BUCKET: &str = "millrace-models";
/// The topic of files of scores, and the queue that is told; that of dead messages is beside it.
const SCORES: &str = "millrace-scores";
/// The account that the stand-in has.
const ACCOUNT: &str = "123456789012";

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
        let names = [SCORES, BATCH_BUCKET, LAKE_BUCKET, MODELS_BUCKET].map(OsStr::new);
        let args = [&[program.as_os_str(), port.as_ref()], &names[..]].concat();
        let mut command = leash::command(run, Part::Aws.name(), LEASH, self.python.as_os_str(), &args);
        command.current_dir(&self.folder);
        command
    }

    /// The URLs of the queue of files of scores, and of that of its dead messages.
    pub(crate) fn queues(ports: Ports) -> [String; 2] {
        let url = format!("http://{}/{ACCOUNT}/{SCORES}", ports.aws());
        [url.clone(), format!("{url}-dead")]
    }

    /// True when it answers.
    pub(crate) async fn is_ready(&self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(2);
        matches!(http::get(self.address, "/moto-api/", PATIENCE).await, Ok((200, _)))
    }
}
