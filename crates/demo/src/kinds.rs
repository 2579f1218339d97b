//! The kinds of mail, and what each looks like in its metadata.

use rand::{Rng, RngExt, seq::IndexedRandom};

use crate::{
    generator::Random,
    mail::{Attachment, Label, Mail, Text},
    world::{Correspondent, FREE_MAIL, Host, Org, World},
};

/// How a mail comes about. The last four are the ways to pretend to be somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// From somebody known.
    Personal,
    /// From somebody new, and honest.
    FirstContact,
    /// A mailing list.
    List,
    /// A newsletter that was asked for.
    Newsletter,
    /// Spam.
    Spam,
    /// The organisation's own domain, from outside.
    ExactDomain,
    /// A colleague's name at a free-mail address.
    DisplayName,
    /// A domain that looks like a partner's.
    LookAlike,
    /// A known sender's address, with the answers going to a free-mail address.
    ReplyTo,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Personal,
        Self::FirstContact,
        Self::List,
        Self::Newsletter,
        Self::Spam,
        Self::ExactDomain,
        Self::DisplayName,
        Self::LookAlike,
        Self::ReplyTo,
    ];

    /// Of a thousand mails.
    const SHARE: [u32; 9] = [400, 60, 150, 130, 200, 15, 15, 15, 15];

    pub(crate) fn random(random: &mut Random) -> Self {
        let mut ticket = random.random_range(0..1000);
        for (kind, share) in Self::ALL.into_iter().zip(Self::SHARE) {
            if ticket < share {
                return kind;
            }
            ticket -= share;
        }
        Self::Personal
    }

    /// What such a mail is.
    pub fn truth(self) -> Label {
        match self {
            Self::Personal | Self::FirstContact | Self::List | Self::Newsletter => Label::Ham,
            Self::Spam => Label::Spam,
            Self::ExactDomain | Self::DisplayName | Self::LookAlike | Self::ReplyTo => Label::Phish,
        }
    }

    /// One such mail. Its id and time are the generator's.
    pub(crate) fn mail(self, random: &mut Random, world: &World, org: &Org) -> Mail {
        match self {
            Self::Personal => personal(random, org),
            Self::FirstContact => first_contact(random, org),
            Self::List => bulk(random, org, true),
            Self::Newsletter => bulk(random, org, false),
            Self::Spam => spam(random, org, world),
            Self::ExactDomain => exact_domain(random, org, world),
            Self::DisplayName => display_name(random, org, world),
            Self::LookAlike => look_alike(random, org),
            Self::ReplyTo => reply_to(random, org, world),
        }
    }
}

fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    from.choose(random).expect("the world has no empty lists")
}

fn chance(random: &mut Random, percent: u32) -> bool {
    random.random_range(0..100) < percent
}

fn hex(random: &mut Random, digits: usize) -> String {
    format!("{:016x}", random.next_u64())[..digits].to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "the record's fields are optional")]
fn text(value: &'static str) -> Option<Text> {
    Some(Text::Borrowed(value))
}

/// A plain message from a person over a machine; every other kind starts from it.
fn plain(random: &mut Random, org: &Org, from: &Correspondent) -> Mail {
    let host = &from.host;
    let domain = from.person.domain.clone();
    Mail {
        uid: String::new(),
        org: org.name.clone(),
        received_at: 0,
        message_id_hash: Some(hex(random, 16)),
        message_id_domain: Some(Text::Owned(domain.clone())),
        size: random.random_range(1_500..60_000),
        client_ip: Some(host.ip.clone()),
        client_rdns: Some(host.name.clone()),
        helo: Some(host.name.clone()),
        client_protocol: text("ESMTPS"),
        hops_external: random.random_range(1..4),
        origin_ip: Some(host.ip.clone()),
        hop_seconds: Some(random.random_range(1..90)),
        mail_from: Some(from.person.address.clone()),
        rcpt_hash: Some(hex(random, 16)),
        from_addr: Some(from.person.address.clone()),
        from_name: Some(from.person.name.clone()),
        from_count: 1,
        sender_addr: None,
        reply_to: None,
        to_count: random.random_range(1..4),
        cc_count: random.random_range(0..3),
        rcpt_in_to_cc: Some(true),
        to_domains: vec![org.domain.to_owned()],
        date_skew_s: Some(random.random_range(-120..10)),
        date_tz_min: Some(*pick(random, &[-300, 0, 60, 60, 120, 540])),
        list_id: None,
        list_unsubscribe: false,
        precedence: None,
        auto_submitted: None,
        in_reply_to: chance(random, 55),
        references_count: random.random_range(0..6),
        mailer: Some(host.software.clone()),
        x_priority: None,
        mime_version: true,
        header_order_hash: host.header_order.clone(),
        header_count: random.random_range(11..18),
        spf: text("pass"),
        spf_domain: Some(domain.clone()),
        dkim: text("pass"),
        dkim_domains: vec![domain],
        dmarc: text("pass"),
        arc_seals: 0,
        domainkey_sig: false,
        content_type: text("multipart/alternative"),
        charset: text("utf-8"),
        cte: text("quoted-printable"),
        part_count: random.random_range(1..4),
        has_html: chance(random, 70),
        has_plain: true,
        image_parts: 0,
        attachments: attachments(random),
        url_count: random.random_range(0..4),
        url_domains: vec![from.person.domain.clone()],
        url_ip_literal: 0,
        url_text_mismatch: 0,
        subject_hash: Some(hex(random, 16)),
        subject_len: random.random_range(8..70),
        subject_re_fwd: chance(random, 55),
        subject_caps_ratio: random.random_range(0.02..0.25),
        subject_digit_ratio: random.random_range(0.0..0.08),
        subject_nonascii_ratio: 0.0,
        subject_encoded: chance(random, 10),
        subject_exclaim: 0,
        subject_currency: false,
        subject_urgent: chance(random, 2),
        label: Label::Unknown,
        label_source: Text::Borrowed("none"),
        split: None,
    }
}

fn attachments(random: &mut Random) -> Vec<Attachment> {
    const KINDS: [(&str, &str); 3] = [("pdf", "application/pdf"), ("docx", "application/msword"), ("png", "image/png")];
    if !chance(random, 20) {
        return Vec::new();
    }
    let (ext, ctype) = *pick(random, &KINDS);
    let size = random.random_range(9_000..900_000);
    vec![Attachment { ext: Text::Borrowed(ext), ctype: Text::Borrowed(ctype), size, sha256_16: hex(random, 16) }]
}

fn personal(random: &mut Random, org: &Org) -> Mail {
    let from = pick(random, &org.known);
    let mut mail = plain(random, org, from);
    if chance(random, 3) {
        // Travelling: another network than usual, and no fault of theirs.
        mail.client_ip = Host::random(random, &from.person.domain).ip.into();
        mail.spf = text("softfail");
    }
    mail
}

fn first_contact(random: &mut Random, org: &Org) -> Mail {
    let domain = format!("prospect{}.example", random.random_range(0..4_000));
    let mut from = pick(random, &org.known).clone();
    from.person.address = format!("hello{}@{domain}", random.random_range(0..90));
    from.person.domain.clone_from(&domain);
    from.host = Host::random(random, &domain);
    let mut mail = plain(random, org, &from);
    mail.in_reply_to = false;
    mail.references_count = 0;
    mail.subject_re_fwd = false;
    mail.dmarc = if chance(random, 40) { text("none") } else { text("pass") };
    mail
}

fn bulk(random: &mut Random, org: &Org, list: bool) -> Mail {
    let from = pick(random, &org.bulk);
    let mut mail = plain(random, org, from);
    mail.list_id = Some(format!("{}.{}", if list { "talk" } else { "news" }, from.person.domain));
    mail.list_unsubscribe = true;
    mail.precedence = text(if list { "list" } else { "bulk" });
    mail.sender_addr = Some(format!("owner@{}", from.person.domain));
    mail.rcpt_in_to_cc = Some(!list);
    mail.in_reply_to = list && chance(random, 60);
    mail.url_count = random.random_range(1..if list { 5 } else { 40 });
    mail.image_parts = if list { 0 } else { random.random_range(0..6) };
    if list {
        // A list carries other people's signatures, which its footer breaks.
        mail.from_addr = Some(pick(random, &org.known).person.address.clone());
        mail.dkim = if chance(random, 30) { text("fail") } else { text("pass") };
        mail.dmarc = if chance(random, 30) { text("fail") } else { text("pass") };
        mail.arc_seals = 1;
    }
    mail
}

/// From a machine that has no business to send for the domain.
fn from_bot(mail: &mut Mail, random: &mut Random, bot: &Host) {
    mail.client_ip = Some(bot.ip.clone());
    mail.origin_ip = Some(bot.ip.clone());
    mail.client_rdns = if chance(random, 60) { None } else { Some(bot.name.clone()) };
    mail.helo = Some(if chance(random, 50) { "localhost".to_owned() } else { bot.name.clone() });
    mail.header_order_hash.clone_from(&bot.header_order);
    mail.header_count = random.random_range(7..14);
    mail.mailer = if chance(random, 60) { None } else { Some(bot.software.clone()) };
    mail.in_reply_to = false;
    mail.references_count = 0;
    mail.date_skew_s = Some(random.random_range(-40_000..9_000));
    mail.hop_seconds = Some(random.random_range(1..4_000));
}

fn spam(random: &mut Random, org: &Org, world: &World) -> Mail {
    let bot = pick(random, &world.botnet);
    let domain = if chance(random, 30) {
        (*pick(random, &FREE_MAIL)).to_owned()
    } else {
        format!("offer{}.example", random.random_range(0..3_000))
    };
    let mut from = pick(random, &org.known).clone();
    from.person.address = format!("win{}@{domain}", random.random_range(0..9_000));
    from.person.domain = domain;
    let mut mail = plain(random, org, &from);
    from_bot(&mut mail, random, bot);
    mail.spf = text(pick::<&str>(random, &["none", "none", "fail", "pass"]));
    mail.dkim = text(pick::<&str>(random, &["none", "none", "none", "pass"]));
    mail.dkim_domains.clear();
    mail.dmarc = text(pick::<&str>(random, &["none", "none", "fail", "pass"]));
    mail.rcpt_in_to_cc = Some(chance(random, 40));
    mail.list_unsubscribe = chance(random, 35);
    mail.url_count = random.random_range(1..12);
    mail.url_domains = vec![format!("click{}.example", random.random_range(0..900))];
    mail.url_ip_literal = i32::from(chance(random, 12));
    mail.url_text_mismatch = i32::from(chance(random, 25));
    mail.has_html = chance(random, 90);
    mail.has_plain = chance(random, 50);
    mail.subject_caps_ratio = random.random_range(0.05..0.7);
    mail.subject_exclaim = random.random_range(0..4);
    mail.subject_currency = chance(random, 30);
    mail.subject_urgent = chance(random, 30);
    mail.subject_re_fwd = chance(random, 8);
    mail.x_priority = if chance(random, 25) { text("1") } else { None };
    mail
}

/// What all impersonation has in common: one victim, urgency, few links.
fn bait(mail: &mut Mail, random: &mut Random) {
    mail.to_count = 1;
    mail.cc_count = 0;
    mail.subject_urgent = chance(random, 60);
    mail.subject_currency = chance(random, 25);
    mail.url_count = random.random_range(0..3);
    mail.url_text_mismatch = i32::from(chance(random, 45));
    mail.subject_re_fwd = chance(random, 35);
    mail.in_reply_to = false;
}

fn exact_domain(random: &mut Random, org: &Org, world: &World) -> Mail {
    let bot = pick(random, &world.botnet);
    let colleague = Correspondent { person: pick(random, &org.staff).clone(), host: bot.clone() };
    let mut mail = plain(random, org, &colleague);
    from_bot(&mut mail, random, bot);
    bait(&mut mail, random);
    mail.spf = text("fail");
    mail.dkim = text("none");
    mail.dkim_domains.clear();
    mail.dmarc = text("fail");
    mail
}

fn display_name(random: &mut Random, org: &Org, world: &World) -> Mail {
    let bot = pick(random, &world.botnet);
    let domain = *pick(random, &FREE_MAIL);
    let mut from = Correspondent { person: pick(random, &org.staff).clone(), host: Host::random(random, domain) };
    from.person.address = format!("office{}@{domain}", random.random_range(0..9_000));
    domain.clone_into(&mut from.person.domain);
    let mut mail = plain(random, org, &from);
    bait(&mut mail, random);
    // The free-mail provider vouches for itself: authentication passes.
    mail.origin_ip = Some(bot.ip.clone());
    mail
}

fn look_alike(random: &mut Random, org: &Org) -> Mail {
    let mut from = pick(random, &org.known).clone();
    let domain = from.person.domain.replacen('a', "4", 1).replacen("tner", "tnerr", 1);
    from.host = Host::random(random, &domain);
    from.person.address = from.person.address.replace(&from.person.domain, &domain);
    from.person.domain = domain;
    let mut mail = plain(random, org, &from);
    bait(&mut mail, random);
    mail
}

fn reply_to(random: &mut Random, org: &Org, world: &World) -> Mail {
    let bot = pick(random, &world.botnet);
    let from = pick(random, &org.known);
    let mut mail = plain(random, org, from);
    from_bot(&mut mail, random, bot);
    bait(&mut mail, random);
    mail.reply_to = Some(format!("accounts{}@{}", random.random_range(0..999), pick(random, &FREE_MAIL)));
    mail.spf = text("softfail");
    mail.dkim = text("none");
    mail.dkim_domains.clear();
    mail.dmarc = text("fail");
    mail
}
