//! `millrace-scheduler`: see the library.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    millrace_runtime::main(millrace_scheduler::Args::run)
}
