//! Writers of several versions, one table.

use millrace_schema::Schema;
use serde_json::{Value, json};

use crate::world::{AGGREGATES, EVENT, SCORED, Score, World};

/// `subject` is renamed, `size` widened, two fields are new; one of them has the name of a column of ours.
const NEWER: &str = r#"{"type":"record","name":"Event","fields":[
    {"name":"org","type":["null","string"],"default":null},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"size","type":"long"},
    {"name":"weight","type":"double"},
    {"name":"title","type":"string","aliases":["subject"]},
    {"name":"source","type":["null","string"],"default":null},
    {"name":"tags","type":{"type":"array","items":"string"},"default":["none"]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn several_versions_land_in_the_newest_shape() {
    let world = World::new().await;
    let old = Schema::parse(EVENT).unwrap();
    let _importer = world.stream();
    world.send("scores", vec![Score::number(1).value(SCORED, &old)]).await;
    world.wait_for_ledger(1).await;
    assert_eq!(world.text("SELECT subject FROM pipeline.mail").await, "mail 1");

    // The registry's client knows the older version as the latest for some seconds; the writer is of the newer one.
    let newer = world.add_version_quietly(SCORED + 1, NEWER);
    let mut score = Score::number(2);
    score.event = json!({"org": "o", "at": 0, "size": 1_i64 << 40, "weight": 1.5, "title": "t", "source": "s", "tags": ["x", "y"]});
    world.send("scores", vec![score.value(SCORED + 1, &newer)]).await;
    // Not with the next in one go: they are of two partitions, and the older one may come first.
    world.wait_for_ledger(2).await;
    world.send("scores", vec![Score::number(3).value(SCORED, &old)]).await;
    world.wait_for_ledger(3).await;

    let row = |id: &str| {
        format!(
            "SELECT size || ' ' || coalesce(title, '-') || ' ' || coalesce(subject, '-') || ' ' || coalesce(event_source, '-') || ' ' || source || ' ' || coalesce(tags::text, '-') FROM pipeline.mail WHERE event_id = '{id}'"
        )
    };
    assert_eq!(world.text(&row("e-1")).await, "1 - mail 1 - stream -");
    assert_eq!(world.text(&row("e-2")).await, r#"1099511627776 t - s stream ["x", "y"]"#);
    assert_eq!(
        world.text(&row("e-3")).await,
        r#"3 mail 3 - - stream ["none"]"#,
        "an old writer's field under its new name"
    );
    world.assert_aggregates_equal_rows().await;
    assert!(world.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_follows_its_fields_promotion_and_so_does_the_aggregate() {
    let world = World::new().await;
    world.write_document("{name: by_size, by: [event.size], count: true, sum: [event.size]}");
    let old = world.store_one_and_stop().await;
    let newer = world.add_version(SCORED + 1, &with_size("double"));
    let _importer = world.stream();
    let mut values = sizes(&newer, [(2, json!(7.0)), (3, json!(7.5))]);
    values.push(Score::number(4).value(SCORED, &old));
    world.send("scores", values).await;
    world.wait_for_ledger(4).await;
    assert_eq!(world.text("SELECT string_agg(size::text, ' ' ORDER BY size) FROM pipeline.mail").await, "1 4 7 7.5");
    let groups =
        "SELECT string_agg(concat_ws('/', size, count, sum_size), ' ' ORDER BY size) FROM pipeline.mail_by_size";
    assert_eq!(
        world.text(groups).await,
        "1/1/1.000000000 4/1/4.000000000 7/1/7.000000000 7.5/1/7.500000000",
        "made anew with groups of the wider type"
    );
    assert!(world.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_column_cannot_follow_only_what_does_not_fit_is_a_dead_letter() {
    let world = World::new().await;
    world.store_one_and_stop().await;
    world.pool.get().await.unwrap().batch_execute("CREATE VIEW sizes AS SELECT size FROM pipeline.mail").await.unwrap();
    let newer = world.add_version(SCORED + 1, &with_size("double"));
    let _importer = world.stream();
    world.send("scores", sizes(&newer, [(2, json!(7.0)), (3, json!(7.5)), (4, json!(8.0))])).await;
    world.wait_for_ledger(4).await;
    assert_eq!(world.text("SELECT string_agg(size::text, ' ' ORDER BY size) FROM pipeline.mail").await, "1 7 8");
    world.assert_one_dead("column size").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_no_longer_fits_its_column_is_a_dead_letter() {
    let world = World::new().await;
    let old = world.store_one_and_stop().await;
    // Nothing that Avro promotes: a registry without checks lets it pass.
    let newer = world.add_version(SCORED + 1, &with_size("string"));
    let _importer = world.stream();
    let mut values = sizes(&newer, [(2, json!("seven"))]);
    values.push(Score::number(3).value(SCORED, &old));
    world.send("scores", values).await;
    world.wait_for_ledger(3).await;
    assert_eq!(world.text("SELECT string_agg(size::text, ' ' ORDER BY size) FROM pipeline.mail").await, "1 3");
    world.assert_one_dead("column size").await;
}

fn with_size(avro_type: &str) -> String {
    EVENT.replace(r#""size","type":"int""#, &format!(r#""size","type":"{avro_type}""#))
}

/// Scores of a newer version of the event, by number and size.
fn sizes<const N: usize>(newer: &Schema, sizes: [(usize, Value); N]) -> Vec<Vec<u8>> {
    let value = |(number, size): (usize, Value)| {
        let mut score = Score::number(number);
        score.event["size"] = size;
        score.value(SCORED + 1, newer)
    };
    sizes.into_iter().map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_was_removed_keeps_its_column_and_its_aggregate() {
    let world = World::new().await;
    let old = world.store_one_and_stop().await;

    let without = EVENT.replace(r#"{"name":"weight","type":"double"},"#, "");
    let newer = world.add_version(SCORED + 1, &without);
    let mut score = Score::number(2);
    score.event.as_object_mut().unwrap().remove("weight");
    let _importer = world.stream();
    world.send("scores", vec![score.value(SCORED + 1, &newer), Score::number(6).value(SCORED, &old)]).await;
    world.wait_for_ledger(3).await;
    assert_eq!(world.text("SELECT string_agg(coalesce(round(weight::numeric, 3)::text, '-'), ' ' ORDER BY event_id) FROM pipeline.mail").await, "0.333 - 2.000");
    world.assert_aggregates_equal_rows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_that_comes_later_counts_the_rows_that_are_there() {
    let world = World::new().await;
    world.write_document("");
    let importer = world.stream();
    world.send_scores(&(0..100).map(Score::number).collect::<Vec<_>>()).await;
    world.wait_for_ledger(100).await;
    drop(importer);

    world.write_document(AGGREGATES);
    let importer = world.stream();
    world.send_scores(&(100..200).map(Score::number).collect::<Vec<_>>()).await;
    world.wait_for_ledger(200).await;
    world.assert_aggregates_equal_rows().await;
    drop(importer);

    world.write_document("{name: by_org_hour, by: [event.org], count: true}");
    let output = world.command("stream").stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("drop it, and it is made anew"), "{said}");
}
