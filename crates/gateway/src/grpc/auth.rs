//! Checks the API key and the key's bounds on a call's head.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{Request, Response, header};
use tonic::{Extensions, body::Body, server::NamedService};
use tower::Service;

use super::answer;
use crate::{
    Error, Result,
    admission::Pass,
    gateway::Gateway,
    keys::{Key, Keys},
    metrics::Protocol,
};

/// Who calls, and that the call counts as under way until the last clone is dropped.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) key: Arc<Key>,
    pub(super) _pass: Arc<Pass>,
}

impl Caller {
    /// Of a call that came through [`Authenticated`].
    pub(super) fn of(extensions: &Extensions) -> Result<Self> {
        extensions.get().cloned().ok_or(Error::KeyMissing)
    }
}

/// A service whose handlers find a [`Caller`] among the extensions.
#[derive(Clone)]
pub(super) struct Authenticated<S> {
    service: S,
    gateway: Arc<Gateway>,
    keys: Arc<Keys>,
}

impl<S> Authenticated<S> {
    pub(super) fn new(service: S, gateway: Arc<Gateway>, keys: Arc<Keys>) -> Self {
        Self { service, gateway, keys }
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone is not the one that was polled ready: that one goes with the call.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        let (gateway, keys) = (Arc::clone(&self.gateway), Arc::clone(&self.keys));
        Box::pin(async move {
            let authorization = request.headers().get(header::AUTHORIZATION).cloned();
            let admitted = async {
                let key = keys.check_bearer(authorization.as_ref()).await?;
                let pass = Arc::new(gateway.admission.enter(key.id)?);
                Ok(Caller { key, _pass: pass })
            };
            match admitted.await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    service.call(request).await
                }
                Err(error) => Ok(answer::refused(&gateway.metrics, Protocol::Grpc, &error).into_http()),
            }
        })
    }
}
