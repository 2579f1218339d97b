//! Who writes to whom: organisations with staff and known correspondents, lists, newsletters, and those who abuse them.

use rand::{RngExt, seq::IndexedRandom};

use crate::{generator::Random, mail::Text};

const ORGS: [(&str, &str); 6] = [
    ("northwind", "northwind.example"),
    ("contoso", "contoso.example"),
    ("aldgate", "aldgate-bank.example"),
    ("fjord", "fjord-shipping.example"),
    ("helix", "helix-labs.example"),
    ("quarry", "quarry-stone.example"),
];
const FIRST: [&str; 16] = [
    "Ada", "Björn", "Chidi", "Dana", "Emre", "Fatima", "Goran", "Hana", "Ivan", "Jun", "Kofi", "Lena", "Mateo", "Noor",
    "Oskar", "Priya",
];
const LAST: [&str; 16] = [
    "Abara", "Berg", "Castro", "Dietrich", "Eriksen", "Fischer", "Gupta", "Haddad", "Ito", "Jansen", "Kowalski",
    "Lund", "Moreau", "Novak", "Okafor", "Petrov",
];
pub(crate) const FREE_MAIL: [&str; 4] = ["mailbox.example", "freepost.example", "inboxly.example", "quickmail.example"];

/// Somebody with an address.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub name: String,
    pub address: String,
    pub domain: String,
}

impl Person {
    fn random(random: &mut Random, domain: &str) -> Self {
        let pick = |random: &mut Random, from: &[&'static str]| *from.choose(random).unwrap_or(&"x");
        let (first, last) = (pick(random, &FIRST), pick(random, &LAST));
        let ascii: String = first.to_lowercase().chars().map(|c| if c == 'ö' { 'o' } else { c }).collect();
        Self {
            name: format!("{first} {last}"),
            address: format!("{ascii}.{}{}@{domain}", last.to_lowercase(), random.random_range(1..40)),
            domain: domain.to_owned(),
        }
    }
}

/// A mail system that sends for a domain.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub ip: String,
    pub name: String,
    pub software: Text,
    pub header_order: String,
}

impl Host {
    pub(crate) fn random(random: &mut Random, domain: &str) -> Self {
        const SOFTWARE: [&str; 6] =
            ["Outlook 16.0", "Apple Mail (2.3774)", "Thunderbird 128.4", "K-9 Mail", "Mutt/2.2", "Gmail web"];
        Self {
            ip: format!(
                "198.{}.{}.{}",
                random.random_range(18..20),
                random.random_range(0..250),
                random.random_range(1..250)
            ),
            name: format!("mx{}.{domain}", random.random_range(1..4)),
            software: Text::Borrowed(SOFTWARE.choose(random).unwrap_or(&SOFTWARE[0])),
            header_order: format!("{:012x}", random.random_range(0..1_u64 << 48)),
        }
    }
}

/// A sender outside, with the machine that its mail comes from.
#[derive(Clone, Debug)]
pub(crate) struct Correspondent {
    pub person: Person,
    pub host: Host,
}

/// A tenant.
#[derive(Clone, Debug)]
pub(crate) struct Org {
    pub name: Text,
    pub domain: &'static str,
    pub staff: Vec<Person>,
    pub known: Vec<Correspondent>,
    /// Lists and newsletters that somebody here reads.
    pub bulk: Vec<Correspondent>,
}

/// Everybody.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub orgs: Vec<Org>,
    /// Machines that spam comes from; they are replaced over the weeks.
    pub botnet: Vec<Host>,
}

impl World {
    pub(crate) fn new(random: &mut Random) -> Self {
        let orgs = ORGS.iter().map(|(name, domain)| org(random, name, domain)).collect();
        let botnet = (0..60).map(|i| bot(random, i)).collect();
        Self { orgs, botnet }
    }

    /// One machine of the spammers goes and another comes: models that are not rebuilt grow old.
    pub(crate) fn drift(&mut self, random: &mut Random) {
        let place = random.random_range(0..self.botnet.len());
        self.botnet[place] = bot(random, place);
    }
}

fn bot(random: &mut Random, i: usize) -> Host {
    let mut host = Host::random(random, &format!("dyn{i}-pool.example"));
    host.ip =
        format!("203.{}.{}.{}", random.random_range(0..200), random.random_range(0..250), random.random_range(1..250));
    host.name = format!("dsl-{}.dyn{i}-pool.example", host.ip.replace('.', "-"));
    host
}

fn org(random: &mut Random, name: &'static str, domain: &'static str) -> Org {
    let staff = (0..25).map(|_| Person::random(random, domain)).collect();
    let known = (0..80)
        .map(|i| {
            let domain = if i % 5 == 0 {
                FREE_MAIL[i / 5 % FREE_MAIL.len()].to_owned()
            } else {
                format!("partner{}.example", i % 23)
            };
            Correspondent { person: Person::random(random, &domain), host: Host::random(random, &domain) }
        })
        .collect();
    let bulk = (0..12)
        .map(|i| {
            let domain = format!("{}{i}.example", if i % 2 == 0 { "list" } else { "news" });
            Correspondent { person: Person::random(random, &domain), host: Host::random(random, &domain) }
        })
        .collect();
    Org { name: Text::Borrowed(name), domain, staff, known, bulk }
}
