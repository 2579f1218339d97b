//! The content's own id of a schema.

use std::{fmt, str::FromStr};

use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Schema;

/// The id of a schema, derived from its text, equal in every registry: the MD5 of what Java's `Schema.toString()`
/// gives, printed as a UUID (without the version bits of RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The id of a schema without references.
    pub fn of(schema: &Schema) -> Self {
        Self(Md5::digest(schema.java_string().as_bytes()).into())
    }

    /// The id of a schema with references, each as (name, subject, version), in the order of the registration.
    pub fn with_references<'a>(schema: &Schema, references: impl IntoIterator<Item = (&'a str, &'a str, u32)>) -> Self {
        let mut md5 = Md5::new();
        md5.update(schema.java_string().as_bytes());
        for (name, subject, version) in references {
            md5.update(name.as_bytes());
            md5.update(subject.as_bytes());
            md5.update(version.to_be_bytes());
        }
        Self(md5.finalize().into())
    }

    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&uuid::Uuid::from_bytes(self.0).hyphenated(), f)
    }
}

impl FromStr for Guid {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::parse_str(text).map(|uuid| Self(uuid.into_bytes()))
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_schemas_have_the_ids_that_confluent_gives_them() {
        for (text, guid) in [
            (r#""string""#, "095d71cf-1255-6b9d-5e33-0ad575b3df5d"),
            (
                r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"#,
                "5530e21b-033d-de07-42ae-e76b228769c7",
            ),
            (
                r#"{"type":"enum","name":"E","namespace":"x.y","symbols":["P","Q"]}"#,
                "4d6bd4e4-467e-10ae-b9a5-e47afc9c37af",
            ),
        ] {
            let schema = Schema::parse(text).unwrap();
            assert_eq!(Guid::of(&schema).to_string(), guid);
            assert_eq!(guid.parse::<Guid>().unwrap(), schema.guid());
        }
    }
}
