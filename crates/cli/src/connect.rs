//! Channels to the services, with the caller's token on every call.

use std::{error::Error, time::Duration};

use anyhow::Context;
use tonic::{
    Code, Request, Response, Status,
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
    let bearer = format!("Bearer {token}").parse().context("the token has characters that a header cannot carry")?;
    Ok(InterceptedService::new(anonymous(address)?, Bearer(bearer)))
}

/// As [`channel`], to a service that asks for no token.
pub(crate) fn anonymous(address: &str) -> anyhow::Result<Channel> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let mut endpoint = Endpoint::from_shared(url)
        .with_context(|| format!("{address} is not an address such as http://host:port"))?
        .connect_timeout(Duration::from_secs(5))
        .http2_adaptive_window(true);
    if address.starts_with("https://") {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_enabled_roots())?;
    }
    Ok(endpoint.connect_lazy())
}

/// What a call answered, or why it did not.
pub(crate) fn answer<T>(result: Result<Response<T>, Status>) -> anyhow::Result<T> {
    result.map(Response::into_inner).map_err(|status| explain(&status))
}

/// A call's failure in one sentence, without the wrappings: `tcp connect error: Connection refused (os error 111) (Unavailable)`.
pub(crate) fn explain(status: &Status) -> anyhow::Error {
    let cause = std::iter::successors(status.source(), |&error| error.source()).last().map(ToString::to_string);
    let cause = cause.filter(|cause| !status.message().contains(cause.as_str()));
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    anyhow::anyhow!("{}{cause} ({:?})", status.message(), status.code())
}

/// Whether the same request may succeed later.
pub(crate) fn is_retriable(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
    )
}
