//! Files of S3: exactly once by generation, whatever happens to the process and to the messages.

use std::time::{Duration, Instant};

use millrace_testkit::{Flaky, assert_eventually};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    files::Files,
    world::{Importer, Score, World},
};

const VISIBILITY: Duration = Duration::from_secs(30);
const GENERATIONS: &str = "SELECT coalesce(sum(generation), 0)::bigint FROM importer.objects";

fn scores(range: std::ops::Range<usize>) -> Vec<Score> {
    range.map(Score::number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_s3_tells_of_are_rows_once_however_often_it_tells() {
    let (world, files) = (World::new().await, Files::new(VISIBILITY).await);
    let importer = files.import(&world);
    let names = ["a.avro", "hour=05/b c+d%20é.avro", "empty of records.avro"];
    files.put(names[0], &scores(0..500)).await;
    files.put(names[1], &scores(500..1_200)).await;
    files.put(names[2], &[]).await;
    world.wait_for_rows(1_200).await;
    world.wait(GENERATIONS, 3).await;
    for name in names.iter().cycle().take(9) {
        files.tell_again(name).await;
    }
    files.wait_until_empty().await;
    importer.signal("TERM");
    assert!(importer.wait());

    assert_eq!((world.rows().await, world.number(GENERATIONS).await), (1_200, 3));
    world.assert_aggregates_equal_rows().await;
    let of = "SELECT count(*) FROM pipeline.mail m JOIN importer.objects o ON o.id = m.imported_from";
    assert_eq!(world.number(&format!("{of} WHERE o.key = 'scores/a.avro'")).await, 500);
    assert_eq!(world.number(&format!("{of} WHERE o.key LIKE '%b c+d\\%20é.avro'")).await, 700);
    assert_eq!(world.number("SELECT sum(rows)::bigint FROM importer.objects").await, 1_200);
    assert!(files.letters().await.is_empty());
    files.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_again_replaces_its_rows() {
    for keeps_versions in [false, true] {
        let (world, files) = (World::new().await, Files::new(VISIBILITY).await);
        if keeps_versions {
            files.objects.keep_versions(files.bucket.name()).await.unwrap();
        }
        let _importer = files.import(&world);
        files.put("other.avro", &scores(5_000..5_100)).await;
        let first = scores(0..1_000);
        // Some are gone, some have other scores of an earlier time, some are new.
        let second: Vec<Score> = (500..1_500).map(Score::number).map(|score| score.at(900, 0.25)).collect();
        let rewritten = "SELECT count(*) FROM pipeline.mail WHERE score = 0.25 AND scored_at = 'epoch'::timestamptz + interval '0.9 s'";
        for (generation, scores, quarter) in [(1, &first, 0), (2, &second, 1_000), (3, &first, 0)] {
            files.put("a.avro", scores).await;
            world
                .wait("SELECT coalesce(max(generation), 0) FROM importer.objects WHERE key LIKE '%a.avro'", generation)
                .await;
            assert_eq!(world.number(rewritten).await, quarter, "generation {generation}");
            assert_eq!(world.rows().await, 1_100);
            world.assert_aggregates_equal_rows().await;
        }
        assert_eq!(world.number("SELECT count(*) FROM pipeline.mail WHERE size < 1000").await, 1_000);
        files.wait_until_empty().await;
        // Versions are not listed, so that their bucket stays.
        if !keeps_versions {
            files.remove().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_stream_and_file_the_later_score_stays() {
    let (world, files) = (World::new().await, Files::new(VISIBILITY).await);
    let (_stream, _objects) = (world.stream(), files.import(&world));
    world.send_scores(&scores(0..1_000)).await;
    world.wait_for_ledger(1_000).await;
    // Half of them later than the stream's, half of them earlier.
    let later = |n: usize| Score::number(n).at(if n < 500 { 2_000 } else { 500 }, 0.75);
    files.put("a.avro", &(0..1_000).map(later).collect::<Vec<_>>()).await;
    world.wait(GENERATIONS, 1).await;
    let from_file = "SELECT count(*) FROM pipeline.mail WHERE imported_from IS NOT NULL AND score = 0.75";
    assert_eq!(world.number(from_file).await, 500);
    assert_eq!(world.text("SELECT concat_ws(' ', rows, lost, dead) FROM importer.objects").await, "500 500 0");
    world.assert_aggregates_equal_rows().await;

    // The stream scores some of them again: these rows are not the file's any more, and stay when it is rewritten.
    world.send_scores(&(0..100).map(|n| Score::number(n).at(3_000, 0.5)).collect::<Vec<_>>()).await;
    world.wait_for_ledger(1_100).await;
    assert_eq!(world.number(from_file).await, 400);
    files.put("a.avro", &[]).await;
    world.wait(GENERATIONS, 2).await;
    assert_eq!(world.rows().await, 600);
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail WHERE score = 0.5").await, 100);
    world.assert_aggregates_equal_rows().await;
    files.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_event_that_is_twice_in_a_file_the_later_score_stays() {
    let (world, files) = (World::new().await, Files::new(VISIBILITY).await);
    let _importer = files.import(&world);
    let twice = (0..100).flat_map(|n| {
        [Score::number(n).at(3_000, 0.3), Score::number(n).at(5_000, 0.5), Score::number(n).at(5_000, 0.4)]
    });
    files.put("a.avro", &twice.collect::<Vec<_>>()).await;
    world.wait(GENERATIONS, 1).await;
    assert_eq!(world.number("SELECT count(*) FROM pipeline.mail WHERE score = 0.5").await, 100);
    assert_eq!(world.text("SELECT concat_ws(' ', rows, lost, dead) FROM importer.objects").await, "100 200 0");
    world.assert_aggregates_equal_rows().await;
    files.remove().await;
}

/// 200 files of 2,000 rows; each is told of again, in any order; some are rewritten; S3 fails one call in ten; three importers, of
/// which one dies every moment.
#[tokio::test(flavor = "multi_thread")]
async fn importers_that_are_killed_import_each_row_once() {
    const FILES: usize = 200;
    const ROWS: usize = 2_000;
    let (world, files) = (World::new().await, Files::new(Duration::from_secs(5)).await);
    let flaky = Flaky::start(10).await.unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let import = || {
        let mut command = files.command(&world);
        command.env("AWS_ENDPOINT_URL_S3", flaky.url()).env("MILLRACE_LOG", "error");
        Importer::spawn(command)
    };
    let mut importers: Vec<Importer> = (0..3).map(|_| import()).collect();
    let sending = async {
        let name = |n: usize| format!("{n}.avro");
        for n in 0..FILES {
            files.put(&name(n), &scores(n * ROWS..(n + 1) * ROWS)).await;
        }
        let mut again: Vec<usize> = (0..FILES).collect();
        again.shuffle(&mut StdRng::seed_from_u64(8));
        for (place, n) in again.into_iter().enumerate() {
            files.tell_again(&name(n)).await;
            // Without its last row, and with other scores.
            if place < 20 {
                let rewritten = (n * ROWS..(n + 1) * ROWS - 1).map(|n| Score::number(n).at(10, 0.125));
                files.put(&name(n), &rewritten.collect::<Vec<_>>()).await;
            }
        }
    };
    let killing = async {
        let (mut kills, deadline) = (0, Instant::now() + Duration::from_mins(4));
        let all = FILES as i64;
        while kills < 15 || world.number("SELECT count(*) FROM importer.objects WHERE generation > 0").await < all {
            assert!(Instant::now() < deadline, "still importing");
            tokio::time::sleep(Duration::from_millis(random.random_range(200..900))).await;
            let victim = random.random_range(0..importers.len());
            importers.swap_remove(victim).kill();
            importers.push(import());
            kills += 1;
        }
        kills
    };
    let ((), kills) = tokio::join!(sending, killing);
    files.wait_until_empty().await;
    println!("{kills} kills, {} calls of S3 failed", flaky.failed());

    assert_eq!(world.rows().await, (FILES * ROWS - 20) as i64);
    assert_eq!(world.number("SELECT count(DISTINCT size) FROM pipeline.mail").await, (FILES * ROWS - 20) as i64);
    let rewritten =
        "SELECT count(*) FROM pipeline.mail WHERE score = 0.125 AND scored_at < 'epoch'::timestamptz + interval '1 s'";
    assert_eq!(world.number(rewritten).await, (20 * (ROWS - 1)) as i64);
    world.assert_aggregates_equal_rows().await;
    assert!(files.letters().await.is_empty());
    assert!(flaky.failed() > 20);
    files.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stays_hidden_while_it_is_worked_on_and_is_given_back_at_the_end() {
    let (world, files) = (World::new().await, Files::new(Duration::from_secs(3)).await);
    let importer = files.import(&world);
    files.put("first.avro", &scores(0..10)).await;
    world.wait(GENERATIONS, 1).await;
    // Nobody stores anything for longer than the visibility timeout.
    let mut client = world.pool.get().await.unwrap();
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE pipeline.mail IN EXCLUSIVE MODE").await.unwrap();
    files.put("slow.avro", &scores(10..20)).await;
    assert_eventually!(files.queue.depth().await.unwrap().in_flight => 1, within: 20);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(7) {
        assert_eq!(files.queue.depth().await.unwrap().visible, 0, "after {:?}", since.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    lock.rollback().await.unwrap();
    world.wait(GENERATIONS, 2).await;
    files.wait_until_empty().await;

    // What waits for room when the end comes is somebody else's at once.
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE pipeline.mail IN EXCLUSIVE MODE").await.unwrap();
    files.put("last.avro", &scores(20..30)).await;
    assert_eventually!(files.queue.depth().await.unwrap().in_flight => 1, within: 20);
    importer.signal("TERM");
    tokio::time::sleep(Duration::from_secs(1)).await;
    lock.rollback().await.unwrap();
    assert!(importer.wait());
    let _successor = files.import(&world);
    world.wait(GENERATIONS, 3).await;
    files.wait_until_empty().await;
    assert_eq!(world.rows().await, 30);
    files.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_registry_is_away_nothing_is_given_up() {
    let (world, files) = (World::new().await, Files::new(VISIBILITY).await);
    world.registry.set_away(true);
    let mut command = files.command(&world);
    command.args(["--receives", "1"]);
    let _importer = Importer::spawn(command);
    files.put("a.avro", &scores(0..100)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.number(GENERATIONS).await, 0);
    world.registry.set_away(false);
    world.wait(GENERATIONS, 1).await;
    files.wait_until_empty().await;
    assert!(files.letters().await.is_empty());
    assert_eq!(world.rows().await, 100);
    files.remove().await;
}
