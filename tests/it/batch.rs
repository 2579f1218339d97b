//! The batch path, whole: a partner's files are delivered and scored by workflows, S3 tells the importer, and they are rows.

use millrace_testkit::{World, assert_eventually};

/// Mails of a delivery: four files of five hundred.
const MAILS: i64 = 2_000;
const DAGS: [&str; 2] = ["mail-trust-partner", "mail-trust-scoring"];

#[tokio::test(flavor = "multi_thread")]
async fn a_partners_files_are_rows_by_workflows_alone() {
    let _turn = crate::turn().await;
    let world = World::builder().start().await.unwrap();
    // The demo's own, as `make up` applies them, but for their pace.
    let folder = world.folder().join("documents");
    millrace_demo::write_documents(&folder).unwrap();
    let file = millrace_demo::write_dags(&folder, world.stack().dir()).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let often = text.replace("every: 2m", "every: 10s");
    assert_ne!(often, text, "the demo's workflows have another pace");
    std::fs::write(&file, often).unwrap();
    let applied = world.cli(["dag", "apply", file.to_str().unwrap()]).await.unwrap();
    assert_eq!(applied.code, Some(0), "{applied:?}");

    let scored = "SELECT least(count(*), 2) FROM scheduler.run r JOIN scheduler.flow f ON f.id = r.flow_id WHERE f.dag = 'mail-trust-scoring' AND r.state = 10";
    assert_eventually!(world.number(scored).await => 2, within: 120);
    for dag in DAGS {
        assert_eq!(world.cli(["dag", "pause", dag]).await.unwrap().code, Some(0));
    }
    let open = "SELECT count(*) FROM scheduler.run WHERE state < 10";
    // One that waits for files that nobody delivers any more is told to end.
    let waiting = "SELECT r.id::text FROM scheduler.run r JOIN scheduler.flow f ON f.id = r.flow_id WHERE f.dag = 'mail-trust-scoring' AND r.state < 10";
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    for run in world.texts(waiting).await {
        world.cli(["dag", "cancel", run.as_str()]).await.unwrap();
    }
    assert_eventually!(world.number(open).await => 0, within: 60);

    let runs = world.number(&scored.replace("least(count(*), 2)", "count(*)")).await;
    let rows = "SELECT count(*) FROM pipeline.mail_trust WHERE source = 'batch'";
    assert_eventually!(world.number(rows).await => runs * MAILS, within: 60);
    let named = "SELECT count(DISTINCT event_id) FROM pipeline.mail_trust m JOIN importer.objects o ON o.id = m.imported_from \
                 WHERE o.key LIKE 'mail-trust/scores/%.scored.avro' AND m.model = 'mail-trust' AND jsonb_array_length(m.reasons) > 0";
    assert_eq!(world.number(named).await, runs * MAILS);
    let sums = "SELECT (SELECT sum(count) FROM pipeline.mail_trust_by_org_hour)::bigint - (SELECT count(*) FROM pipeline.mail_trust)";
    assert_eq!(world.number(sums).await, 0);

    // Once more by hand: the same commands, and nothing changes.
    let key = "SELECT split_part(substr(key, length('mail-trust/scores/') + 1), '/', 1) FROM importer.objects ORDER BY id LIMIT 1";
    let delivery = world.texts(key).await.remove(0);
    let bucket = world.env("MILLRACE_BATCH_BUCKET");
    let document = folder.join("mail-trust.yaml");
    let (input, to) =
        (format!("s3://{bucket}/mail-trust/inbox/{delivery}/"), format!("s3://{bucket}/mail-trust/scores/"));
    let models = world.stack().models().display().to_string();
    let args = ["batch", "--pipeline", document.to_str().unwrap(), "--models", &models, "--to", &to, &input]
        .map(str::to_owned);
    let done = world.run("millrace-scorer", args).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    let again = format!(
        "SELECT count(*) FROM importer.objects WHERE key LIKE 'mail-trust/scores/{delivery}/%' AND generation = 2"
    );
    assert_eventually!(world.number(&again).await => 4, within: 60);
    assert_eq!((world.number(rows).await, world.number(sums).await), (runs * MAILS, 0));
    world.end().await.unwrap();
}
