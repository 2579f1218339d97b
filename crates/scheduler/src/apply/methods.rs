use std::{pin::pin, time::Duration};

use futures::{StreamExt as _, stream};
use millrace_core::Fault;
use serde_json::{Value, json};

use super::Given;
use crate::{
    document::{Document, Task},
    exec::{Checked, Grpc},
    render,
};

/// Endpoints that are asked at a time.
const AT_ONCE: usize = 16;
/// How long somebody waits for all of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the endpoints of gRPC tasks say of methods that are not there, and of requests that do not fit. An endpoint that is a
/// template, or that nobody answers at, is no fault of a document.
pub async fn unknown_methods(given: &[Given], grpc: &Grpc) -> Vec<Fault> {
    let mut checks = Vec::new();
    for it in given {
        if let Document::Dag(dag) = &it.document {
            checks.extend(dag.spec.tasks.iter().map(|(name, task)| check(it, name, task, grpc)));
        }
    }
    let checks = stream::iter(checks).buffer_unordered(AT_ONCE);
    // What was not asked by then is not known to be wrong.
    let mut checks = pin!(checks.take_until(tokio::time::sleep(PATIENCE)));
    let mut faults = Vec::new();
    while let Some(fault) = checks.next().await {
        faults.extend(fault);
    }
    faults
}

async fn check(given: &Given, name: &str, task: &Task, grpc: &Grpc) -> Option<Fault> {
    let call = task.grpc.as_ref()?;
    if render::is_templated(&json!(call.endpoint)) {
        return None;
    }
    let request: Value = json!(call.request);
    let fault = |field: &str, checked: &Checked| {
        given.source.fault(&format!("/spec/tasks/{name}/grpc/{field}"), checked.to_string())
    };
    match grpc.check(&call.endpoint, &call.method, &request).await {
        Ok(()) => None,
        Err(error) if !error.is_fault() => {
            tracing::warn!(task = name, %error, "method is not checked");
            None
        }
        Err(error @ Checked::Endpoint(_)) => Some(fault("endpoint", &error)),
        Err(error @ Checked::Request { .. }) => Some(fault("request", &error)),
        Err(error) => Some(fault("method", &error)),
    }
}
