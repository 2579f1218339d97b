//! `millrace pipeline`.

mod apply;
mod check;

use std::path::PathBuf;

use clap::Subcommand;
use millrace_core::{Pipeline, document};

use crate::Output;

pub use apply::{Apply, Target};

/// What to do with pipeline documents.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check documents: what a service would refuse at its start is said here, all at once, with path and line.
    Check {
        /// Documents, or folders of them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Make the topics, subjects and tables that a document needs. Says what will change, then changes it; what is
    /// there already is left alone.
    Apply(Box<Apply>),
    /// Print the JSON Schema of the document, for editors.
    Schema,
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Check { files } => check::run(&files, output),
            Self::Apply(apply) => apply.run(output).await,
            Self::Schema => output.line(&format!("{:#}", document::json_schema::<Pipeline>())),
        }
    }
}
