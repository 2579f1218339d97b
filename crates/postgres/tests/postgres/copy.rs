use millrace_postgres::copy::{Numeric, Writer, send};
use uuid::Uuid;

use millrace_testkit::Database;

const TABLE: &str =
    "CREATE TABLE t (n bigint, d double precision, b boolean, s text, x bytea, ts timestamptz, day date,
    u uuid, m numeric, j jsonb, nothing text)";
const COPY: &str = "COPY t FROM STDIN (FORMAT binary)";

fn row(writer: &mut Writer, n: i64, text: &str) {
    writer.begin_row(11);
    writer.i64(n);
    writer.f64(-0.1);
    writer.bool(true);
    writer.text(text);
    writer.bytea(&[0, 255]);
    writer.timestamptz(1_700_000_000_123_456).unwrap();
    writer.date(-1).unwrap();
    writer.uuid(Uuid::from_u128(0xff));
    writer.numeric(&Numeric::from_i128(-1_234_567_890_123, 5).unwrap());
    writer.jsonb(br#"{"a":[1]}"#);
    writer.null();
    writer.end_row();
}

#[tokio::test]
async fn every_type_arrives_as_it_was_meant() {
    let database = Database::create("postgres").await.unwrap();
    let mut client = database.pool.get().await.unwrap();
    client.batch_execute(TABLE).await.unwrap();
    let mut writer = Writer::default();
    row(&mut writer, i64::MIN, "zuerst äß");
    writer.begin_row(11);
    writer.i64(1);
    writer.abort_row();
    row(&mut writer, 7, "");
    let rows = writer.take();
    let transaction = client.transaction().await.unwrap();
    let copy = transaction.prepare(COPY).await.unwrap();
    assert_eq!(send(&transaction, &copy, &rows, &[0..rows.len()]).await.unwrap(), 2);
    transaction.commit().await.unwrap();
    let shown: String =
        client.query_one("SELECT string_agg(t::text, E'\\n' ORDER BY n) FROM t", &[]).await.unwrap().get(0);
    let rest = r#""\\x00ff","2023-11-14 22:13:20.123456+00",1969-12-31,00000000-0000-0000-0000-0000000000ff,-12345678.90123,"{""a"": [1]}","#;
    assert_eq!(shown, format!("(-9223372036854775808,-0.1,t,\"zuerst äß\",{rest})\n(7,-0.1,t,\"\",{rest})"));
    drop(client);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn any_range_of_the_rows_can_be_sent_and_a_bad_one_is_data() {
    let database = Database::create("postgres").await.unwrap();
    let mut client = database.pool.get().await.unwrap();
    client.batch_execute(TABLE).await.unwrap();
    let mut writer = Writer::default();
    for (n, text) in [(0, "a"), (1, "b\0"), (2, "c"), (3, "d")] {
        row(&mut writer, n, text);
    }
    let rows = writer.take();
    let mut transaction = client.transaction().await.unwrap();
    let copy = transaction.prepare(COPY).await.unwrap();
    {
        let savepoint = transaction.savepoint("s").await.unwrap();
        let error = send(&savepoint, &copy, &rows, &[0..4]).await.unwrap_err();
        assert!(error.is_data() && !error.is_retriable(), "{error}");
        savepoint.rollback().await.unwrap();
    }
    assert_eq!(send(&transaction, &copy, &rows, &[0..1, 2..4, 4..4]).await.unwrap(), 3);
    assert_eq!(send(&transaction, &copy, &rows, &[]).await.unwrap(), 0);
    transaction.commit().await.unwrap();
    let ids: Vec<i64> = client.query_one("SELECT array_agg(n ORDER BY n) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(ids, [0, 2, 3]);
    drop(client);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn the_bounds_of_times_are_those_of_the_server() {
    let database = Database::create("postgres").await.unwrap();
    let mut client = database.pool.get().await.unwrap();
    client.batch_execute("CREATE TABLE b (ts timestamptz, day date)").await.unwrap();
    // The server's last moment is later than any that microseconds since 1970 can say.
    let (first, last) = (-210_866_803_200_000_000, i64::MAX);
    let (first_day, last_day) = (-2_440_588, 2_145_042_905);
    let mut writer = Writer::default();
    for (micros, day) in [(first, first_day), (last, last_day)] {
        writer.begin_row(2);
        writer.timestamptz(micros).unwrap();
        writer.date(day).unwrap();
        writer.end_row();
    }
    for micros in [first - 1, i64::MIN] {
        assert!(writer.timestamptz(micros).is_err());
    }
    for day in [first_day - 1, last_day + 1, i64::MIN, i64::MAX] {
        assert!(writer.date(day).is_err());
    }
    let rows = writer.take();
    let transaction = client.transaction().await.unwrap();
    let copy = transaction.prepare("COPY b FROM STDIN (FORMAT binary)").await.unwrap();
    assert_eq!(send(&transaction, &copy, &rows, &[0..2]).await.unwrap(), 2, "the server takes both ends");
    transaction.rollback().await.unwrap();
    drop(client);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn numerics_of_every_shape_arrive() {
    let database = Database::create("postgres").await.unwrap();
    let mut client = database.pool.get().await.unwrap();
    client.batch_execute("CREATE TABLE m (n bigint, v numeric)").await.unwrap();
    let cases = [
        (0, 0, "0"),
        (0, 3, "0.000"),
        (1, 0, "1"),
        (-1, 1, "-0.1"),
        (10_000, 0, "10000"),
        (99_999_999, 4, "9999.9999"),
        (5, 9, "0.000000005"),
        (i128::MAX, 0, "170141183460469231731687303715884105727"),
        (i128::MIN, 20, "-1701411834604692317.31687303715884105728"),
    ];
    let mut writer = Writer::default();
    for (n, (unscaled, scale, _)) in cases.iter().enumerate() {
        writer.begin_row(2);
        writer.i64(n as i64);
        writer.numeric(&Numeric::from_i128(*unscaled, *scale).unwrap());
        writer.end_row();
    }
    let rows = writer.take();
    let transaction = client.transaction().await.unwrap();
    let copy = transaction.prepare("COPY m FROM STDIN (FORMAT binary)").await.unwrap();
    send(&transaction, &copy, &rows, &[0..rows.len()]).await.unwrap();
    let texts = transaction.query("SELECT v::text FROM m ORDER BY n", &[]).await.unwrap();
    for (row, (_, _, expected)) in texts.iter().zip(cases) {
        assert_eq!(row.get::<_, &str>(0), expected);
    }
    transaction.rollback().await.unwrap();
    drop(client);
    database.remove().await.unwrap();
}
