//! What a batch promises, with the real binary on local files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod files;
mod fixed;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use files::{Desk, Score, avro, avro_of, mail, open, schema, scores, set_modified, uids};
use millrace_kafka::lane::{Outputs, Processor as _};
use millrace_schema::{Schema, container, container::Codec};
use millrace_scoring::Bundle;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// All scores of a folder's files.
fn all(desk: &Desk, folder: &str) -> Vec<Score> {
    desk.files(folder).values().flat_map(|file| scores(file)).collect()
}

fn ids(scores: &[Score]) -> Vec<String> {
    let mut ids: Vec<String> = scores.iter().map(|score| score.event_id.clone()).collect();
    ids.sort();
    ids
}

#[test]
fn scores_are_those_of_the_stream_bit_for_bit() {
    let desk = Desk::new();
    let mails = mail(7, 3_000);
    for (name, codec) in [("deflate", Codec::Deflate), ("snappy", Codec::Snappy), ("zstd", Codec::Zstandard)] {
        desk.write(&format!("{name}.avro"), &avro(&mails, 170, codec));
        set_modified(&desk.path(&format!("in/{name}.avro")), 1_767_323_045);
    }
    let ran = desk.in_to_out(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert_eq!((ran.number("objects"), ran.number("records"), ran.number("failed")), (3, 9_000, 0));
    assert_eq!(ran.summary["outputs"][0]["rows"], 3_000);
    assert_eq!(ran.summary["bucket"], serde_json::Value::Null);

    let bundle = Bundle::load(&desk.path("models/mail-trust")).unwrap();
    let mut stream = fixed::scorer(&schema(), bundle);
    let (batch, mut out) = (fixed::batch(&mails), Outputs::new("test", "dead"));
    stream.process(&batch.inputs(), &mut out).unwrap();
    let streamed: Vec<Score> = out.iter().map(|output| open(&output.value.unwrap()[5..])).collect();
    assert_eq!(streamed.len(), mails.len());

    for file in desk.files("out").values() {
        let scored = scores(file);
        assert_eq!(scored.len(), mails.len());
        for (((score, streamed), mail), uid) in scored.iter().zip(&streamed).zip(&mails).zip(uids(7, 3_000)) {
            assert_eq!(score.what, streamed.what);
            assert_eq!(score.what.event, *mail, "the event's bytes are copied, in order");
            assert_eq!((&score.event_id, &score.correlation_id), (&uid, &uid));
            assert_eq!((score.received_at, &*score.source), (1_767_323_045_000, "batch"));
        }
    }
}

#[test]
fn three_shards_have_each_row_once_and_a_rerun_replaces() {
    let desk = Desk::new();
    let mails = mail(7, 8_000);
    for (number, mails) in mails.chunks(1_600).enumerate() {
        desk.write(&format!("a b+{number}%20ü.avro"), &avro(mails, 90, Codec::Zstandard));
    }
    let size = std::fs::metadata(desk.path("in/a b+0%20ü.avro")).unwrap().len();
    // Some three parts each, that begin somewhere within a block.
    let part = (size / 3 + 7).max(1024).to_string();
    let mut keys = Vec::new();
    for shard in ["0", "1", "2"] {
        let args = ["--shards", "3", "--shard", shard, "--part-size", &part];
        let ran = desk.in_to_out(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        keys.extend(ran.keys());
    }
    let first = desk.files("out");
    assert_eq!(keys.len(), first.len(), "no shard writes what another one has written");
    assert!(first.len() >= 15 && first.keys().all(|name| name.starts_with("a b+") && name.ends_with(".scored.avro")));
    let mut uids = uids(7, 8_000);
    uids.sort();
    assert_eq!(ids(&all(&desk, "out")), uids);

    // All at once, by the environment of an Indexed Job: the same files.
    let (to, from) = (desk.text("out"), desk.text("in"));
    let mut command = desk.command(&["--to", &to, &from, "--part-size", &part, "--objects", "1", "--threads", "1"]);
    let again = command.env("JOB_COMPLETION_INDEX", "0").env("MILLRACE_BATCH_SHARDS", "1").output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let second = desk.files("out");
    assert!(first.keys().eq(second.keys()));
    assert_eq!(ids(&all(&desk, "out")), uids);

    // Another content is another version, and has another name.
    desk.write("a b+0%20ü.avro", &avro(&mails[..10], 90, Codec::Zstandard));
    let hash = |name: &str| name.split("a b+0%20ü.").nth(1).map(|rest| rest[..12].to_owned());
    let changed = desk.in_to_out(&[]).keys().iter().find_map(|key| hash(key)).unwrap();
    assert!(first.keys().filter_map(|name| hash(name)).all(|hash| hash != changed));
}

#[test]
fn an_event_without_an_id_has_one_of_its_place_whatever_the_parts() {
    let desk = Desk::new();
    let document = std::fs::read_to_string(desk.path("mail-trust.yaml")).unwrap();
    assert!(document.contains("    id: uid\n"));
    std::fs::write(desk.path("mail-trust.yaml"), document.replace("    id: uid\n", "")).unwrap();
    let mut mails = mail(7, 2_000);
    // The same bytes twice are two events.
    mails[1] = mails[0].clone();
    desk.write("x.avro", &avro(&mails, 30, Codec::Deflate));
    assert_eq!(desk.in_to_out(&[]).code, Some(0));
    let whole = all(&desk, "out");
    let distinct: BTreeSet<&String> = whole.iter().map(|score| &score.event_id).collect();
    assert_eq!(distinct.len(), 2_000);
    let (to, from) = (desk.text("parts"), desk.text("in"));
    let ran = desk.run_well(&["--to", &to, &from, "--part-size", "20000"]);
    assert!(ran.number("objects") > 3, "{}", ran.summary);
    let by_event = |scores: &[Score]| -> BTreeMap<String, Vec<u8>> {
        scores.iter().map(|score| (score.event_id.clone(), score.what.event.clone())).collect()
    };
    assert_eq!(by_event(&all(&desk, "parts")), by_event(&whole));
}

#[test]
fn what_is_wrong_with_one_object_is_said_and_is_no_matter_to_the_others() {
    let desk = Desk::new();
    let mails = mail(7, 400);
    let good = avro(&mails, 100, Codec::Deflate);
    desk.write("good.avro", &good);
    desk.write("none.avro", &avro(&[], 1, Codec::Deflate));
    desk.write("empty.avro", b"");
    desk.write("text.avro", b"{\"no\": \"avro\"}");
    desk.write("cut.avro", &good[..good.len() - 100]);
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    desk.write("marker.avro", &broken);
    let mut garbage = mails[..50].to_vec();
    garbage[20] = vec![0xff; 40];
    desk.write("garbage.avro", &avro(&garbage, 50, Codec::Null));
    let foreign = Schema::parse(r#"{"type":"record","name":"W","fields":[{"name":"degrees","type":"double"}]}"#);
    desk.write("foreign.avro", &avro_of(&foreign.unwrap(), &[vec![0; 8]], 1, Codec::Null));
    let mut other: serde_json::Value = serde_json::from_str(millrace_demo::SCHEMA).unwrap();
    let fields = other["fields"].as_array_mut().unwrap();
    fields.iter_mut().find(|field| field["name"] == "from_addr").unwrap()["type"] = "boolean".into();
    let other = Schema::parse(&other.to_string()).unwrap();
    desk.write("other.avro", &avro_of(&other, &mails[..1], 1, Codec::Null));
    // A megabyte of nothing, in a few bytes.
    let bomb = avro_of(&schema(), &[vec![0; 4 << 20]], 1, Codec::Zstandard);
    assert!(bomb.len() < 100_000);
    desk.write("bomb.avro", &bomb);

    let missing = desk.text("missing.avro");
    let ran = desk.in_to_out(&["--max-block", "1048576", &missing]);
    assert_eq!(ran.code, Some(1), "{}", ran.said);
    assert_eq!((ran.number("objects"), ran.number("records"), ran.number("failed")), (2, 400, 9), "{}", ran.summary);
    let expected = [
        ("empty.avro", "0 bytes"),
        ("text.avro", "at byte 0: not a whole Avro container file"),
        ("cut.avro", "cut short"),
        ("marker.avro", "sync marker"),
        ("garbage.avro", "record 20 of the block at byte"),
        ("foreign.avro", "none of the fields of the model's features"),
        ("other.avro", "from_addr"),
        ("bomb.avro", "over the limit of 1048576"),
        ("missing.avro", "it is not there"),
    ];
    let failures = ran.summary["failures"].as_array().unwrap();
    for (name, reason) in expected {
        let failure = failures.iter().find(|failure| failure["input"].as_str().unwrap().ends_with(name));
        let failure = failure.unwrap_or_else(|| panic!("{name}: {failures:?}"));
        assert!(failure["reason"].as_str().unwrap().contains(reason), "{failure}");
        assert!(ran.said.contains(name) && ran.said.contains(reason), "{name}: {}", ran.said);
    }
    let files = desk.files("out");
    let rows: Vec<usize> = files.values().map(|file| scores(file).len()).collect();
    assert_eq!(rows, [400, 0], "{:?}", files.keys());
}

#[test]
fn a_run_that_is_ended_leaves_whole_files_and_the_next_one_does_the_rest() {
    let desk = Desk::new();
    let mails = mail(7, 3_000);
    for number in 0..60 {
        let mut mails = mails.clone();
        mails.rotate_left(number);
        desk.write(&format!("{number:02}.avro"), &avro(&mails, 100, Codec::Deflate));
    }
    let (to, from) = (desk.text("out"), desk.text("in"));
    let args = ["--to", &to, &from, "--objects", "2", "--threads", "1"];
    let whole = || {
        let done = desk.done();
        for name in &done {
            let file = std::fs::read(desk.path("out").join(name)).unwrap();
            assert_eq!(scores(&file).len(), 3_000, "{name} is whole");
        }
        done.len()
    };
    for (signal, code) in [(Signal::SIGTERM, Some(1)), (Signal::SIGKILL, None)] {
        std::fs::remove_dir_all(desk.path("out")).ok();
        let mut running = desk.begin(&args);
        let deadline = Instant::now() + Duration::from_mins(1);
        while desk.done().len() < 3 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), signal).unwrap();
        assert_eq!(running.wait().unwrap().code(), code, "{signal}");
        let done = whole();
        assert!((3..60).contains(&done), "{done} files: not in the middle");
        if signal == Signal::SIGTERM {
            assert!(desk.files("out").keys().all(|name| !name.starts_with('.')), "nothing is left behind");
        }
    }
    let ran = desk.run_well(&args);
    assert_eq!((ran.number("objects"), ran.number("records"), ran.number("undone")), (60, 180_000, 0));
    assert_eq!(whole(), 60);
}

#[test]
fn an_interval_takes_what_was_written_in_it() {
    let desk = Desk::new();
    for hour in 0..4_u64 {
        let name = format!("{hour}.avro");
        desk.write(&name, &avro(&mail(hour, 10), 10, Codec::Null));
        set_modified(&desk.path(&format!("in/{name}")), 1_767_222_000 + hour * 3600);
    }
    // 2025-12-31T23:00:00Z is 0.avro's.
    let interval = ["--modified-since", "2026-01-01T00:00:00Z", "--modified-before", "2026-01-01T02:00:00Z"];
    let ran = desk.in_to_out(&interval);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let keys = ran.keys();
    assert!(keys.len() == 2 && keys[0].contains("/1.") && keys[1].contains("/2."), "{keys:?}");
    let none = desk.in_to_out(&["--modified-since", "2027-01-01T00:00:00Z", "--log", "info"]);
    assert_eq!((none.code, none.number("objects")), (Some(0), 0), "{}", none.said);
    assert!(none.said.contains("nothing to do"), "{}", none.said);
}

#[test]
fn what_cannot_work_is_said_at_once_with_64() {
    let desk = Desk::new();
    desk.write("x.avro", b"");
    let (from, to) = (desk.text("in"), desk.text("out"));
    let says = |args: &[&str], what: &str| {
        let ran = desk.run(args);
        assert_eq!(ran.code, Some(64), "{args:?}: {}", ran.said);
        assert!(ran.said.contains(what), "{args:?}: {}", ran.said);
    };
    says(&["--to", &from, &from], "below an input");
    says(&["--to", &to, &from, "--shards", "3"], "--shard is missing");
    says(&["--to", &to, &from, "--shard", "3", "--shards", "3"], "not below the number of shards");
    says(&["--to", &to], "--bucket");
    says(&[&from], "--bucket");
    says(&["--to", "s3://b/x", &from], "ends in `/`");
    says(&["--to", &to, "gs://b/x"], "s3://");
    says(&["--to", &to, &from, "--models", &to], "millrace-scorer train");
    says(&["--to", &to, &from, "--modified-since", "yesterday"], "--modified-since");
}

/// The records are not in this repository: without them, the test says so.
#[test]
fn real_mail_of_2002_is_scored_each_record_once() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/email/spamassassin-2002-train.avro");
    let Ok(file) = std::fs::read(&path) else {
        // Not `eprintln!`, which a passing test keeps to itself.
        std::io::Write::write_all(&mut std::io::stderr(), b"skipped: ../shared/data/email is not there\n").unwrap();
        return;
    };
    let mut reader = container::Reader::new(file.as_slice(), container::Limits::default()).unwrap();
    let mut mails = Vec::new();
    while let Some(datum) = reader.next_datum() {
        mails.push(datum.unwrap().to_vec());
    }
    let desk = Desk::new();
    let (to, from) = (desk.text("out"), path.display().to_string());
    let ran = desk.run_well(&["--to", &to, &from, "--part-size", "200000"]);
    assert_eq!(ran.number("records"), mails.len() as u64);
    let mut scored: Vec<Vec<u8>> = all(&desk, "out").into_iter().map(|score| score.what.event).collect();
    scored.sort();
    mails.sort();
    assert!(scored == mails, "other records");
}
