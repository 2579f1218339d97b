//! One mail's metadata, and its Avro form.

use std::borrow::Cow;

/// What a mail really is. The stream carries `Unknown`; the truth comes later, as in life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Wanted.
    Ham,
    /// Bulk that nobody asked for.
    Spam,
    /// Somebody pretends to be somebody else.
    Phish,
    /// Not said.
    Unknown,
}

/// Text that is often a constant.
pub type Text = Cow<'static, str>;

/// Metadata of an attached file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Extension, lower case.
    pub ext: Text,
    /// Media type.
    pub ctype: Text,
    /// Bytes.
    pub size: i32,
    /// First 16 hex digits of the content's SHA-256.
    pub sha256_16: String,
}

/// The record of `schemas/email-metadata.avsc`, field by field and in its order: meanings are in that file.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the schema file documents each field")]
#[expect(clippy::struct_excessive_bools, reason = "they are the record's")]
pub struct Mail {
    pub uid: String,
    pub org: Text,
    pub received_at: i64,
    pub message_id_hash: Option<String>,
    pub message_id_domain: Option<Text>,
    pub size: i32,
    pub client_ip: Option<String>,
    pub client_rdns: Option<String>,
    pub helo: Option<String>,
    pub client_protocol: Option<Text>,
    pub hops_external: i32,
    pub origin_ip: Option<String>,
    pub hop_seconds: Option<i32>,
    pub mail_from: Option<String>,
    pub rcpt_hash: Option<String>,
    pub from_addr: Option<String>,
    pub from_name: Option<String>,
    pub from_count: i32,
    pub sender_addr: Option<String>,
    pub reply_to: Option<String>,
    pub to_count: i32,
    pub cc_count: i32,
    pub rcpt_in_to_cc: Option<bool>,
    pub to_domains: Vec<String>,
    pub date_skew_s: Option<i32>,
    pub date_tz_min: Option<i32>,
    pub list_id: Option<String>,
    pub list_unsubscribe: bool,
    pub precedence: Option<Text>,
    pub auto_submitted: Option<Text>,
    pub in_reply_to: bool,
    pub references_count: i32,
    pub mailer: Option<Text>,
    pub x_priority: Option<Text>,
    pub mime_version: bool,
    pub header_order_hash: String,
    pub header_count: i32,
    pub spf: Option<Text>,
    pub spf_domain: Option<String>,
    pub dkim: Option<Text>,
    pub dkim_domains: Vec<String>,
    pub dmarc: Option<Text>,
    pub arc_seals: i32,
    pub domainkey_sig: bool,
    pub content_type: Option<Text>,
    pub charset: Option<Text>,
    pub cte: Option<Text>,
    pub part_count: i32,
    pub has_html: bool,
    pub has_plain: bool,
    pub image_parts: i32,
    pub attachments: Vec<Attachment>,
    pub url_count: i32,
    pub url_domains: Vec<String>,
    pub url_ip_literal: i32,
    pub url_text_mismatch: i32,
    pub subject_hash: Option<String>,
    pub subject_len: i32,
    pub subject_re_fwd: bool,
    pub subject_caps_ratio: f32,
    pub subject_digit_ratio: f32,
    pub subject_nonascii_ratio: f32,
    pub subject_encoded: bool,
    pub subject_exclaim: i32,
    pub subject_currency: bool,
    pub subject_urgent: bool,
    pub label: Label,
    pub label_source: Text,
    pub split: Option<Text>,
}

impl Mail {
    /// Appends the Avro datum, in the order of the schema's fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer(out);
        self.transport(&mut w);
        self.people(&mut w);
        self.headers(&mut w);
        self.content(&mut w);
        self.subject(&mut w);
        w.long(self.label as i64);
        w.text(&self.label_source);
        w.maybe_text(self.split.as_deref());
    }

    fn transport(&self, w: &mut Writer<'_>) {
        w.text(&self.uid);
        w.text(&self.org);
        w.long(self.received_at);
        w.maybe_text(self.message_id_hash.as_deref());
        w.maybe_text(self.message_id_domain.as_deref());
        w.int(self.size);
        w.maybe_text(self.client_ip.as_deref());
        w.maybe_text(self.client_rdns.as_deref());
        w.maybe_text(self.helo.as_deref());
        w.maybe_text(self.client_protocol.as_deref());
        w.int(self.hops_external);
        w.maybe_text(self.origin_ip.as_deref());
        w.maybe_int(self.hop_seconds);
    }

    fn people(&self, w: &mut Writer<'_>) {
        w.maybe_text(self.mail_from.as_deref());
        w.maybe_text(self.rcpt_hash.as_deref());
        w.maybe_text(self.from_addr.as_deref());
        w.maybe_text(self.from_name.as_deref());
        w.int(self.from_count);
        w.maybe_text(self.sender_addr.as_deref());
        w.maybe_text(self.reply_to.as_deref());
        w.int(self.to_count);
        w.int(self.cc_count);
        w.maybe_flag(self.rcpt_in_to_cc);
        w.texts(&self.to_domains);
    }

    fn headers(&self, w: &mut Writer<'_>) {
        w.maybe_int(self.date_skew_s);
        w.maybe_int(self.date_tz_min);
        w.maybe_text(self.list_id.as_deref());
        w.flag(self.list_unsubscribe);
        w.maybe_text(self.precedence.as_deref());
        w.maybe_text(self.auto_submitted.as_deref());
        w.flag(self.in_reply_to);
        w.int(self.references_count);
        w.maybe_text(self.mailer.as_deref());
        w.maybe_text(self.x_priority.as_deref());
        w.flag(self.mime_version);
        w.text(&self.header_order_hash);
        w.int(self.header_count);
        w.maybe_text(self.spf.as_deref());
        w.maybe_text(self.spf_domain.as_deref());
        w.maybe_text(self.dkim.as_deref());
        w.texts(&self.dkim_domains);
        w.maybe_text(self.dmarc.as_deref());
        w.int(self.arc_seals);
        w.flag(self.domainkey_sig);
    }

    fn content(&self, w: &mut Writer<'_>) {
        w.maybe_text(self.content_type.as_deref());
        w.maybe_text(self.charset.as_deref());
        w.maybe_text(self.cte.as_deref());
        w.int(self.part_count);
        w.flag(self.has_html);
        w.flag(self.has_plain);
        w.int(self.image_parts);
        w.array(&self.attachments, |w, attachment| {
            w.text(&attachment.ext);
            w.text(&attachment.ctype);
            w.int(attachment.size);
            w.text(&attachment.sha256_16);
        });
        w.int(self.url_count);
        w.texts(&self.url_domains);
        w.int(self.url_ip_literal);
        w.int(self.url_text_mismatch);
    }

    fn subject(&self, w: &mut Writer<'_>) {
        w.maybe_text(self.subject_hash.as_deref());
        w.int(self.subject_len);
        w.flag(self.subject_re_fwd);
        w.float(self.subject_caps_ratio);
        w.float(self.subject_digit_ratio);
        w.float(self.subject_nonascii_ratio);
        w.flag(self.subject_encoded);
        w.int(self.subject_exclaim);
        w.flag(self.subject_currency);
        w.flag(self.subject_urgent);
    }
}

/// Avro's binary encoding, as far as this record needs it. Optional fields are `[null, T]`.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn long(&mut self, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            self.0.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        self.0.push(zigzag as u8);
    }

    fn int(&mut self, value: i32) {
        self.long(i64::from(value));
    }

    fn float(&mut self, value: f32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    fn text(&mut self, value: &str) {
        self.long(value.len() as i64);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.long(i64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn maybe_text(&mut self, value: Option<&str>) {
        self.maybe(value, Self::text);
    }

    fn maybe_int(&mut self, value: Option<i32>) {
        self.maybe(value, Self::int);
    }

    fn maybe_flag(&mut self, value: Option<bool>) {
        self.maybe(value, Self::flag);
    }

    fn array<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        if !items.is_empty() {
            self.long(items.len() as i64);
            for item in items {
                write(self, item);
            }
        }
        self.long(0);
    }

    fn texts(&mut self, items: &[String]) {
        self.array(items, |w, item| w.text(item));
    }
}
