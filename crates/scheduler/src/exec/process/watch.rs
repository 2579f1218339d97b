use std::{
    io::{ErrorKind, PipeReader, Read},
    os::fd::AsFd,
    thread,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill, killpg},
        signalfd::SignalFd,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use super::{
    folder::{Exit, Folder},
    log::Log,
    pids,
    spec::Spec,
};

/// How long until a kill is repeated, for what was started meanwhile; twice as long each time, so often. What the kernel
/// does not let go of yet can take long.
const SOON: Duration = Duration::from_millis(10);
const DOUBLED: u32 = 7;
/// What is read of the command's output at a time, and how often before other things have their turn: together as much as
/// a pipe can hold.
const CHUNK: usize = 16 << 10;
const CHUNKS: usize = 64;

/// A command that runs, and all that it has started.
pub(super) struct Watch<'a> {
    folder: &'a Folder,
    grace: Duration,
    command: Pid,
    /// What it writes; `None` when nobody can write any more.
    output: Option<PipeReader>,
    log: Log,
    signals: SignalFd,
    fence: Fence,
    /// When the fence and the wish to end it are looked at again.
    check: Duration,
    /// How the command itself ended.
    status: Option<Exit>,
    /// What is said when it has ended, and when it is killed if it has not.
    ending: Option<(Exit, Duration)>,
    /// How often it was killed, and when next.
    kills: u32,
    next_kill: Duration,
}

impl<'a> Watch<'a> {
    pub(super) fn new(folder: &'a Folder, spec: &Spec, command: Pid, output: PipeReader, signals: SignalFd) -> Self {
        Self {
            folder,
            grace: spec.grace,
            command,
            output: Some(output),
            log: Log::new(folder.path()),
            signals,
            fence: Fence::new(spec.fence, folder.touched_at()),
            check: Duration::ZERO,
            status: None,
            ending: None,
            kills: 0,
            next_kill: Duration::ZERO,
        }
    }

    /// Returns when nothing is left of it. Nothing here fails: what goes wrong is tried again.
    pub(super) fn run(mut self) -> Exit {
        // What the command has left to itself is a child of this process by then, so that no child means nothing left.
        while self.reap() {
            let pause = self.act();
            self.wait(pause);
            self.read();
        }
        self.read();
        // Only of a real-time signal is there no status: the library does not know them.
        let status = self.status.unwrap_or_else(|| Exit::Signal("a real-time signal".to_owned()));
        self.ending.map_or(status, |(exit, _)| exit)
    }

    /// Takes note of who has ended. Whether anybody is left.
    fn reap(&mut self) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.command => self.status = Some(Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.command => {
                    self.status = Some(Exit::Signal(signal.as_str().to_owned()));
                }
                Ok(WaitStatus::StillAlive) => return true,
                Err(Errno::ECHILD) => return false,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Does what is due; how long nothing will be.
    fn act(&mut self) -> Duration {
        let now = now();
        if let Some((_, until)) = &self.ending {
            // Also what the command has left behind has its time: it may be what takes long to end.
            let left = until.saturating_sub(now);
            return if left.is_zero() { self.kill(now) } else { left };
        }
        if self.status.is_some() {
            return self.kill(now);
        }
        if now >= self.check {
            self.check = now + self.fence.period();
            if self.folder.is_told() {
                return self.end(Exit::Cancelled, now);
            }
            if self.fence.is_passed(self.folder.touched_at()) {
                return self.end(Exit::Fenced, now);
            }
        }
        self.check.saturating_sub(now)
    }

    /// Asks the command to end.
    fn end(&mut self, exit: Exit, now: Duration) -> Duration {
        self.ending = Some((exit, now.saturating_add(self.grace)));
        // A group without anybody in it: the command has gone to another.
        if killpg(self.command, Signal::SIGTERM).is_err() {
            let _ = kill(self.command, Signal::SIGTERM);
        }
        // One that is stopped does not hear of it otherwise.
        let _ = killpg(self.command, Signal::SIGCONT);
        self.grace
    }

    fn kill(&mut self, now: Duration) -> Duration {
        let early = self.next_kill.saturating_sub(now);
        if !early.is_zero() {
            return early;
        }
        // Its pid, and so the group's number, is nobody else's as long as it was not waited for.
        if self.status.is_none() {
            let _ = killpg(self.command, Signal::SIGKILL);
        }
        // What is not in the group comes to this process as its parents end.
        let _ = pids::kill_children();
        let pause = SOON * (1 << self.kills.min(DOUBLED));
        self.kills += 1;
        self.next_kill = now + pause;
        pause
    }

    /// Until something happens, and at most so long.
    fn wait(&mut self, most: Duration) {
        let most = PollTimeout::try_from(most.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        polled.extend(self.output.as_ref().map(|output| PollFd::new(output.as_fd(), PollFlags::POLLIN)));
        if let Err(error) = poll(&mut polled, most)
            && error != Errno::EINTR
        {
            thread::sleep(SOON);
        }
        let mut told = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            told |= signal.ssi_signo != Signal::SIGCHLD as u32;
        }
        if told && self.ending.is_none() && self.reap() && self.status.is_none() {
            let exit = if self.folder.is_told() {
                Exit::Cancelled
            } else {
                Exit::Interrupted("its shim was told to end, not by the scheduler: the machine may go down".to_owned())
            };
            self.end(exit, now());
        }
    }

    /// Writes down what the command has written.
    fn read(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut chunk = [0; CHUNK];
        for _ in 0..CHUNKS {
            match output.read(&mut chunk) {
                Ok(0) => return self.output = None,
                Ok(read) => self.log.write(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.output = None,
            }
        }
    }
}

/// Notices that no scheduler looks after the attempt any more.
#[derive(Debug)]
pub(super) struct Fence {
    length: Duration,
    touched: Option<SystemTime>,
    /// When `touched` was first seen.
    since: Duration,
}

impl Fence {
    pub(super) fn new(length: Duration, touched: Option<SystemTime>) -> Self {
        Self { length, touched, since: now() }
    }

    /// How often to look.
    fn period(&self) -> Duration {
        self.length / 8
    }

    /// Whether it was touched too long ago. Only changes count and not times: clocks are set, and `touched` is of another.
    pub(super) fn is_passed(&mut self, touched: Option<SystemTime>) -> bool {
        self.is_passed_at(touched, now())
    }

    fn is_passed_at(&mut self, touched: Option<SystemTime>, now: Duration) -> bool {
        if touched.is_some() && touched != self.touched {
            (self.touched, self.since) = (touched, now);
        }
        now.saturating_sub(self.since) >= self.length
    }
}

/// Since the machine was booted, also while it slept: nobody else waits for it to wake.
fn now() -> Duration {
    // Linux has this clock since 2.6.39, and it cannot fail.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_passed_when_nothing_changes_for_its_length() {
        let second = Duration::from_secs;
        let touched = |n| Some(SystemTime::UNIX_EPOCH + second(n));
        let mut fence = Fence { length: second(60), touched: touched(1000), since: second(0) };
        assert!(!fence.is_passed_at(touched(1000), second(59)));
        assert!(!fence.is_passed_at(touched(1015), second(59)), "touched");
        assert!(!fence.is_passed_at(touched(900), second(118)), "touched, and the clock was set back");
        assert!(!fence.is_passed_at(None, second(177)), "a file that cannot be seen was not touched");
        assert!(fence.is_passed_at(None, second(178)));
    }
}
