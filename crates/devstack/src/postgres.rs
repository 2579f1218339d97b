//! Postgres: its cluster, its command line, and when it serves.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User};
use tokio::process::Command;

use crate::folder::{self, Folder};
use crate::leash::{self, Leash};
use crate::process::Process;
use crate::{Error, Part, Ports, Result};

/// Stopped after the services, by SIGINT: clients are sent away and a checkpoint is written.
const LEASH: Leash = Leash { phase: 2, signal: Signal::SIGINT };

/// Durable as in production (`fsync` and `synchronous_commit` stay on), small in memory, no socket in the file system.
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=300",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_checkpoints=off",
];

/// How long the backends of a killed postmaster may take to see that it is gone.
const ORPHANS: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    bin: PathBuf,
    data: PathBuf,
    port: u16,
    user: Option<Unprivileged>,
}

impl Postgres {
    /// Makes the cluster when there is none yet.
    pub(crate) async fn prepare(
        folder: &Folder,
        run: &Path,
        programs: &Path,
        ports: Ports,
        password: &str,
    ) -> Result<Self> {
        let user = Unprivileged::needed();
        let home = home(folder, user.as_ref())?;
        let data = home.join("data");
        let postgres = Self { bin: programs.join("bin"), data, port: ports.postgres().port(), user };
        if !postgres.data.is_dir() {
            postgres.initdb(folder, run, &home, password).await?;
        }
        Ok(postgres)
    }

    /// Into another folder, renamed when it is whole: a start that is killed here leaves nothing half made.
    async fn initdb(&self, folder: &Folder, run: &Path, home: &Path, password: &str) -> Result<()> {
        const NAME: &str = "postgres-initdb";
        let filling = home.join("filling");
        let _ = fs::remove_dir_all(&filling);
        let secret = home.join("password");
        folder::write_private(&secret, password)?;
        if let Some(user) = &self.user {
            user.own(&secret)?;
        }
        let mut args: Vec<OsString> = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8"].map(Into::into).into();
        args.extend(["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"].map(Into::into));
        args.extend(["--no-instructions".into(), "-D".into(), filling.clone().into(), "--pwfile".into()]);
        args.push(secret.clone().into());
        let log = folder.rotate_log(NAME)?;
        let mut command = self.as_user(run, NAME, "initdb", args);
        leash::log_to(&mut command, &log).map_err(Error::io("open log of", Path::new(NAME)))?;
        let status = Process::spawn(command, run, NAME)?.ended().await;
        let _ = fs::remove_file(&secret);
        if !status.success() {
            let (log, tail) = (folder.log(NAME), folder.tail(NAME));
            return Err(Error::Ended { name: NAME.to_owned(), status: status.to_string(), log, tail });
        }
        fs::rename(&filling, &self.data).map_err(Error::io("rename", &filling))
    }

    pub(crate) fn command(&self, run: &Path) -> Command {
        let mut args: Vec<OsString> = vec!["-D".into(), self.data.clone().into(), "-p".into()];
        args.push(self.port.to_string().into());
        args.extend(SETTINGS.iter().flat_map(|setting| ["-c".into(), setting.into()]));
        self.as_user(run, Part::Postgres.name(), "postgres", args)
    }

    /// Postgres refuses to be root.
    fn as_user(&self, run: &Path, name: &str, program: &str, args: Vec<OsString>) -> Command {
        let program: OsString = self.bin.join(program).into();
        let mut command = match &self.user {
            None => leash::command(run, name, LEASH, &program, &args),
            Some(user) => {
                let mut all = user.setpriv();
                all.push(program);
                all.extend(args);
                leash::command(run, name, LEASH, "setpriv".as_ref(), &all)
            }
        };
        command.current_dir(self.data.parent().unwrap_or(Path::new("/")));
        command
    }

    /// What `pg_ctl` waits for: the eighth line of `postmaster.pid`, written by the postmaster that we started.
    pub(crate) fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
    }

    /// After a crash: the backends that still hold the shared memory end, and then the stale `postmaster.pid` goes.
    ///
    /// The file names a pid, which after a reboot can be anybody's; Postgres would refuse to start for that. It is removed
    /// only when no process works in the data folder: two postmasters on one cluster would destroy it.
    pub(crate) async fn recover(&self) -> Result<()> {
        let file = self.data.join("postmaster.pid");
        if !file.exists() {
            return Ok(());
        }
        let begin = std::time::Instant::now();
        loop {
            let orphans = working_in(&self.data);
            if orphans.is_empty() {
                break;
            }
            if begin.elapsed() > ORPHANS {
                for pid in orphans {
                    // Gone already is as good.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &file)(error)),
            _ => Ok(()),
        }
    }
}

/// Processes of Postgres that work in this folder, as all of a cluster's do.
fn working_in(folder: &Path) -> Vec<i32> {
    let is_postgres = |pid: &i32| {
        // The name stays when the file is gone: "/somewhere/postgres (deleted)".
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.to_string_lossy().contains("/postgres"))
    };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder))
        .filter(is_postgres)
        .collect()
}

/// `.millrace/postgres`, or a place that the unprivileged user reaches, linked from there.
fn home(folder: &Folder, user: Option<&Unprivileged>) -> Result<PathBuf> {
    const OWNER_ONLY: u32 = 0o700;
    let name = Part::Postgres.name();
    let Some(user) = user else { return folder.part(name) };
    let link = folder.path().join(name);
    let home = if Unprivileged::reaches(folder.path()) {
        folder.part(name)?
    } else {
        let home =
            Path::new("/var/lib/millrace").join(folder.path().to_string_lossy().trim_matches('/').replace('/', "-"));
        // Left by a stack whose folder was removed, and with it the password of this data.
        if !link.is_symlink() && home.is_dir() {
            fs::remove_dir_all(&home).map_err(Error::io("remove", &home))?;
        }
        fs::create_dir_all(&home).map_err(Error::io("create folder", &home))?;
        if !link.is_symlink() {
            std::os::unix::fs::symlink(&home, &link).map_err(Error::io("link", &link))?;
        }
        home
    };
    user.own(&home)?;
    fs::set_permissions(&home, Permissions::from_mode(OWNER_ONLY)).map_err(Error::io("set mode of", &home))?;
    Ok(home)
}

/// Who Postgres runs as when we are root.
#[derive(Clone, Debug)]
pub(crate) struct Unprivileged {
    uid: Uid,
    gid: Gid,
}

impl Unprivileged {
    /// `None` for everybody but root.
    pub(crate) fn needed() -> Option<Self> {
        const NOBODY: u32 = 65_534;
        if !Uid::effective().is_root() {
            return None;
        }
        let known = User::from_name("nobody").ok().flatten();
        let (uid, gid) = known.map_or((Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)), |user| (user.uid, user.gid));
        Some(Self { uid, gid })
    }

    /// Whether every folder on the way lets this user pass. What does not exist yet is made open.
    pub(crate) fn reaches(path: &Path) -> bool {
        const OTHERS_PASS: u32 = 0o001;
        path.ancestors().filter_map(|folder| fs::metadata(folder).ok()).all(|folder| folder.mode() & OTHERS_PASS != 0)
    }

    fn own(&self, path: &Path) -> Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(Error::io("chown", path))
    }

    fn setpriv(&self) -> Vec<OsString> {
        let (uid, gid) = (format!("--reuid={}", self.uid), format!("--regid={}", self.gid));
        vec![uid.into(), gid.into(), "--clear-groups".into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_behind_a_closed_one_is_not_reached() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!Unprivileged::reaches(&dir.path().join("inside/of/it")));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            Unprivileged::reaches(&dir.path().join("inside/of/it")),
            Unprivileged::reaches(&std::env::temp_dir())
        );
    }
}
