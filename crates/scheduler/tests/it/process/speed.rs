use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use super::*;

const ATTEMPTS: usize = 3_000;
const AT_ONCE: usize = 16;

/// `cargo test --release -p millrace-scheduler --test it process::speed -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn attempts_of_a_command_that_does_nothing() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores, {AT_ONCE} at once, {ATTEMPTS} of each\n| what | per second | CPU ms each |\n|---|---|---|"
    );
    let floor = rate(|_| async {
        let status = tokio::process::Command::new("/bin/true").status().await.unwrap();
        assert!(status.success());
    })
    .await;
    println!("| /bin/true, spawned and waited for: the floor | {floor} |");
    let bare = rate(|_| async {
        // Without a folder.
        let shim = env!("CARGO_BIN_EXE_millrace-shim");
        tokio::process::Command::new(shim).status().await.unwrap();
    })
    .await;
    println!("| the shim, doing nothing | {bare} |");
    for (place, folder) in [("on the disk", std::env::temp_dir()), ("in memory", PathBuf::from("/dev/shm"))] {
        let machine = Machine::inside(&folder, Duration::from_mins(1));
        let scheduler = machine.scheduler();
        let processes = scheduler.clone();
        let attempts = rate(move |n| {
            let (processes, spec) = (processes.clone(), command(&["/bin/true"]));
            async move {
                let attempt = attempt(&format!("speed-{n}"));
                let ended = processes.run(&attempt, &spec, Begin::New, &CancellationToken::new()).await;
                assert_eq!(ended.end, End::Succeeded(None));
            }
        })
        .await;
        println!("| attempts of /bin/true, folders {place} | {attempts} |");
        let (began, cpu) = (Instant::now(), cpu());
        assert_eq!(scheduler.sweep(Duration::ZERO).await.unwrap(), ATTEMPTS);
        println!("| folders swept {place} | {} |", each(began, cpu));
    }
}

async fn rate<F: Future<Output = ()> + Send + 'static>(once: impl Fn(usize) -> F + Clone + Send + 'static) -> String {
    let next = Arc::new(AtomicUsize::new(0));
    let (began, cpu) = (Instant::now(), cpu());
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (next, once) = (Arc::clone(&next), once.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= ATTEMPTS {
                        return;
                    }
                    once(n).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    each(began, cpu)
}

/// What one took: its share of the time, and of the processors' time of this process and of all that it has waited for.
fn each(began: Instant, before: f64) -> String {
    let rate = ATTEMPTS as f64 / began.elapsed().as_secs_f64();
    format!("{rate:.0} | {:.2}", (cpu() - before) / ATTEMPTS as f64)
}

/// In milliseconds: `proc_pid_stat(5)`, fields 14 to 17, in hundredths of seconds.
fn cpu() -> f64 {
    let stat = read(Path::new("/proc/self/stat"));
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(4);
    fields.map(|ticks| ticks.parse::<f64>().unwrap() * 10.0).sum()
}
