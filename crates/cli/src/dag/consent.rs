//! A question before a deed.

use std::io::{IsTerminal, Write, stdin};

use anyhow::{Context, bail};
use millrace_runtime::ConfigError;

/// Before something is done that is not undone by a word.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Consent {
    /// Go ahead without asking.
    #[arg(long, short)]
    yes: bool,
}

impl Consent {
    /// Asks on a terminal. Elsewhere nobody can answer, and so `--yes` has to have been said.
    pub(super) fn ask(self, question: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !stdin().is_terminal() {
            let fault = "standard input is no terminal, so nobody can be asked; `--yes` goes ahead without asking";
            return Err(ConfigError::new(fault).into());
        }
        eprint!("{question} [y/N] ");
        std::io::stderr().flush().context("ask")?;
        let mut answer = String::new();
        stdin().read_line(&mut answer).context("read the answer")?;
        if !is_yes(&answer) {
            bail!("not confirmed; nothing was changed");
        }
        Ok(())
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for answer in ["y\n", "Y\n", "yes\n", " YES \r\n"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "\n", "n\n", "yep\n", "no\n"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
