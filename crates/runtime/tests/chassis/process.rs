use std::time::{Duration, Instant};

use millrace_runtime::{Args, Process};
use tokio::time::sleep;

use crate::support::{get, request};

const SHORT: Duration = Duration::from_millis(200);

async fn start(budget: &str) -> Process {
    let args = Args {
        log: "info".to_owned(),
        log_format: None,
        admin_addr: "127.0.0.1:0".parse().unwrap(),
        otlp_endpoint: None,
        shutdown_budget: budget.parse().unwrap(),
        instance_id: Some("test-0".to_owned()),
    };
    args.start("test").await.unwrap()
}

#[tokio::test]
async fn a_task_that_ends_unasked_ends_the_process_in_order() {
    let mut process = start("5s").await;
    let (drained, seen) = tokio::sync::oneshot::channel();
    process.spawn("deserter", SHORT, |_| async { Ok(()) });
    process.spawn("worker", SHORT, |shutdown| async move {
        shutdown.wait().await;
        let _ = drained.send(());
        Ok(())
    });
    let error = process.run_until_signal().await.unwrap_err();
    assert_eq!(format!("{error:#}"), "task deserter failed: ended though nobody asked it to");
    seen.await.expect("the other task was asked to end, and did");
}

#[tokio::test]
async fn a_panic_is_an_error_with_the_name_of_its_task_or_thread() {
    let mut process = start("5s").await;
    process.spawn("bad task", SHORT, |_| async { panic!("of task") });
    let error = process.run_until_signal().await.unwrap_err();
    assert_eq!(format!("{error:#}"), "task bad task failed: panicked: of task");

    let mut process = start("5s").await;
    process.spawn_thread("bad thread", SHORT, |_| panic!("of thread"));
    let error = process.run_until_signal().await.unwrap_err();
    assert_eq!(format!("{error:#}"), "task bad thread failed: panicked: of thread");
}

#[tokio::test]
async fn what_outlives_its_budget_is_left_behind() {
    let mut process = start("5s").await;
    process.spawn("stubborn task", SHORT, |_| std::future::pending());
    process.shutdown().trigger();
    let began = Instant::now();
    let error = process.run_until_signal().await.unwrap_err();
    assert!(
        format!("{error:#}").contains("stubborn task failed: did not stop within its budget of 200ms"),
        "{error:#}"
    );
    assert!(began.elapsed() < Duration::from_secs(3));

    // The budget of the process bounds those of its tasks.
    let mut process = start("300ms").await;
    process.spawn_thread("stubborn thread", Duration::from_mins(1), |_| {
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    });
    process.shutdown().trigger();
    let error = process.run_until_signal().await.unwrap_err();
    assert!(format!("{error:#}").contains("draining took longer than 300ms"), "{error:#}");
}

#[tokio::test]
async fn readiness_ends_when_draining_begins_and_liveness_does_not() {
    let mut process = start("5s").await;
    let (admin, kafka, shutdown) = (process.admin_addr(), process.readiness("kafka"), process.shutdown());
    process.spawn("drains", Duration::from_secs(5), |shutdown| async move {
        shutdown.wait().await;
        sleep(Duration::from_millis(600)).await;
        Ok(())
    });
    assert_eq!(get(admin, "/readyz").await.0, 503, "not running yet");
    let running = tokio::spawn(process.run_until_signal());
    while get(admin, "/readyz").await.1 != "not ready: kafka\n" {
        sleep(Duration::from_millis(10)).await;
    }
    kafka.set(true);
    assert_eq!(get(admin, "/readyz").await, (200, "ok\n".to_owned()));

    shutdown.trigger();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(get(admin, "/readyz").await, (503, "not ready: running\n".to_owned()));
    assert_eq!(get(admin, "/livez").await.0, 200);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_admin_port_shows_metrics_and_changes_the_log_level() {
    let process = start("5s").await;
    let admin = process.admin_addr();
    process.meter().u64_counter("millrace_test_things_total").build().add(3, &[]);
    let (status, text) = get(admin, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("millrace_test_things_total 3"), "{text}");
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
    assert!(text.contains("service_instance_id=\"test-0\""), "{text}");
    assert_eq!(request(admin, "PUT", "/log-level", "nonsense=loud").await.0, 400);
    assert_eq!(get(admin, "/nowhere").await.0, 404);
}

#[tokio::test]
async fn a_job_ends_its_process_and_a_signal_does_not_end_the_job() {
    let mut process = start("5s").await;
    process.spawn("helper", SHORT, |shutdown| async move {
        shutdown.wait().await;
        Ok(())
    });
    assert_eq!(process.run_job(async { Ok(7) }).await.unwrap(), 7);

    let process = start("5s").await;
    let shutdown = process.shutdown();
    shutdown.trigger();
    let job = async move {
        shutdown.wait().await;
        sleep(SHORT).await;
        anyhow::bail!("half of it is done")
    };
    assert_eq!(process.run_job::<()>(job).await.unwrap_err().to_string(), "half of it is done");
}
