//! The gateway's process.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    millrace_runtime::main::<millrace_gateway::Args>(millrace_gateway::Args::run)
}
