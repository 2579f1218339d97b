//! What an API key looks like: `mr_<id>_<secret>`, 64 bits of id and 256 bits of secret, both in lower-case hex.
//!
//! The secret is random and as long as its hash, so that a plain SHA-256 is enough: there is nothing to guess from.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Public part of a key: in logs, metrics, lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// As Postgres stores it.
    pub(super) fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// As Postgres gives it back.
    pub(super) fn from_i64(stored: i64) -> Self {
        Self(stored as u64)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Not what [`KeyId`] or [`Token`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: expected mr_<id>_<secret>")]
pub struct Malformed;

impl FromStr for KeyId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let id = hex::<8>(text).ok_or(Malformed)?;
        Ok(Self(u64::from_be_bytes(id)))
    }
}

/// SHA-256 of a secret: all that is kept of it.
#[derive(Clone, Debug)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    /// As it was stored.
    pub(super) fn from_bytes(stored: &[u8]) -> Option<Self> {
        stored.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the token's secret is the hashed one. The time it takes does not depend on where they differ.
    pub(super) fn matches(&self, token: &Token) -> bool {
        self.0.ct_eq(&token.hash().0).into()
    }
}

/// A whole key, as a client sends it.
pub struct Token {
    /// The public part.
    pub id: KeyId,
    secret: [u8; 32],
}

impl Token {
    /// A new one, from the thread's cryptographic generator.
    pub fn mint() -> Self {
        Self { id: KeyId(rand::random()), secret: rand::random() }
    }

    /// What to store of it.
    pub(super) fn hash(&self) -> Hash {
        Hash(Sha256::digest(self.secret).into())
    }
}

/// Hides the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mr_{}_..", self.id)
    }
}

/// The whole key with its secret: for the one answer that shows it.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mr_{}_", self.id)?;
        self.secret.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Token {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (id, secret) = text.strip_prefix("mr_").and_then(|rest| rest.split_once('_')).ok_or(Malformed)?;
        Ok(Self { id: id.parse()?, secret: hex(secret).ok_or(Malformed)? })
    }
}

/// Exactly `N` bytes of lower-case hex.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_text_and_no_two_are_alike() {
        let (one, other) = (Token::mint(), Token::mint());
        let again: Token = one.to_string().parse().unwrap();
        assert_eq!(again.id, one.id);
        assert!(one.hash().matches(&again));
        assert!(!one.hash().matches(&other));
        assert_eq!(one.to_string().len(), 3 + 16 + 1 + 64);
    }

    #[test]
    fn debug_hides_the_secret() {
        let token = Token::mint();
        assert!(!format!("{token:?}").contains(&token.to_string()[20..]));
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let good = Token::mint().to_string();
        for bad in
            ["", "mr_", "mr__", &good[..83], &good.to_uppercase(), &format!("{good}0"), &good.replace("mr_", "sk_")]
        {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
