use serde_json::json;

use crate::support::{Replica, database};

/// Values of Confluent's own registry.
const GOLDEN: [(&str, &str); 3] = [
    (r#""string""#, "095d71cf-1255-6b9d-5e33-0ad575b3df5d"),
    (r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"#, "5530e21b-033d-de07-42ae-e76b228769c7"),
    (r#"{"type":"enum","name":"E","namespace":"x.y","symbols":["P","Q"]}"#, "4d6bd4e4-467e-10ae-b9a5-e47afc9c37af"),
];

#[tokio::test]
async fn guids_are_those_of_confluent_and_lead_back_to_the_schema() {
    let database = database().await;
    let replica = Replica::start(&database);
    for (n, (schema, guid)) in GOLDEN.into_iter().enumerate() {
        let spaced = schema.replace(':', " : ").replace(',', " ,\n ");
        let registered = replica.register(&format!("golden-{n}"), &spaced).await;
        assert_eq!(registered["guid"], guid);

        let (status, by_guid) = replica.get(&format!("/schemas/guids/{guid}?deleted=true")).await;
        assert_eq!((status, &by_guid["schema"]), (200, &json!(schema)));
        let (_, by_id) = replica.get(&format!("/schemas/ids/{}?deleted=true", registered["id"])).await;
        assert_eq!(by_id["guid"], guid);
        let (_, ids) = replica.get(&format!("/schemas/guids/{guid}/ids")).await;
        assert_eq!(ids, json!([{"context": ".", "id": registered["id"]}]));
    }
    drop(replica);
    database.remove().await.unwrap();
}
