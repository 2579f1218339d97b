//! A lane that copies numbers from one topic to another; the tests of this crate start it and kill it.
//!
//! `copy_lane INPUT OUTPUT DEAD GROUP INSTANCE [PROTOCOL]`: a value `poison` becomes a dead letter. Ends in order when its
//! standard input does.

use std::io::Read as _;

use clap::ValueEnum as _;
use millrace_core::Code;
use millrace_kafka::{
    Args, Lane,
    args::GroupProtocol,
    lane::{Input, LaneConfig, Limits, Outputs, Processor, Unavailable},
};
use millrace_runtime::Shutdown;

struct Copy {
    output: String,
}

impl Processor for Copy {
    fn process(&mut self, batch: &[Input<'_>], out: &mut Outputs) -> Result<(), Unavailable> {
        for input in batch {
            match input.value {
                Some(b"poison") => out.dead(input, "copy", Code::Corrupt, "it is poison"),
                value => out.send(input, &self.output, value.unwrap_or_default(), &[]),
            }
        }
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, dead, group, instance] = &arguments[..5] else { anyhow::bail!("five arguments") };
    let mut kafka = Args::plaintext(std::env::var("KAFKA_BOOTSTRAP_SERVERS")?);
    if let Some(protocol) = arguments.get(5) {
        kafka.kafka_group_protocol = GroupProtocol::from_str(protocol, true).map_err(anyhow::Error::msg)?;
    }
    let config = LaneConfig {
        service: "copy",
        pipeline: "test".to_owned(),
        group: group.clone(),
        topics: vec![input.clone()],
        dead_topic: dead.clone(),
        instance_id: instance.clone(),
        index: 0,
        limits: Limits { records: 300, ..Limits::default() },
    };
    let shutdown = Shutdown::new();
    let ended = shutdown.clone();
    std::thread::spawn(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        ended.trigger();
    });
    let meter = opentelemetry::global::meter("copy_lane");
    Lane::new(&kafka.client()?, config, Copy { output: output.clone() }, meter).run(shutdown)
}
