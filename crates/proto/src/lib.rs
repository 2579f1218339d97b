//! The gRPC contracts between services, generated from `proto/millrace/<owner>/v1/*.proto` and checked in.
//!
//! `tests/generated.rs` regenerates the code with protox (no protoc) and fails on a difference; with
//! `MILLRACE_GENERATE=1` it writes what it generated.

pub mod json;

/// File descriptors of everything here, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// The gateway: events in, API keys.
pub mod gateway {
    /// Version 1.
    #[allow(missing_docs, clippy::pedantic, reason = "generated code; the proto files are documented")]
    pub mod v1 {
        include!("gen/millrace.gateway.v1.rs");
    }
}

/// The schema registry.
pub mod registry {
    /// Version 1.
    #[allow(missing_docs, clippy::pedantic, reason = "generated code; the proto files are documented")]
    pub mod v1 {
        include!("gen/millrace.registry.v1.rs");
    }
}

/// The scheduler: workflows, and services that are a kind of task.
pub mod scheduler {
    /// Version 1.
    #[allow(missing_docs, clippy::pedantic, reason = "generated code; the proto files are documented")]
    pub mod v1 {
        include!("gen/millrace.scheduler.v1.rs");
    }
}
