//! The binary `millrace-scorer`.

use std::process::ExitCode;

use millrace_scorer::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millrace_runtime::main(Args::run)
}
