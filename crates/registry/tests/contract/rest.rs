use serde_json::{Value, json};

use crate::support::{Replica, UID, database, record};

const NUMBER: &str = r#"{"name":"n","type":"int","default":0}"#;

#[tokio::test]
async fn every_refusal_has_confluents_code() {
    let database = database().await;
    let replica = Replica::start(&database);
    replica.register("known", &record(&[UID])).await;
    let schema = |text: &str| Some(json!({"schema": text}));
    let nested = json!({"schema": record(&[UID]), "references": [{"name": "x", "subject": "nowhere", "version": 1}]});
    let cases: Vec<(&str, &str, Option<Value>, u16, u64)> = vec![
        ("GET", "/subjects/unknown/versions", None, 404, 40401),
        ("GET", "/subjects/unknown/versions/1", None, 404, 40401),
        ("GET", "/subjects/known/versions/9", None, 404, 40402),
        ("GET", "/subjects/known/versions/zero", None, 422, 42202),
        ("GET", "/schemas/ids/999999", None, 404, 40403),
        ("GET", "/schemas/guids/00000000-0000-0000-0000-000000000000", None, 404, 40403),
        ("POST", "/subjects/unknown", schema(&record(&[UID])), 404, 40401),
        ("POST", "/subjects/known", schema(&record(&[UID, NUMBER])), 404, 40403),
        ("POST", "/subjects/known/versions", schema("{"), 422, 42201),
        (
            "POST",
            "/subjects/known/versions",
            schema(r#"{"type":"record","name":"A","fields":[{"name":"a","type":"nope"}]}"#),
            422,
            42201,
        ),
        ("POST", "/subjects/known/versions", Some(nested), 422, 42201),
        ("POST", "/subjects/known/versions", Some(json!({"schema": "x", "schemaType": "PROTOBUF"})), 422, 42201),
        ("POST", "/subjects/__GLOBAL/versions", schema("\"int\""), 422, 42208),
        ("GET", "/config/known", None, 404, 40408),
        ("DELETE", "/subjects/known?permanent=true", None, 404, 40405),
        ("DELETE", "/subjects/unknown", None, 404, 40401),
        ("DELETE", "/subjects/known/versions/1?permanent=true", None, 404, 40407),
        ("GET", "/no/such/place", None, 404, 404),
        ("DELETE", "/schemas/types", None, 405, 405),
    ];
    for (method, path, body, status, code) in cases {
        let (got, answer) = replica.call(method, path, body).await;
        assert_eq!((got, &answer["error_code"]), (status, &json!(code)), "{method} {path}: {answer}");
        assert!(answer["message"].is_string());
    }
    drop(replica);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn bodies_and_media_types_have_their_limits() {
    let database = database().await;
    let replica = Replica::start(&database);
    let big = record(&[&format!(r#"{{"name":"a","type":"int","doc":"{}"}}"#, "x".repeat(1_100_000))]);
    let (status, body) = replica.try_register("big", &big).await;
    assert_eq!((status, &body["error_code"]), (422, &json!(42209)), "{body}");

    let send = |kind: &'static str, body: &'static str| {
        replica
            .request("POST", "/subjects/s/versions?normalize=False&unheard=of")
            .header("content-type", kind)
            .body(body)
    };
    let known = r#"{"schema":"\"int\"","somethingNew":null}"#;
    for kind in
        ["application/vnd.schemaregistry.v1+json", "application/json; charset=utf-8", "application/octet-stream"]
    {
        let answer = send(kind, known).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/vnd.schemaregistry.v1+json");
    }
    assert_eq!(send("text/xml", known).send().await.unwrap().status(), 415);
    assert_eq!(send("application/json", "{").send().await.unwrap().status(), 400);
    let plain = replica.request("GET", "/subjects").header("accept", "application/json").send().await.unwrap();
    assert_eq!(plain.headers()["content-type"], "application/json");
    drop(replica);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn what_is_found_is_whole() {
    let database = database().await;
    let replica = Replica::start(&database);
    let (first, second) = (record(&[UID]), record(&[UID, NUMBER]));
    let one = replica.register("a%2Fb", &first).await;
    let two = replica.register(":.:a%2Fb", &second).await;
    assert_eq!(two["version"], 2);

    let (_, latest) = replica.get("/subjects/a%2Fb/versions/latest").await;
    assert_eq!(latest, json!({"subject": "a/b", "version": 2, "id": two["id"], "guid": two["guid"], "schema": second}));
    assert_eq!(replica.get("/subjects/a%2Fb/versions/-1").await.1, latest);
    assert_eq!(replica.get("/subjects/a%2Fb/versions/1").await.1["id"], one["id"]);
    assert_eq!(replica.get("/subjects/a%2Fb/versions/1/schema").await.1["name"], "Mail");
    assert_eq!(replica.get("/subjects?subjectPrefix=:*:a").await.1, json!(["a/b"]));
    assert_eq!(replica.get("/subjects?subjectPrefix=z").await.1, json!([]));
    assert_eq!(replica.get("/subjects/a%2Fb/versions?limit=1&offset=1").await.1, json!([2]));
    let body = Some(json!({"schema": format!(" {first} ")}));
    assert_eq!(replica.call("POST", "/subjects/a%2Fb?deleted=false", body).await.1["version"], 1);
    assert_eq!(
        replica.get(&format!("/schemas/ids/{}/versions", one["id"])).await.1,
        json!([{"subject": "a/b", "version": 1}])
    );
    for (path, answer) in [
        ("/", json!({})),
        ("/schemas/types", json!(["AVRO"])),
        ("/mode/whatever", json!({"mode": "READWRITE"})),
        ("/contexts", json!(["."])),
        ("/associations/resources/-/t?resourceType=topic&associationType=value&offset=0&limit=-1", json!([])),
    ] {
        assert_eq!(replica.get(path).await, (200, answer), "{path}");
    }
    let by_id = replica.request("GET", &format!("/schemas/ids/{}", one["id"])).send().await.unwrap();
    assert!(by_id.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    drop(replica);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_deleted_version_is_hidden_first_and_its_number_never_comes_back() {
    let database = database().await;
    let replica = Replica::start(&database);
    let (first, second) = (record(&[UID]), record(&[UID, NUMBER]));
    let one = replica.register("del", &first).await;
    replica.register("del", &second).await;
    assert_eq!(replica.call("DELETE", "/subjects/del/versions/2", None).await, (200, json!(2)));
    assert_eq!(replica.call("DELETE", "/subjects/del/versions/2", None).await.1["error_code"], 40406);
    assert_eq!(replica.get("/subjects/del/versions").await.1, json!([1]));
    assert_eq!(replica.get("/subjects/del/versions?deleted=true").await.1, json!([1, 2]));
    assert_eq!(replica.get("/subjects/del/versions/2?deleted=true").await.1["deleted"], true);
    assert_eq!(replica.register("del", &second).await["version"], 3);

    assert_eq!(replica.call("DELETE", "/subjects/del", None).await, (200, json!([1, 3])));
    assert_eq!(replica.get("/subjects").await.1, json!([]));
    assert_eq!(replica.get("/subjects?deletedOnly=true").await.1, json!(["del"]));
    assert_eq!(replica.call("DELETE", "/subjects/del", None).await.1["error_code"], 40404);
    assert_eq!(replica.call("DELETE", "/subjects/del?permanent=true", None).await, (200, json!([1, 2, 3])));
    assert_eq!(replica.get("/subjects/del/versions?deleted=true").await.1["error_code"], 40401);
    // Records outlive versions: what they name stays readable.
    assert_eq!(replica.get(&format!("/schemas/ids/{}", one["id"])).await.0, 200);
    drop(replica);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn references_are_resolved_kept_and_protected() {
    let database = database().await;
    let replica = Replica::start(&database);
    replica
        .register(
            "address",
            r#"{"type":"record","name":"Address","namespace":"test","fields":[{"name":"mail","type":"string"}]}"#,
        )
        .await;
    let letter = record(&[r#"{"name":"to","type":"test.Address"}"#]);
    let references = json!([{"name": "test.Address", "subject": "address", "version": 1}]);
    let body = json!({"schema": letter, "references": references});
    let (status, registered) = replica.call("POST", "/subjects/letter/versions", Some(body)).await;
    assert_eq!((status, &registered["references"]), (200, &references), "{registered}");
    assert_eq!(replica.get("/subjects/address/versions/1/referencedby").await.1, json!([registered["id"]]));
    assert_eq!(replica.call("DELETE", "/subjects/address/versions/1", None).await.1["error_code"], 42206);
    assert_eq!(replica.get(&format!("/schemas/ids/{}", registered["id"])).await.1["references"], references);
    drop(replica);
    database.remove().await.unwrap();
}
