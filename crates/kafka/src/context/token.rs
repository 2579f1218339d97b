//! Tokens for OAUTHBEARER: a JWT in a file that somebody else renews, as Kubernetes does for service accounts.

use std::{error::Error, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rdkafka::client::OAuthToken;

/// Reads the token. Its lifetime and principal are its own claims `exp` and `sub`.
pub(super) fn read(path: Option<&Path>) -> Result<OAuthToken, Box<dyn Error>> {
    let path = path.ok_or("OAUTHBEARER needs --kafka-sasl-token-file")?;
    let token = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(token.trim()).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn parse(token: &str) -> Result<OAuthToken, &'static str> {
    let claims = token.split('.').nth(1).ok_or("expected a JWT")?;
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| "the JWT's claims are not base64")?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).map_err(|_| "the JWT's claims are not JSON")?;
    let expires = claims["exp"].as_i64().ok_or("the JWT has no claim `exp`")?;
    let principal = claims["sub"].as_str().ok_or("the JWT has no claim `sub`")?;
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: principal.to_owned(),
        lifetime_ms: expires.saturating_mul(1000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetime_and_principal_are_the_tokens_own() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"millrace","exp":1800000000}"#);
        let token = parse(&format!("e30.{claims}.sig")).unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("millrace", 1_800_000_000_000));
        for bad in ["", "a", "a.!.c", "a.e30.c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
