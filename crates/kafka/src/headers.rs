//! Record headers: an ordered list of names and bytes. A name may come more than once; the last one counts.

use std::borrow::Cow;

use bytes::Bytes;
use millrace_core::header;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};

/// Names that cost no allocation when they are read.
const KNOWN: [&str; 14] = [
    header::TRACEPARENT,
    header::CORRELATION_ID,
    header::EVENT_ID,
    header::RECEIVED_AT,
    header::VALUE_SCHEMA_ID,
    header::MODEL_REVISION,
    header::dead::STAGE,
    header::dead::CODE,
    header::dead::REASON,
    header::dead::TOPIC,
    header::dead::PARTITION,
    header::dead::OFFSET,
    header::dead::GROUP,
    header::dead::AT,
];

/// The headers of one record, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Bytes)>);

impl Headers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of that name; of several, the last one.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The value of that name, when it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Adds a header at the end, beside any other of that name.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// Sets a header: in the place of those of that name, or at the end.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        let name = name.into();
        let value = value.into();
        match self.0.iter().position(|(key, _)| *key == name) {
            Some(first) => {
                self.0[first].1 = value;
                let mut index = 0;
                self.0.retain(|(key, _)| {
                    index += 1;
                    index - 1 <= first || *key != name
                });
            }
            None => self.0.push((name, value)),
        }
    }

    /// Removes every header of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the headers add to a record's size, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    pub(crate) fn to_native(&self) -> Option<OwnedHeaders> {
        if self.0.is_empty() {
            return None;
        }
        Some(native(self.iter(), self.0.len()))
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The headers as librdkafka wants them.
pub(crate) fn native<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, count: usize) -> OwnedHeaders {
    headers.fold(OwnedHeaders::new_with_capacity(count), |native, (key, value)| {
        native.insert(Header { key, value: Some(value) })
    })
}

/// A header's name, borrowed where it is one of ours.
pub(crate) fn intern(name: &str) -> Cow<'static, str> {
    match KNOWN.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

/// Calls `each` with every header of a message; one without a value counts as empty.
pub(crate) fn for_each<M: rdkafka::Message>(message: &M, mut each: impl FnMut(&str, &[u8])) {
    if let Some(headers) = message.headers() {
        for index in 0..headers.count() {
            if let Some(header) = headers.try_get(index) {
                each(header.key, header.value.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_and_set_leaves_one() {
        let mut headers: Headers = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")].into_iter().collect();
        assert_eq!(headers.text("a"), Some("3"));
        headers.set("a", "5");
        headers.set("d", "6");
        let all: Vec<_> = headers.iter().map(|(name, value)| (name, std::str::from_utf8(value).unwrap())).collect();
        assert_eq!(all, [("a", "5"), ("b", "2"), ("c", "4"), ("d", "6")]);
        headers.remove("b");
        assert_eq!((headers.len(), headers.get("b"), headers.text("missing")), (3, None, None));
    }

    #[test]
    fn known_names_are_borrowed() {
        assert!(matches!(intern("event-id"), Cow::Borrowed("event-id")));
        assert!(matches!(intern("other"), Cow::Owned(_)));
    }

    #[test]
    fn text_that_is_not_utf8_is_no_text() {
        let headers: Headers = [("a", &[0xff_u8][..])].into_iter().collect();
        assert_eq!((headers.text("a"), headers.get("a")), (None, Some(&[0xff_u8][..])));
    }
}
