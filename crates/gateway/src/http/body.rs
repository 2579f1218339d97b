//! Reads a body chunk by chunk, never more than the limits allow.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;

use super::{inflate::Inflate, text};
use crate::{Error, Result, admission::Held, gateway::Gateway};

/// The decompressed body. `held` grows with it.
pub(super) async fn read(mut body: Body, headers: &HeaderMap, gateway: &Gateway, held: &mut Held) -> Result<Bytes> {
    let limit = gateway.limits.max_body_bytes;
    let too_large = || Error::TooLarge { what: "the body", limit, unit: "bytes" };
    let declared = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    if declared > limit {
        return Err(too_large());
    }
    gateway.admission.grow(held, declared)?;
    let encoding = text(headers, &header::CONTENT_ENCODING);
    let mut inflate = Inflate::new(encoding, declared, gateway.limits.max_decompressed_bytes)?;
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Malformed(format!("the body ended early: {error}")))?;
        let Ok(chunk) = frame.into_data() else { continue }; // trailers
        received += chunk.len();
        if received > limit {
            return Err(too_large());
        }
        inflate.push(&chunk)?;
        gateway.admission.grow(held, inflate.len())?;
    }
    inflate.finish().map(Bytes::from)
}
