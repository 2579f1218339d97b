use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, ErrorKind, PipeReader, Read},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{Pid, getppid, setsid},
};

use super::{
    folder::{Exit, Folder},
    pids::Pids,
    spec::Spec,
    watch::{Fence, Watch},
};

/// How long a shim waits before it tries again to write down how its command ended.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs the command of one attempt, as a process of its own: `millrace-shim <folder>`, started by
/// [`Processes::run`](super::Processes::run) with the folder's lock as its input. By hand it starts nothing.
///
/// It stays without threads, without a runtime and with few libraries: one is started for each task.
pub fn shim(folder: &Path) -> ExitCode {
    let folder = Folder::new(folder.to_owned());
    match keep(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Into the log: where there is no `exit`, the scheduler says that this was interrupted.
            eprintln!("[millrace: shim: {error}]");
            ExitCode::FAILURE
        }
    }
}

fn keep(folder: &Folder) -> io::Result<()> {
    let lock = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    if !folder.is_locked_by(&lock)? || folder.exit()?.is_some() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "only a scheduler starts a shim"));
    }
    let spec = folder.spec()?;
    let signals = detach()?;
    Pids::own()?.begin(&lock)?;
    let began = Instant::now();
    let exit = match start(folder, &spec) {
        Ok((command, output)) => {
            let command = Pid::from_raw(command.id() as i32);
            // Only for who comes after a shim that was killed.
            let _ = Pids::begun(&lock, command);
            Watch::new(folder, &spec, command, output, signals).run()
        }
        Err(exit) => exit,
    };
    // On a full disk it is worth trying for as long as a scheduler waits for it.
    let (took, mut fence) = (began.elapsed(), Fence::new(spec.fence, folder.touched_at()));
    loop {
        match folder.save_exit(&exit, took) {
            Err(error) if fence.is_passed(folder.touched_at()) || !folder.path().exists() => return Err(error),
            Err(_) => thread::sleep(AGAIN),
            Ok(()) => return Ok(()),
        }
    }
}

/// Makes this a process that nobody's terminal and nobody's end concerns, to which what its command leaves alone comes
/// back, and which takes its signals when it is ready for them.
fn detach() -> io::Result<SignalFd> {
    let taken: SigSet = [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    taken.thread_block()?;
    setsid()?;
    prctl::set_child_subreaper(true)?;
    Ok(SignalFd::with_flags(&taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Starts the command: itself, and what it writes, to be read without waiting. Else what is to be said of it.
fn start(folder: &Folder, spec: &Spec) -> Result<(Child, PipeReader), Exit> {
    let own_fault = |error: io::Error| Exit::Interrupted(format!("its shim cannot go on: {error}"));
    if folder.is_told() {
        return Err(Exit::Cancelled);
    }
    let secrets = secrets(spec).map_err(own_fault)?;
    let Some((program, args)) = spec.argv.split_first() else { return Err(Exit::Unfit("argv is empty".to_owned())) };
    let unfit =
        |what: &dyn std::fmt::Display| Exit::Unfit(format!("cannot run {program:?} in {}: {what}", spec.dir.display()));
    if !spec.dir.is_dir() {
        return Err(unfit(&"there is no such folder"));
    }
    let (output, log) = io::pipe().map_err(own_fault)?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| own_fault(error.into()))?;
    let mut command = Command::new(program);
    command.args(args).current_dir(&spec.dir).envs(&spec.env).envs(&secrets).envs(&spec.run);
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(own_fault)?).stderr(log).process_group(0);
    tie(&mut command);
    let now = Timestamp::now();
    if now > spec.begin_before {
        return Err(Exit::Interrupted(format!(
            "it was to be started before {}, by the clock of the database; here it is {now}",
            spec.begin_before
        )));
    }
    match command.spawn() {
        Ok(child) => Ok((child, output)),
        Err(error) => Err(match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ETXTBSY | Errno::EIO) => {
                own_fault(error)
            }
            Some(Errno::ENOENT) => unfit(&"command not found, or the interpreter that its first line names"),
            Some(Errno::EACCES) => unfit(&"not executable"),
            _ => unfit(&error),
        }),
    }
}

/// Has the kernel end the command when the shim is killed, so that a command with neither shim nor scheduler does not go
/// on (unless it changes its user: then the kernel forgets that); and gives it the signals back that the shim holds.
#[allow(unsafe_code, reason = "the one of this crate: only the new process can do this, between fork and exec")]
fn tie(command: &mut Command) {
    let shim = Pid::this();
    let tie = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != shim {
            return Err(Errno::ESRCH.into()); // it was killed before that
        }
        Ok(SigSet::empty().thread_set_mask()?)
    };
    // SAFETY: three system calls, in a process without other threads; nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(tie) };
}

/// The values of secrets, by their variables.
fn secrets(spec: &Spec) -> io::Result<BTreeMap<String, String>> {
    if spec.secrets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut text = String::new();
    File::from(io::stdout().as_fd().try_clone_to_owned()?).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
