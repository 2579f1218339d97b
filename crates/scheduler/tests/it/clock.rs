//! What databases' clocks do to schedules: days on which clocks on walls are changed, and clocks that are set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use millrace_runtime::Shutdown;
use millrace_scheduler::{engine::fire_schedules, store::Store};
use millrace_testkit::assert_eventually;

use crate::world::{World, plan};

/// A clock that can be set: `now()` of every statement finds this one before Postgres' own.
const CLOCK: &str = "
    CREATE SCHEMA clock;
    CREATE TABLE clock.step (by interval NOT NULL);
    INSERT INTO clock.step VALUES ('0');
    CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS 'SELECT pg_catalog.now() + (SELECT by FROM clock.step)';
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = clock, pg_catalog, public', current_database()); END $$;";

/// A world whose clock can be set, as its replicas see it.
struct Clock {
    world: World,
    store: Store,
}

impl Clock {
    async fn new() -> Self {
        let world = World::new().await;
        world.database.pool.get().await.unwrap().batch_execute(CLOCK).await.unwrap();
        let store = world.other_replica();
        Self { world, store }
    }

    /// Sets the clock so that it is that moment now.
    async fn set(&self, moment: &str) {
        let moment: Timestamp = moment.parse().unwrap();
        let sql = "UPDATE clock.step SET by = $1::timestamptz - pg_catalog.now()";
        self.world.database.pool.get().await.unwrap().execute(sql, &[&moment]).await.unwrap();
    }

    async fn step(&self, by: &str) {
        let sql = format!("UPDATE clock.step SET by = by + interval '{by}'");
        self.world.database.pool.get().await.unwrap().batch_execute(&sql).await.unwrap();
    }

    /// Looks until nothing is left to look at now.
    async fn fire(&self) {
        while self.store.fire().await.unwrap().flows > 0 {}
    }

    /// How long until the next one is due; it is looked at then.
    async fn next(&self) -> Option<SignedDuration> {
        self.store.fire().await.unwrap().next
    }
}

/// Every moment of a schedule from one day on, fired as it comes: the clock is set to each.
async fn days(clock: &Clock, name: &str, schedule: &str, from: &str, hours: i64) -> Vec<String> {
    clock.set(&format!("{from}T00:00:00Z")).await;
    let text = format!("    a: {{noop: {{}}}}\n  schedule: {{{schedule}, overlap: allow}}\n");
    let flow = clock.store.save_plan(&plan(name, &text)).await.unwrap();
    let mut left = SignedDuration::from_hours(hours);
    loop {
        clock.fire().await;
        let Some(next) = clock.next().await.filter(|next| *next < left) else { break };
        left -= next;
        clock.step(&format!("{} milliseconds", next.as_millis() + 1)).await;
    }
    let slots = clock.store.slots(flow, None, None, 1_000).await.unwrap();
    let tell = |at: Timestamp, state: &str| format!("{} {state}", at.strftime("%dT%H:%MZ"));
    slots.iter().rev().map(|slot| tell(slot.at, slot.state.unwrap().as_str())).collect()
}

#[tokio::test]
async fn golden_days_of_four_zones_in_the_database() {
    type Golden = (&'static str, &'static str, &'static str, &'static [&'static str]);
    let golden: [Golden; 8] = [
        // New York: from -05 to -04 at 07:00Z on March 8, back at 06:00Z on November 1.
        (
            "new-york-gap",
            "cron: '30 2 * * *', timezone: America/New_York",
            "2027-03-13",
            &["13T07:30Z fired", "14T07:00Z fired"],
        ),
        (
            "new-york-skip",
            "cron: '30 2 * * *', timezone: America/New_York, dst: {gap: skip}",
            "2027-03-13",
            &["13T07:30Z fired", "14T07:00Z dst_gap"],
        ),
        (
            "new-york-fold",
            "cron: '30 1 * * *', timezone: America/New_York",
            "2027-11-07",
            &["07T05:30Z fired", "07T06:30Z dst_fold", "08T06:30Z fired"],
        ),
        (
            "new-york-both",
            "cron: '30 1 * * *', timezone: America/New_York, dst: {fold: both}",
            "2027-11-07",
            &["07T05:30Z fired", "07T06:30Z fired", "08T06:30Z fired"],
        ),
        // Berlin: from +01 to +02 at 01:00Z on March 28, back at 01:00Z on October 31.
        (
            "berlin-fold",
            "cron: '0,30 2 * * *', timezone: Europe/Berlin, dst: {fold: second}",
            "2027-10-30",
            &["30T00:30Z fired", "31T00:00Z dst_fold", "31T00:30Z dst_fold", "31T01:00Z fired", "31T01:30Z fired"],
        ),
        // Lord Howe: half an hour, from +11 to +10:30 at 15:00Z on April 3, forward at 15:30Z on October 2.
        (
            "lord-howe-fold",
            "cron: '45 1 * * *', timezone: Australia/Lord_Howe",
            "2027-04-03",
            &["03T14:45Z fired", "03T15:15Z dst_fold", "04T15:15Z fired"],
        ),
        (
            "lord-howe-gap",
            "cron: '15 2 * * *', timezone: Australia/Lord_Howe, dst: {gap: skip}",
            "2027-10-02",
            &["02T15:30Z dst_gap", "03T15:15Z fired"],
        ),
        // Kolkata never changes.
        (
            "kolkata",
            "cron: '30 2 * * *', timezone: Asia/Kolkata",
            "2027-03-27",
            &["27T21:00Z fired", "28T21:00Z fired"],
        ),
    ];
    for (name, schedule, from, expected) in golden {
        // A database of its own: a clock that goes back would be another story.
        let clock = Clock::new().await;
        assert_eq!(days(&clock, name, schedule, from, 47).await, expected, "{name}");
        let runs = expected.iter().filter(|slot| slot.ends_with(" fired")).count() as i64;
        assert_eq!(clock.world.number("SELECT count(*) FROM scheduler.run").await, runs, "{name}");
        clock.world.database.remove().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_repeats_no_moment_and_loses_none() {
    let clock = Clock::new().await;
    clock.set("2027-06-01T12:00:30Z").await;
    let text = "    a: {noop: {}}\n  schedule: {every: 1m, overlap: allow, catchup: {policy: all}}\n";
    let flow = clock.store.save_plan(&plan("stepped", text)).await.unwrap();
    let shutdown = Shutdown::new();
    let looking: Vec<_> =
        (0..2).map(|_| tokio::spawn(fire_schedules(clock.world.other_replica(), shutdown.clone()))).collect();
    let moments = "SELECT count(*) FROM scheduler.slot WHERE state IN (1, 2)";
    // Forward over five of them, back over three, and forward again over those and two more.
    clock.step("5 minutes").await;
    assert_eventually!(clock.world.number(moments).await => 5, within: 20);
    clock.step("-3 minutes").await;
    // Nothing is due for longer than anybody looks away; so that this is seen, a notification has them look.
    clock.world.database.pool.get().await.unwrap().batch_execute("NOTIFY millrace_scheduler_schedules").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(clock.world.number(moments).await, 5, "what was accounted for is not again");
    clock.step("5 minutes").await;
    assert_eventually!(clock.world.number(moments).await => 7, within: 20);
    shutdown.trigger();
    for looking in looking {
        looking.await.unwrap().unwrap();
    }
    let slots = clock.store.slots(flow, None, None, 1_000).await.unwrap();
    let mut at: Vec<Timestamp> = slots.iter().map(|slot| slot.at).collect();
    at.sort_unstable();
    assert!(at.windows(2).all(|pair| pair[1].duration_since(pair[0]) == SignedDuration::from_mins(1)), "{at:?}");
    assert_eq!(clock.world.number("SELECT count(*) FROM scheduler.run").await, 7);
    clock.world.database.remove().await.unwrap();
}
