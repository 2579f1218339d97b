use std::{fmt::Write, process::ExitCode, time::Duration};

use millrace_core::Faults;

use crate::ConfigError;

/// The exit code of bad usage and bad configuration (EX_USAGE of sysexits.h).
pub const CONFIGURATION: u8 = 64;

/// How long blocking work that nobody waits for may hold up the end.
const LINGER: Duration = Duration::from_millis(500);

/// Parses the command line, runs it on a runtime of its own, and says how it went: 0; 64 for bad usage, [`ConfigError`] and
/// [`Faults`]; 1 for the rest.
pub fn main<A: clap::Parser>(run: impl AsyncFnOnce(A) -> anyhow::Result<()>) -> ExitCode {
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(usage) => {
            let _ = usage.print(); // a closed stderr is no reason to fail otherwise
            return if usage.use_stderr() { ExitCode::from(CONFIGURATION) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("start the runtime")),
    };
    let result = runtime.block_on(run(args));
    runtime.shutdown_timeout(LINGER);
    result.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprint!("{}", block(error));
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    let configuration = error.chain().any(|cause| cause.is::<Faults>() || cause.is::<ConfigError>());
    if configuration { CONFIGURATION } else { 1 }
}

/// The error and its causes, one a line; what has several lines is indented whole.
fn block(error: &anyhow::Error) -> String {
    let mut out = String::new();
    let mut said: Option<String> = None;
    for cause in error.chain() {
        let text = cause.to_string();
        // Some libraries repeat their source in their own text.
        if said.as_ref().is_some_and(|said| said.ends_with(&text)) {
            continue;
        }
        let label = if said.is_none() { "error: " } else { "  because: " };
        let indented = text.replace('\n', "\n  ");
        let _ = writeln!(out, "{label}{indented}"); // writing to a String cannot fail
        said = Some(text);
    }
    out
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn bad_configuration_is_64_however_deep_it_lies() {
        let error = Err::<(), _>(ConfigError::new("--tls-cert: no such file")).context("start").context("run");
        assert_eq!(code(&error.unwrap_err()), CONFIGURATION);
        let error = Err::<(), _>(Faults::default()).context("read pipeline document");
        assert_eq!(code(&error.unwrap_err()), CONFIGURATION);
        assert_eq!(code(&anyhow::anyhow!("database is away")), 1);
    }

    #[test]
    fn the_chain_is_one_block_without_repetition() {
        let error = anyhow::anyhow!("no such file").context("read b: no such file").context("start");
        assert_eq!(block(&error), "error: start\n  because: read b: no such file\n");
        let error = anyhow::Error::new(ConfigError::new("one\ntwo"));
        assert_eq!(block(&error), "error: one\n  two\n");
    }
}
