//! Sensors in the field are never all of one version: three versions of the event's schema at once, from end to end.

use std::fmt::Write as _;

use millrace_testkit::{World, assert_eventually};
use serde_json::{Value, json};

/// Version 1 with a new field and a promoted one; version 3 also without one, and with one renamed.
fn newer(version: u32) -> String {
    let mut schema: Value = serde_json::from_str(millrace_demo::SCHEMA).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    // Added with a default.
    fields.push(json!({"name": "sandbox", "type": ["null", "string"], "default": null}));
    // Promoted.
    fields.iter_mut().filter(|field| field["name"] == "size").for_each(|field| field["type"] = json!("long"));
    if version == 3 {
        // Removed.
        fields.retain(|field| field["name"] != "x_priority");
        for field in fields.iter_mut().filter(|field| field["name"] == "url_count") {
            // Renamed.
            field["name"] = json!("links");
            field["aliases"] = json!(["url_count"]);
        }
    }
    schema.to_string()
}

/// A size that the type of version 1 does not hold.
const HUGE: u64 = 5_000_000_000;

/// What the mails of all versions have in common.
const MAIL: &str = r#"{
    "org": "northwind", "received_at": "2026-03-01T10:00:00Z", "size": 4000,
    "message_id_hash": null, "message_id_domain": "a.example", "client_ip": "198.18.1.1", "client_rdns": null,
    "helo": "mx.a.example", "client_protocol": "ESMTPS", "hops_external": 1, "origin_ip": null, "hop_seconds": 3,
    "rcpt_hash": null, "from_addr": "ada@a.example", "from_name": "Ada",
    "from_count": 1, "sender_addr": null, "reply_to": null, "to_count": 1, "cc_count": 0, "rcpt_in_to_cc": true,
    "to_domains": ["northwind.example"], "date_skew_s": 1, "date_tz_min": 60, "list_id": null,
    "list_unsubscribe": false, "precedence": null, "auto_submitted": null, "in_reply_to": false,
    "references_count": 0, "mailer": null, "x_priority": null, "mime_version": true, "header_order_hash": "aa",
    "header_count": 12, "spf": "pass", "spf_domain": null, "dkim": null, "dkim_domains": [], "dmarc": null,
    "arc_seals": 0, "domainkey_sig": false, "content_type": "text/plain", "charset": null, "cte": null,
    "part_count": 1, "has_html": false, "has_plain": true, "image_parts": 0, "attachments": [], "url_count": 7,
    "url_domains": [], "url_ip_literal": 0, "url_text_mismatch": 0, "subject_hash": null, "subject_len": 10,
    "subject_re_fwd": false, "subject_caps_ratio": 0.1, "subject_digit_ratio": 0, "subject_nonascii_ratio": 0,
    "subject_encoded": false, "subject_exclaim": 0, "subject_currency": false, "subject_urgent": false,
    "label": "unknown", "label_source": "test"
}"#;

/// A mail as JSON of that version.
fn mail(version: u32, number: usize) -> Value {
    let mut event: Value = serde_json::from_str(MAIL).unwrap();
    event["uid"] = json!(format!("v{version}-{number}"));
    event["mail_from"] = json!(format!("ada{number}@a.example"));
    if version >= 2 {
        event["sandbox"] = json!("clean");
        event["size"] = json!(HUGE);
    }
    if version == 3 {
        let fields = event.as_object_mut().unwrap();
        fields.remove("x_priority");
        let links = fields.remove("url_count").unwrap();
        fields.insert("links".to_owned(), links);
    }
    event
}

/// Publishes mails of one version with the command line.
async fn publish(world: &World, version: u32, count: usize) {
    let mut lines = String::new();
    for number in 0..count {
        writeln!(lines, "{}", mail(version, number)).unwrap();
    }
    let file = world.folder().join(format!("v{version}.ndjson"));
    std::fs::write(&file, lines).unwrap();
    let version = version.to_string();
    let args = ["publish", file.to_str().unwrap(), "--pipeline", "mail-trust", "--schema-version", &version];
    let done = world.cli(args).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_versions_of_the_event_pass_through_every_stage_into_one_table() {
    let _turn = crate::turn().await;
    let world = World::builder().start().await.unwrap();
    publish(&world, 1, 20).await;

    for version in [2, 3] {
        let file = world.documents().join("schemas/email-metadata.avsc");
        std::fs::write(&file, newer(version)).unwrap();
        let document = world.documents().join("mail-trust.yaml");
        let applied = world.cli(["pipeline", "apply", document.to_str().unwrap()]).await.unwrap();
        assert_eq!(applied.code, Some(0), "{applied:?}");
    }
    // All three at once, from different clients.
    tokio::join!(publish(&world, 2, 30), publish(&world, 3, 40), publish(&world, 1, 20));

    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust").await => 90, within: 60);
    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust_verdicts").await => 90, within: 60);
    let dead = world.cli(["dead", "list", "mail-trust", "--output", "json"]).await.unwrap();
    assert_eq!(dead.json(), json!([]), "{dead:?}");

    // One table of the newest shape: the new field, the wider one, the renamed one whatever it was called.
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail_trust WHERE sandbox = 'clean'").await, 70);
    let huge = format!("SELECT count(*) FROM pipeline.mail_trust WHERE size = {HUGE}");
    assert_eq!(world.number(&huge).await, 70);
    // Those of before the change are there a second time, and the later score wins.
    let links = "SELECT count(*) FROM pipeline.mail_trust WHERE links = 7";
    assert_eventually!(world.number(links).await => 90, within: 60);
    let scored = "SELECT count(DISTINCT score) FROM pipeline.mail_trust WHERE event_id IN ('v2-5', 'v3-5')";
    assert_eq!(world.number(scored).await, 1, "the features see the same mail in either version");
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incompatible_schema_is_refused_with_its_field() {
    let _turn = crate::turn().await;
    let world = World::builder().start().await.unwrap();
    let schema = millrace_demo::SCHEMA.replacen(
        "\"name\": \"size\",\n   \"type\": \"int\"",
        "\"name\": \"size\",\n   \"type\": \"string\"",
        1,
    );
    assert_ne!(schema, millrace_demo::SCHEMA);
    std::fs::write(world.documents().join("schemas/email-metadata.avsc"), schema).unwrap();
    let document = world.documents().join("mail-trust.yaml");
    // The plan says so already, before anything is changed.
    for args in [&["--dry-run"][..], &[]] {
        let applied = world.cli([&["pipeline", "apply", document.to_str().unwrap()], args].concat()).await.unwrap();
        assert_eq!(applied.code, Some(1), "{applied:?}");
        assert!(applied.stdout.contains("refused") && applied.stdout.contains("size"), "{applied:?}");
        assert!(applied.stderr.contains("nothing was changed") && applied.stderr.contains("size"), "{applied:?}");
    }
    world.end().await.unwrap();
}
