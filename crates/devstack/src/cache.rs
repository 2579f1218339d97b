//! Kafka, Postgres and the stand-in for AWS of the pinned versions, fetched once per user by Maven and pip.
//!
//! ```text
//! <cache>/<hash of the pom>/kafka/*.jar
//!                          /postgres/{bin,lib,share}
//!        /<hash of the requirements>/{bin,lib}
//! ```
//! A folder under its final name is whole: it is filled under another name and renamed. Checkouts share it, and of several that
//! start at once one fetches and the others wait for its lock.

mod aws;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::event::{Event, Reporter};
use crate::folder::Folder;
use crate::leash::{self, Leash};
use crate::postgres::Unprivileged;
use crate::process::Process;
use crate::{Error, Result, prerequisites};

const POM: &str = include_str!("../../../deploy/local/pom.xml");

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// Jars of Kafka.
    pub(crate) kafka: PathBuf,
    /// `bin`, `lib` and `share` of Postgres.
    pub(crate) postgres: PathBuf,
    /// The Python environment of what stands in for AWS.
    pub(crate) aws: PathBuf,
}

/// Finds the programs, or fetches them.
pub(crate) async fn programs(folder: &Folder, run: &Path, reporter: &Reporter) -> Result<Programs> {
    let cache = location(folder);
    let jars = cache.join(version());
    let aws = cache.join(aws::version().await?);
    let programs = Programs { kafka: jars.join("kafka"), postgres: jars.join("postgres"), aws };
    if jars.is_dir() && programs.aws.is_dir() {
        return Ok(programs);
    }
    fs::create_dir_all(&cache).map_err(Error::io("create folder", &cache))?;
    let _lock = lock(&cache).await?;
    let filling = |name: &str| cache.join(format!("filling-{name}"));
    let (for_jars, for_aws) = (filling("jars"), filling("aws"));
    tokio::try_join!(
        once("Kafka and Postgres", &jars, &for_jars, reporter, fetch(folder, run, &for_jars)),
        once("the stand-in for AWS", &programs.aws, &for_aws, reporter, aws::fetch(folder, run, &for_aws)),
    )?;
    Ok(programs)
}

/// Has a folder filled that is not there, and gives it its name. The lock is the caller's.
async fn once(
    what: &'static str,
    home: &Path,
    filling: &Path,
    reporter: &Reporter,
    fetch: impl Future<Output = Result<()>>,
) -> Result<()> {
    if home.is_dir() {
        return Ok(()); // Somebody else has fetched it meanwhile.
    }
    reporter.report(Event::Fetching(what));
    let begin = Instant::now();
    // Left over by one who was killed while he fetched: the lock is ours, so nobody fills it.
    let _ = fs::remove_dir_all(filling);
    fetch.await?;
    fs::rename(filling, home).map_err(Error::io("rename", filling))?;
    reporter.report(Event::Fetched(what, begin.elapsed()));
    Ok(())
}

/// One step after the other, each a child on the leash.
async fn fetch(folder: &Folder, run: &Path, filling: &Path) -> Result<()> {
    prerequisites::program("mvn", "Maven", "maven")?;
    prerequisites::program("python3", "Python 3", "python3")?;
    prerequisites::program("xz", "xz", "xz-utils")?;
    let jars = filling.join("kafka");
    let postgres = filling.join("postgres");
    fs::create_dir_all(&postgres).map_err(Error::io("create folder", &postgres))?;
    fs::create_dir_all(&jars).map_err(Error::io("create folder", &jars))?;
    let pom = filling.join("pom.xml");
    fs::write(&pom, POM).map_err(Error::io("write", &pom))?;

    let output = format!("-DoutputDirectory={}", jars.display());
    let platform = format!("-Dpostgres.platform={}", platform()?);
    let pom = pom.to_string_lossy().into_owned();
    step(folder, run, "mvn", &["-q", "-B", "-f", &pom, "dependency:copy-dependencies", &output, &platform])
        .await
        .map_err(|error| failed(error.to_string()))?;

    let jar = find(&jars, "embedded-postgres-binaries", ".jar")?;
    let (jar, postgres_text) = (jar.to_string_lossy().into_owned(), postgres.to_string_lossy().into_owned());
    // A jar is a zip, and `jar` is of the JDK only: Python is there for the stack anyway.
    step(folder, run, "python3", &["-m", "zipfile", "-e", &jar, &postgres_text]).await?;
    let archive = find(&postgres, "postgres", ".txz")?;
    let archive_text = archive.to_string_lossy().into_owned();
    step(folder, run, "tar", &["-x", "-J", "--no-same-owner", "-f", &archive_text, "-C", &postgres_text]).await?;
    for rest in [archive, PathBuf::from(jar)] {
        fs::remove_file(&rest).map_err(Error::io("remove", &rest))?;
    }
    Ok(())
}

async fn step(folder: &Folder, run: &Path, program: &str, args: &[&str]) -> Result<()> {
    step_as(folder, run, &format!("fetch-{program}"), program, args).await
}

async fn step_as(folder: &Folder, run: &Path, name: &str, program: &str, args: &[&str]) -> Result<()> {
    let log = folder.rotate_log(name)?;
    let mut command = leash::command(run, name, Leash::FIRST, program.as_ref(), args);
    leash::log_to(&mut command, &log).map_err(Error::io("open log of", Path::new(name)))?;
    let status = Process::spawn(command, run, name)?.ended().await;
    if status.success() {
        return Ok(());
    }
    let (log, tail) = (folder.log(name), folder.tail(name));
    Err(Error::Ended { name: name.to_owned(), status: status.to_string(), log, tail })
}

fn failed(why: String) -> Error {
    Error::Fetch { what: "Kafka and Postgres with Maven", why }
}

fn find(folder: &Path, prefix: &str, suffix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(Error::io("read folder", folder))?;
    let fits = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with(prefix) && n.ends_with(suffix))
    };
    let found = entries.flatten().map(|entry| entry.path()).find(fits);
    found.ok_or_else(|| failed(format!("no {prefix}*{suffix} in {}", folder.display())))
}

/// One lock for all who fetch into this cache.
async fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).map_err(Error::io("open", &path))?;
    let failed = Error::io("lock", &path);
    // The wait is for another one's download, and blocks.
    match tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await {
        Ok(locked) => locked.map_err(failed),
        Err(stopped) => Err(failed(stopped.into())),
    }
}

/// `$XDG_CACHE_HOME/millrace`, else `~/.cache/millrace`, else inside the stack's folder.
///
/// For root it must be a place that the user of Postgres can read: a home of mode 0700 is not.
fn location(folder: &Folder) -> PathBuf {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let cache = user.map_or_else(|| folder.path().join("cache"), |user| user.join("millrace"));
    match Unprivileged::needed() {
        Some(_) if !Unprivileged::reaches(&cache) => PathBuf::from("/var/cache/millrace"),
        _ => cache,
    }
}

/// The pinned versions for people, and a hash of the whole pom so that any change of it is another folder.
fn version() -> String {
    let pinned = |name: &str| {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        POM.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map_or("", |(version, _)| version)
    };
    format!("kafka-{}-postgres-{}-{:08x}", pinned("kafka.version"), pinned("postgres.version"), fnv1a(POM.as_bytes()))
}

/// FNV-1a of 32 bits: a name, and nothing that anybody trusts.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn platform() -> Result<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-amd64"),
        ("linux", "aarch64") => Ok("linux-arm64v8"),
        (_, arch) => Err(Error::Platform(arch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_named_by_the_pinned_versions() {
        let version = version();
        assert!(version.starts_with("kafka-4."), "{version}");
        assert!(version.contains("-postgres-18."), "{version}");
    }

    #[test]
    fn fnv1a_is_that_of_its_authors() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}
