//! Somebody for the demo's alerts to tell: an HTTP server that writes down each webhook that it gets.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::post};
use millrace_devstack::{Stack, ports};
use millrace_runtime::Shutdown;

/// The offset of its port from the stack's base.
const PORT: u16 = 70;

/// The demo document's receiver, as the alerter is told of it.
const URL: &str = "MILLRACE_RECEIVER_OPS_WEBHOOK_URL";
const SECRET: &str = "MILLRACE_RECEIVER_OPS_WEBHOOK_SECRET";
/// It is on this machine, which the alerter does not talk to unless it is told to.
const PRIVATE: &str = "MILLRACE_ALLOW_PRIVATE_RECEIVERS";

const _: () = assert!(PORT < ports::SPAN);

/// Listens as long as this process lives, and tells the services. One that the user has set in the environment is left
/// as it is.
pub(super) async fn serve(stack: &Stack) -> anyhow::Result<()> {
    if std::env::var_os(URL).is_some() {
        return Ok(());
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stack.ports().base() + PORT));
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("listen on port {} for the demo's webhooks", address.port()))?;
    let router = Router::new().fallback(post(receive)).with_state(stack.log("webhooks"));
    tokio::spawn(millrace_runtime::http::serve(listener, None, router, Shutdown::new()));
    stack.set_service_env(PRIVATE, "true");
    stack.set_service_env(URL, &format!("http://{address}/ops-webhook"));
    // Standard Webhooks: base64 after the prefix, which hexadecimal digits are as well.
    stack.set_service_env(SECRET, &format!("whsec_{}", stack.secret("webhook")?));
    Ok(())
}

async fn receive(State(log): State<PathBuf>, body: String) -> StatusCode {
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(log)?;
        writeln!(file, "{}", body.replace('\n', " "))
    };
    let written: std::io::Result<()> = write();
    if written.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR }
}
