//! Which processes belong to an attempt. A pid alone says nothing: another process may have it by now, and in another
//! container the same number is another process.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::Path,
    str::FromStr,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The variable by which a process and what it starts are known, in their environment.
pub(super) const MARK: &str = "MILLRACE_ATTEMPT";

/// Who a shim and its command are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pids {
    /// Also the session of whatever it starts.
    pub(super) shim: i32,
    /// The boot and the pid namespace in which these numbers mean something.
    place: String,
    /// Also its process group. `None` when it was not started, or that was not written down.
    command: Option<i32>,
}

impl Pids {
    /// Of this process, as a shim.
    pub(super) fn own() -> io::Result<Self> {
        Ok(Self { shim: Pid::this().as_raw(), place: place()?, command: None })
    }

    /// Writes them into the lock, for its holder, before the command is started: an error when somebody has before.
    pub(super) fn begin(&self, mut lock: &File) -> io::Result<()> {
        if lock.metadata()?.len() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        lock.write_all(self.to_string().as_bytes())
    }

    /// Writes down which process the command is.
    pub(super) fn begun(mut lock: &File, command: Pid) -> io::Result<()> {
        lock.write_all(format!("{command}\n").as_bytes())
    }

    /// Whether the numbers mean something here and now.
    pub(super) fn is_here(&self) -> bool {
        place().is_ok_and(|place| place == self.place)
    }
}

fn place() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{}/{}", boot.trim_end(), namespace.display()))
}

impl fmt::Display for Pids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.shim, self.place)?;
        self.command.map_or(Ok(()), |command| writeln!(f, "{command}"))
    }
}

impl FromStr for Pids {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut lines = text.lines();
        let (shim, place) = lines.next().and_then(|line| line.split_once(' ')).ok_or(())?;
        let command = lines.next().and_then(|line| line.parse().ok());
        Ok(Self { shim: shim.parse().map_err(drop)?, place: place.to_owned(), command })
    }
}

/// A process that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
}

/// Kills this process's children: their number.
pub(super) fn kill_children() -> io::Result<usize> {
    let own = Pid::this().as_raw();
    Ok(kill_all(seen()?.into_iter().filter(|it| it.parent == own)))
}

/// Kills what an attempt without a shim has left, here: how many there were. Those have it in their environment; or, where
/// a program has overwritten that (`setproctitle`), they are in the command's group and in the shim's session. A session
/// whose leader lives is not the shim's, which is dead: its number went to another process.
pub(super) fn kill_left(name: &str, pids: Option<&Pids>) -> io::Result<usize> {
    let seen = seen()?;
    let (own, pids) = (Pid::this().as_raw(), pids.filter(|pids| pids.is_here()));
    let pids = pids.filter(|pids| seen.iter().all(|it| it.pid != pids.shim));
    let is_left = |it: &Seen| {
        let grouped = pids.is_some_and(|pids| it.session == pids.shim && Some(it.group) == pids.command);
        it.pid != own && (grouped || is_marked(it.pid, name))
    };
    Ok(kill_all(seen.iter().copied().filter(is_left)))
}

fn kill_all(seen: impl Iterator<Item = Seen>) -> usize {
    // One that has ended in between needs no signal, and one that may not be killed is still there next time.
    seen.filter(|it| kill(Pid::from_raw(it.pid), Signal::SIGKILL) != Err(Errno::ESRCH)).count()
}

/// Whether a process has the attempt's name in its environment.
pub(super) fn is_marked(pid: i32, name: &str) -> bool {
    let mark = [MARK.as_bytes(), b"=", name.as_bytes()].concat();
    let environ = fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable == mark)
}

fn seen() -> io::Result<Vec<Seen>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has gone since has no file any more.
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        all.extend(parse(pid, &String::from_utf8_lossy(&stat)));
    }
    Ok(all)
}

/// `proc_pid_stat(5)`: `pid (name) state ppid pgrp session ..`, where the name may be anything.
fn parse(pid: i32, stat: &str) -> Option<Seen> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let mut number = || fields.next()?.parse().ok();
    Some(Seen { pid, parent: number()?, group: number()?, session: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let seen = Seen { pid: 12, parent: 1, group: 11, session: 10 };
        assert_eq!(parse(12, "12 (a) R 1 2 3) S 1 11 10 0 -1"), Some(seen));
        assert_eq!(parse(12, "12 (sh) Z 1 11 10 0 -1"), None, "it has ended");
        assert_eq!(parse(12, ""), None);
    }

    #[test]
    fn pids_are_read_as_they_were_written() {
        let mut pids = Pids::own().unwrap();
        assert!(pids.is_here());
        assert_eq!(pids.to_string().parse(), Ok(pids.clone()));
        pids.command = Some(7);
        assert_eq!(pids.to_string().parse(), Ok(pids.clone()));
        pids.place.push('x');
        assert!(!pids.is_here());
        for torn in ["", "12", "x y"] {
            assert!(torn.parse::<Pids>().is_err(), "{torn:?}");
        }
    }

    #[test]
    fn only_what_belongs_to_the_attempt_is_killed() {
        use std::{os::unix::process::ExitStatusExt, process::Command};
        let sleep = |name: &str| Command::new("sleep").arg("60").env(MARK, name).spawn().unwrap();
        let (mut ours, mut other) = (sleep("pids-test-1"), sleep("pids-test-10"));
        while !is_marked(ours.id() as i32, "pids-test-1") || !is_marked(other.id() as i32, "pids-test-10") {
            std::thread::yield_now(); // it is not what it becomes yet
        }
        assert_eq!(kill_left("pids-test-1", None).unwrap(), 1);
        assert_eq!(ours.wait().unwrap().signal(), Some(9));
        assert_eq!(kill_left("pids-test-1", None).unwrap(), 0);
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
