//! `millrace dev up`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use millrace_devstack::{self as devstack, Event, Ports, Reporter, Stack};
use tokio::sync::mpsc;

use super::{
    Place, demo, detach,
    load::Load,
    screen::Screen,
    signals::{End, Ends},
    status::Watch,
    webhooks,
};
use crate::Output;

/// Starts the whole local stack: Kafka, Postgres, all services, the demo's pipeline and model.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Base of all ports; `millrace_devstack::ports` says which is where.
    #[arg(long, value_name = "PORT", env = "MILLRACE_PORT_BASE", default_value_t = devstack::ports::DEFAULT_BASE, value_parser = clap::value_parser!(u16).range(1024..=i64::from(devstack::ports::MAX_BASE)))]
    port_base: u16,
    /// Return when all is ready, and leave it running without the demo's load; `millrace dev down` ends it.
    #[arg(long)]
    detach: bool,
    /// Mail events per second of the demo's load; 0 is none, and no batches either.
    #[arg(long, value_name = "N", env = "MILLRACE_DEMO_RATE", default_value_t = 200)]
    rate: u32,
    /// End when the process that started this one ends.
    #[arg(long)]
    with_parent: bool,
    /// Be what `--detach` leaves behind: say `ready` on standard output, then run until SIGTERM.
    #[arg(long, hide = true, conflicts_with = "detach")]
    keeper: bool,
}

/// Where to tell what happens.
type Lines = mpsc::UnboundedReceiver<String>;

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        if self.detach {
            return detach::start(&self, output).await;
        }
        let mut ends = Ends::new(self.with_parent)?;
        let (reporter, mut lines) = reporter();
        let mut screen = Screen::new(!self.keeper && std::io::stdout().is_terminal());
        let begin = Instant::now();
        let stack = tokio::select! {
            stack = self.start(reporter) => stack,
            _ = ends.next() => return Ok(()),
            () = tell(&mut lines, &mut screen) => unreachable!("the sender is in the other branch"),
        };
        while let Ok(line) = lines.try_recv() {
            screen.say(&line);
        }
        let stack = stack?;
        screen.say(&format!("all is ready after {:.1} s", begin.elapsed().as_secs_f64()));
        let result = self.stay(&stack, &mut ends, &mut lines, &mut screen).await;
        screen.say("stopping; Ctrl-C again does not wait");
        tokio::select! {
            stopped = stack.shutdown() => stopped?,
            // The guard goes on: nothing is left behind.
            _ = ends.next() => {}
        }
        result
    }

    /// The stack, to the last service and the demo's key.
    async fn start(&self, reporter: Reporter) -> anyhow::Result<Stack> {
        let documents = self.place.dir.join("pipelines");
        millrace_demo::write_documents(&documents)
            .with_context(|| format!("write the demo's documents into {}", documents.display()))?;
        let documents = self.documents()?;
        let pipeline = documents.join("mail-trust.yaml");
        let stack = Stack::builder(&self.place.dir)
            .port_base(self.port_base)
            .pipelines(&pipeline)
            .reporter(reporter.clone())
            .start()
            .await?;
        webhooks::serve(&stack).await?;
        stack.start("registry").await?;
        demo::apply(&stack, &pipeline).await?;
        // Training takes most of a first start, and the gateway does not wait for it.
        let gateway = async {
            stack.start("gateway").await?;
            demo::key(&stack).await
        };
        tokio::try_join!(demo::train(&stack, &documents, &reporter), gateway)?;
        stack.start_services().await?;
        Ok(stack)
    }

    /// Where the demo's documents are.
    fn documents(&self) -> anyhow::Result<PathBuf> {
        self.place.dir.join("pipelines").canonicalize().context("find the demo's documents")
    }

    /// Until somebody wants it to end.
    async fn stay(&self, stack: &Stack, ends: &mut Ends, lines: &mut Lines, screen: &mut Screen) -> anyhow::Result<()> {
        if self.keeper {
            // Nobody reads it any more: then who wanted this stack is gone before it was ready.
            writeln!(std::io::stdout(), "{}", detach::READY).and_then(|()| std::io::stdout().flush())?;
            ends.next().await;
            return Ok(());
        }
        for line in addresses(stack) {
            screen.say(&line);
        }
        if self.rate > 0 {
            demo::batches(stack, &self.documents()?).await?;
        }
        let load = Load::start(stack, self.rate);
        let mut watch = Watch::new(&stack.env(), stack.ports())?;
        // Rates are between two looks.
        watch.look().await;
        let every = if screen.is_live() { Duration::from_secs(1) } else { Duration::from_secs(5) };
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                end = ends.next() => {
                    if end == End::Orphaned {
                        screen.say("the process that started this one is gone");
                    }
                    return Ok(());
                }
                Some(line) = lines.recv() => screen.say(&line),
                _ = ticks.tick() => {
                    let figures = watch.look().await;
                    screen.show(&figures, load.trouble().as_deref());
                }
            }
        }
    }

    /// The same command for the keeper in the background.
    pub(super) fn keeper_args(&self) -> Vec<std::ffi::OsString> {
        let mut args: Vec<std::ffi::OsString> = ["dev", "up", "--keeper", "--dir"].map(Into::into).into();
        args.push(self.place.dir.clone().into());
        args.extend(["--port-base".into(), self.port_base.to_string().into()]);
        args
    }

    pub(super) fn dir(&self) -> &Path {
        &self.place.dir
    }
}

/// Events as lines, to be shown where the table is not.
fn reporter() -> (Reporter, Lines) {
    let (send, lines) = mpsc::unbounded_channel();
    let reporter = Reporter::new(move |event: Event| {
        // After the end nobody listens.
        let _ = send.send(event.to_string());
    });
    (reporter, lines)
}

/// Shows lines for ever.
async fn tell(lines: &mut Lines, screen: &mut Screen) {
    loop {
        match lines.recv().await {
            Some(line) => screen.say(&line),
            None => std::future::pending().await,
        }
    }
}

fn addresses(stack: &Stack) -> Vec<String> {
    let ports: Ports = stack.ports();
    let env: PathBuf = stack.dir().join("env");
    let text = |address: Option<std::net::SocketAddr>| address.map(|a| a.to_string()).unwrap_or_default();
    vec![
        format!(
            "gateway http://{} (gRPC {}), registry http://{}",
            text(ports.http(devstack::Part::Gateway)),
            text(ports.grpc(devstack::Part::Gateway)),
            text(ports.http(devstack::Part::Registry)),
        ),
        format!("Kafka {}, Postgres {}; all addresses and keys: {}", ports.kafka(), ports.postgres(), env.display()),
    ]
}
