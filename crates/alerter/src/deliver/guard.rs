//! Where webhooks may go. An address comes from configuration, its name from DNS, which strangers may answer for: both
//! are checked, the second at each connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// Whether a URL may be called. `private` allows addresses that are not of the public Internet.
pub(crate) fn check(url: &Url, private: bool) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("scheme {:?}; expected http or https", url.scheme()));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("no host")?;
    // The resolver is not asked about addresses, so they are looked at here.
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) if !private && !is_public(address) => Err(refusal(&address.to_string())),
        _ if !private && is_local_name(host) => Err(refusal(host)),
        _ => Ok(()),
    }
}

fn refusal(host: &str) -> String {
    format!("{host} is a private address; --allow-private-receivers permits them")
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// Resolves names, and forgets private addresses unless they are allowed.
pub(crate) struct Resolver {
    pub(crate) private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|address| private || is_public(address.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(refusal(name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is of the public Internet, by the registries of IANA for special purposes.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // 2000::/3 is what is given out; of it, these are not: protocol assignments and Teredo, documentation.
    (segments[0] & 0xe000) == 0x2000
        && !(segments[0] == 0x2001 && segments[1] < 0x0200)
        && !(segments[0] == 0x2001 && segments[1] == 0x0db8)
        && (segments[0] & 0xfff0) != 0x3ff0
}

/// The IPv4 address that an IPv6 address leads to: mapped, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let at = |i: usize| Ipv4Addr::new(octets[i], octets[i + 1], octets[i + 2], octets[i + 3]);
    let is_nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    match address.to_ipv4_mapped() {
        Some(inner) => Some(inner),
        None if is_nat64 => Some(at(12)),
        None if address.segments()[0] == 0x2002 => Some(at(2)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_of_the_public_internet_are_refused() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[ff02::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[2001::1]",
            "localhost",
            "a.localhost",
            "LOCALHOST.",
            "2130706433",
            "0x7f.1",
            "[fec0::1]",
            "[100::1]",
        ] {
            let url = Url::parse(&format!("http://{host}/hook")).unwrap();
            assert!(check(&url, false).is_err(), "{host}");
            assert!(check(&url, true).is_ok(), "{host}");
        }
        for host in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "example.org", "[2606:4700::1111]", "[64:ff9b::101:101]"] {
            let url = Url::parse(&format!("https://{host}/hook")).unwrap();
            assert_eq!(check(&url, false), Ok(()), "{host}");
        }
    }

    #[test]
    fn only_http_is_spoken() {
        for url in ["ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "data:,x"] {
            assert!(check(&Url::parse(url).unwrap(), true).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_refused() {
        use std::str::FromStr as _;
        let resolve = async |private| Resolver { private }.resolve(Name::from_str("localhost").unwrap()).await;
        assert!(resolve(false).await.err().unwrap().to_string().contains("private address"));
        assert!(resolve(true).await.unwrap().next().is_some());
    }
}
