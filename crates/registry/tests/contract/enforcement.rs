use serde_json::json;

use crate::support::{Replica, UID, database, record};

const COUNT: &str = r#"{"name":"url_count","type":"long"}"#;
const OPTIONAL: &str = r#"{"name":"url_count","type":["null","long"],"default":null}"#;

#[tokio::test]
async fn a_schema_that_cannot_read_the_latest_is_refused_on_every_replica_with_the_field() {
    let database = database().await;
    let (first, second) =
        (Replica::start(&database), Replica::start_with(&database, &["--incompatible-code", "40901"]));
    first.register("mail-value", &record(&[UID])).await;

    let (status, body) = first.try_register("mail-value", &record(&[UID, COUNT])).await;
    assert_eq!((status, &body["error_code"]), (409, &json!(409)), "{body}");
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("url_count") && message.contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{message}");

    let (status, body) = second.try_register("mail-value", &record(&[UID, COUNT])).await;
    assert_eq!((status, &body["error_code"]), (409, &json!(40901)), "{body}");

    assert_eq!(second.register("mail-value", &record(&[UID, OPTIONAL])).await["version"], 2);
    drop((first, second));
    database.remove().await.unwrap();
}

#[tokio::test]
async fn the_level_decides_against_which_versions_and_in_which_direction() {
    let database = database().await;
    let replica = Replica::start(&database);
    let (plain, wide) = (record(&[UID]), record(&[UID, COUNT]));
    replica.register("level-value", &wide).await;
    replica.register("level-value", &plain).await; // reads the wide one: backward
    // Wide again would be a reader without a default: `BACKWARD` refuses, `FORWARD` allows.
    let narrow = record(&[UID, r#"{"name":"other","type":"long"}"#]);
    for (level, allowed) in [("BACKWARD", false), ("FULL", false), ("FORWARD", true), ("NONE", true)] {
        replica.set_level("level-value", level).await;
        let path = "/compatibility/subjects/level-value/versions/latest?verbose=true";
        let (_, body) = replica.call("POST", path, Some(json!({"schema": narrow}))).await;
        assert_eq!(body["is_compatible"], json!(allowed), "{level}: {body}");
        assert_eq!(body["messages"].as_array().unwrap().is_empty(), allowed, "{level}: {body}");
    }
    // Transitive levels look at version 1 too, which has a field that this one lacks a default for.
    replica.set_level("level-value", "FORWARD_TRANSITIVE").await;
    let body = json!({"schema": narrow});
    let (_, all) = replica.call("POST", "/compatibility/subjects/level-value/versions", Some(body.clone())).await;
    assert_eq!(all, json!({"is_compatible": false}));
    let (status, one) = replica.call("POST", "/compatibility/subjects/level-value/versions/1", Some(body)).await;
    assert_eq!((status, one), (200, json!({"is_compatible": false})));
    drop(replica);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn levels_are_set_read_and_taken_back() {
    let database = database().await;
    let replica = Replica::start(&database);
    assert_eq!(replica.get("/config").await.1, json!({"compatibilityLevel": "BACKWARD"}));
    assert_eq!(replica.get("/config/s").await.1["error_code"], 40408);
    let (_, echoed) = replica.call("PUT", "/config", Some(json!({"compatibility": "full"}))).await;
    assert_eq!(echoed, json!({"compatibility": "FULL"}));
    assert_eq!(replica.get("/config/s?defaultToGlobal=true").await.1, json!({"compatibilityLevel": "FULL"}));
    replica.set_level("s", "NONE").await;
    assert_eq!(replica.get("/config/s").await.1, json!({"compatibilityLevel": "NONE"}));
    assert_eq!(replica.call("DELETE", "/config/s", None).await, (200, json!({"compatibilityLevel": "NONE"})));
    assert_eq!(replica.call("DELETE", "/config", None).await, (200, json!({"compatibilityLevel": "BACKWARD"})));
    for (body, code) in
        [(json!({"compatibility": "SIDEWAYS"}), 42203), (json!({"compatibility": "NONE", "alias": "x"}), 42205)]
    {
        let (status, answer) = replica.call("PUT", "/config/s", Some(body)).await;
        assert_eq!((status, &answer["error_code"]), (422, &json!(code)), "{answer}");
    }
    drop(replica);
    database.remove().await.unwrap();
}
