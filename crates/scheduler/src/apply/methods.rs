use futures::future::join_all;
use millrace_core::Fault;
use serde_json::{Value, json};

use super::Given;
use crate::{
    document::{Document, Task},
    exec::{Checked, Grpc},
    render,
};

/// What the endpoints of gRPC tasks say of methods that are not there, and of requests that do not fit. An endpoint that is a
/// template, or that nobody answers at, is no fault of a document.
pub async fn unknown_methods(given: &[Given], grpc: &Grpc) -> Vec<Fault> {
    let tasks = given.iter().flat_map(|given| {
        let tasks = match &given.document {
            Document::Dag(dag) => Some(dag.spec.tasks.iter()),
            Document::Binding(_) | Document::TaskTemplate(_) => None,
        };
        tasks.into_iter().flatten().map(move |(name, task)| (given, name, task))
    });
    let checks = tasks.map(|(given, name, task)| check(given, name, task, grpc));
    join_all(checks).await.into_iter().flatten().collect()
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
