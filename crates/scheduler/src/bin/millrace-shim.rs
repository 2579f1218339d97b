//! `millrace-shim <folder>`: looks after the command of one attempt; see `exec::shim`. Schedulers start it.
//!
//! A program of its own because one is started for each process task: linked with the scheduler's libraries and allocator,
//! it takes three times the processor's time (`tests/it/process/speed.rs`).

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(folder), None) = (args.next(), args.next()) else {
        eprintln!("usage: millrace-shim <folder of an attempt>");
        return std::process::ExitCode::from(64);
    };
    millrace_scheduler::exec::shim(folder.as_ref())
}
