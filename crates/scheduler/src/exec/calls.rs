//! What all calls have in common: where they go, and what they say of the attempt that makes them.
//!
//! A call is sent at most once for each attempt. There is no way to ask the other side what became of one, so that when the
//! process that was to make it has ended, nobody knows whether it was received. Such an attempt is interrupted, and what
//! follows is another one, with another name (the idempotency key) and a greater token: launched exactly once, carried out
//! at least once. A receiver that must not do the same twice refuses tokens that are less than one that it has seen for the
//! task.

use std::{collections::BTreeMap, error::Error, time::Duration};

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::{Attempt, End, Ended, Secrets};

/// What names that tell of the attempt begin with. A document cannot say them.
const OURS: &str = "millrace-";

/// How long a connection may take to be made.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// How much of what another side says for a person is kept: 4 KiB.
const MAX_SAID: usize = 4 << 10;

/// The end of an attempt whose call another process was to make.
pub(super) fn forgotten() -> Ended {
    Ended::new(End::Interrupted(
        "the process that was to make the call has ended, and whether the call was received cannot be known; it is made by \
         a new attempt"
            .to_owned(),
    ))
}

/// Where a call goes: http or https.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("address `{}`: {error}", without_secrets(text)))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("address `{}`: its scheme is {other}; expected http or https", shown(&url))),
    }
}

/// An address as people may read it: without a user, a password, a query and a fragment, which may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    without_secrets(url.as_str())
}

fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("//").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}//{host}{path}") }
}

/// What a document has a call say.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) headers: &'a BTreeMap<String, String>,
    /// Names of secrets by the names of headers.
    pub(super) secrets: &'a BTreeMap<String, String>,
    pub(super) store: &'a Secrets,
    /// Names that it cannot say, in lower case, because the protocol does.
    pub(super) reserved: fn(&str) -> bool,
}

/// The headers of a call: what the document says, its secrets, and the attempt.
pub(super) fn headers(attempt: &Attempt, said: Said<'_>) -> Result<HeaderMap, Ended> {
    let mut headers = HeaderMap::new();
    for (name, text) in said.headers {
        headers.insert(said.named(name)?, value(name, text)?);
    }
    for (name, secret) in said.secrets {
        let header = said.named(name)?;
        // It may be there by the next try: secrets are mounted by others.
        let secret = said.store.get(secret).map_err(|error| Ended::failed(format!("header `{name}`: {error}")))?;
        let mut text = value(name, &secret.expose())?;
        text.set_sensitive(true);
        headers.insert(header, text);
    }
    for (name, text) in labels(attempt) {
        headers.insert(HeaderName::from_static(name), value(name, &text)?);
    }
    Ok(headers)
}

impl Said<'_> {
    fn named(&self, name: &str) -> Result<HeaderName, Ended> {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Ended::hopeless(format!("header `{name}`: that is no name of a header")))?;
        if header.as_str().starts_with(OURS) || (self.reserved)(header.as_str()) {
            return Err(Ended::hopeless(format!("header `{name}` is said by the scheduler, not by a document")));
        }
        Ok(header)
    }
}

/// A header's value; what is wrong with one is said without it.
pub(super) fn value(name: &str, text: &str) -> Result<HeaderValue, Ended> {
    HeaderValue::from_str(text).map_err(|_| {
        Ended::hopeless(format!("header `{name}`: its value has characters that are not ASCII, or a line break"))
    })
}

/// The attempt, by the names under which calls tell of it.
fn labels(attempt: &Attempt) -> impl Iterator<Item = (&'static str, String)> {
    let Attempt { name: _, token, dag, run, task, item, number, launched_at: _, place: _ } = attempt;
    let item = item.map(|item| ("millrace-item", item.to_string()));
    [
        ("millrace-token", token.to_string()),
        ("millrace-dag", dag.clone()),
        ("millrace-run", run.to_string()),
        ("millrace-task", task.clone()),
        ("millrace-attempt", number.to_string()),
    ]
    .into_iter()
    .chain(item)
}

/// An error with its causes, each said once.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if text.is_empty() {
            text = said;
        } else if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// What another side says for a person, at most [`MAX_SAID`] of it.
pub(super) fn short(mut text: String) -> String {
    if text.len() > MAX_SAID {
        text.truncate(text.floor_char_boundary(MAX_SAID));
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests;
