//! gRPC: `millrace.gateway.v1.EventService` and `KeyService`.
//!
//! Who may call is settled on the request's head, in [`auth`], before a message is read: nobody without a key makes the
//! gateway decode eight megabytes.

mod answer;
mod auth;
mod events;
mod keys;
mod stream;

use std::sync::Arc;

use millrace_proto::gateway::v1::{event_service_server::EventServiceServer, key_service_server::KeyServiceServer};
use millrace_runtime::{Secret, Shutdown};
use tonic::{codec::CompressionEncoding, service::Routes};

use self::{auth::Authenticated, events::Events, keys::KeyAdministration};
use crate::{gateway::Gateway, keys::Keys};

/// A request about a key, in bytes: it is decoded before the caller is known.
const MAX_KEY_REQUEST: usize = 64 * 1024;

/// The services, for [`millrace_runtime::grpc::serve`]. Without an admin token there is no key service.
pub(crate) fn routes(
    gateway: &Arc<Gateway>,
    api_keys: &Arc<Keys>,
    admin_token: Option<Secret>,
    shutdown: Shutdown,
) -> Routes {
    let events = Events::new(Arc::clone(gateway), Arc::clone(api_keys), shutdown);
    let events = EventServiceServer::new(events)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(gateway.limits.max_body_bytes);
    let events = Authenticated::new(events, Arc::clone(gateway), Arc::clone(api_keys));
    let routes = Routes::new(events);
    match admin_token {
        Some(token) => {
            let keys = KeyServiceServer::new(KeyAdministration::new(Arc::clone(api_keys), token));
            routes.add_service(keys.max_decoding_message_size(MAX_KEY_REQUEST))
        }
        None => routes,
    }
}
