/// A derived part of a text. Each is a slice of the text itself: nothing is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Of an address: what is behind the last `@`.
    Domain,
    /// Of an address: what is before the last `@`.
    Local,
    /// Of a URL: the host, without user and port.
    Host,
    /// Of a host name or an address: the part that is registered as one.
    ///
    /// Two labels, or three under a two-letter top level whose second label is one of the customary ones (`co.uk`,
    /// `com.au`). This is not the public suffix list, on purpose: that list changes, and a model must see a year later
    /// what it was trained on.
    Registrable,
    /// Of a host name: its last label.
    Tld,
    /// Of an IPv4 address in dotted notation: the first three numbers. Of an IPv6 address: the first three groups.
    Net24,
    /// Of any text: its first run of letters, such as a program's name without its version.
    Word,
}

const NAMES: [(Part, &str); 7] = [
    (Part::Domain, "domain"),
    (Part::Local, "local"),
    (Part::Host, "host"),
    (Part::Registrable, "registrable"),
    (Part::Tld, "tld"),
    (Part::Net24, "net24"),
    (Part::Word, "word"),
];

/// Second labels under which others register, where the top level is a country's.
const CUSTOMARY: [&str; 15] =
    ["ac", "co", "com", "edu", "gob", "gov", "gouv", "govt", "ltd", "mil", "ne", "net", "nom", "or", "org"];

impl Part {
    /// As documents spell it.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The part of that name.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(part, _)| *part)
    }

    /// All names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(_, name)| *name)
    }

    /// The part of `text`, if it has one.
    pub fn of(self, text: &str) -> Option<&str> {
        let part = match self {
            Self::Domain => text.rsplit_once('@')?.1.trim_end_matches(['>', '.', ' ']),
            Self::Local => text.rsplit_once('@')?.0.trim_start_matches(['<', ' ']),
            Self::Host => host(text),
            Self::Registrable => registrable(text),
            Self::Tld => text.trim_end_matches('.').rsplit_once('.')?.1,
            Self::Net24 => net24(text)?,
            Self::Word => word(text),
        };
        (!part.is_empty()).then_some(part)
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(literal) = host.strip_prefix('[') {
        return literal.split(']').next().unwrap_or(literal);
    }
    host.split(':').next().unwrap_or(host)
}

fn registrable(text: &str) -> &str {
    let host = text.rsplit_once('@').map_or(text, |(_, domain)| domain).trim_end_matches(['>', '.', ' ']);
    let bytes = host.as_bytes();
    if bytes.last().is_some_and(u8::is_ascii_digit) || host.contains(':') {
        return host; // an address and no name
    }
    let dot = |below: usize| bytes[..below].iter().rposition(|byte| *byte == b'.');
    let Some(first) = dot(bytes.len()) else { return host };
    let Some(second) = dot(first) else { return host };
    let label = &host[second + 1..first];
    let customary = bytes.len() - first == 3 && CUSTOMARY.iter().any(|known| known.eq_ignore_ascii_case(label));
    match dot(second) {
        Some(third) if customary => &host[third + 1..],
        None if customary => host,
        _ => &host[second + 1..],
    }
}

fn net24(address: &str) -> Option<&str> {
    let separator = if address.contains(':') { ':' } else { '.' };
    let (end, _) = address.match_indices(separator).nth(2)?;
    Some(&address[..end])
}

fn word(text: &str) -> &str {
    let start = text.find(char::is_alphabetic).unwrap_or(text.len());
    let rest = &text[start..];
    &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_what_they_say() {
        for (part, text, expected) in [
            (Part::Domain, "<a@b@Example.org>", Some("Example.org")),
            (Part::Domain, "nobody", None),
            (Part::Local, "first.last@example.org", Some("first.last")),
            (Part::Host, "https://user:pw@www.example.org:8080/x?y", Some("www.example.org")),
            (Part::Host, "http://[2001:db8::1]:80/", Some("2001:db8::1")),
            (Part::Host, "example.org", Some("example.org")),
            (Part::Registrable, "mail.lists.example.org", Some("example.org")),
            (Part::Registrable, "a@mail.example.co.uk", Some("example.co.uk")),
            (Part::Registrable, "example.co.uk", Some("example.co.uk")),
            (Part::Registrable, "co.uk", Some("co.uk")),
            (Part::Registrable, "www.co.com", Some("co.com")),
            (Part::Registrable, "192.0.2.1", Some("192.0.2.1")),
            (Part::Registrable, "localhost", Some("localhost")),
            (Part::Tld, "mail.example.org.", Some("org")),
            (Part::Net24, "192.0.2.17", Some("192.0.2")),
            (Part::Net24, "2001:db8:1:2::3", Some("2001:db8:1")),
            (Part::Net24, "none", None),
            (Part::Word, "Microsoft Outlook 6.0", Some("Microsoft")),
            (Part::Word, "1.2.3", None),
            (Part::Word, "", None),
        ] {
            assert_eq!(part.of(text), expected, "{}({text})", part.as_str());
        }
    }

    #[test]
    fn names_come_back() {
        for name in Part::names() {
            assert_eq!(Part::parse(name).map(Part::as_str), Some(name));
        }
    }

    proptest! {
        #[test]
        fn any_text_has_parts_or_none_and_they_are_of_it(text in "\\PC{0,40}") {
            for (part, _) in NAMES {
                if let Some(of) = part.of(&text) {
                    prop_assert!(text.contains(of));
                }
            }
        }
    }
}
