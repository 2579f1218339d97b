//! The binary `millrace-alerter`.

use std::process::ExitCode;

use millrace_alerter::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millrace_runtime::main(Args::run)
}
