//! Programs of the machine that the stack needs, each with the package that brings it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::{Error, Result};

/// Kafka 4 wants it for a broker.
const JAVA: u32 = 17;

/// The `java` to run, of `JAVA_HOME` or of the path, checked for its version.
pub(crate) async fn java() -> Result<PathBuf> {
    let missing = |what: String| Error::Missing { what, package: "openjdk-17-jre-headless" };
    let java = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java")).filter(|java| java.is_file());
    let java = java.unwrap_or_else(|| "java".into());
    let output = Command::new(&java).arg("-version").stdin(Stdio::null()).output().await;
    let output = output.map_err(|_| missing(format!("Java {JAVA}")))?;
    match major(&String::from_utf8_lossy(&output.stderr)) {
        Some(version) if version >= JAVA => Ok(java),
        Some(version) => Err(missing(format!("Java {JAVA} (this is Java {version})"))),
        None => Err(missing(format!("Java {JAVA}"))),
    }
}

/// Refuses when a program is not on the path.
pub(crate) fn program(name: &str, what: &str, package: &'static str) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
        return Ok(());
    }
    Err(Error::Missing { what: what.to_owned(), package })
}

/// `openjdk version "17.0.15" 2025-04-15` is 17, `java version "1.8.0_392"` is 8.
fn major(version: &str) -> Option<u32> {
    let quoted = version.split('"').nth(1)?;
    let mut numbers = quoted.split(['.', '_', '-', '+']).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_any_java() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(major("java version \"1.8.0_392\""), Some(8));
        assert_eq!(major("openjdk version \"25-ea\" 2025-09-16"), Some(25));
        assert_eq!(major("sh: java: not found"), None);
    }

    #[test]
    fn a_missing_program_is_one_line_with_its_package() {
        let error = program("no-such-program-here", "Maven", "maven").unwrap_err().to_string();
        assert_eq!(error, "Maven is missing: install it (Debian, Ubuntu: apt-get install maven)");
        assert!(program("sh", "a shell", "dash").is_ok());
    }
}
