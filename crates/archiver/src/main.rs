//! `millrace-archiver`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    millrace_runtime::main(millrace_archiver::Args::run)
}
