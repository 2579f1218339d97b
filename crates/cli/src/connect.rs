//! Channels to the services, with the caller's token on every call.

use std::time::Duration;

use anyhow::Context;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

/// Puts `authorization: Bearer <token>` on every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A channel that sends a token along.
pub(crate) type Authorized = InterceptedService<Channel, Bearer>;

/// Connects lazily: the first call says when nobody is there.
pub(crate) fn channel(address: &str, token: &str) -> anyhow::Result<Authorized> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let mut endpoint = Endpoint::from_shared(url)
        .with_context(|| format!("{address} is not an address such as http://host:port"))?
        .connect_timeout(Duration::from_secs(5))
        .http2_adaptive_window(true);
    if address.starts_with("https://") {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_enabled_roots())?;
    }
    let bearer = format!("Bearer {token}").parse().context("the token has characters that a header cannot carry")?;
    Ok(InterceptedService::new(endpoint.connect_lazy(), Bearer(bearer)))
}

/// A call's failure in one sentence, without the wrappings.
pub(crate) fn explain(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{} ({:?})", status.message(), status.code())
}
