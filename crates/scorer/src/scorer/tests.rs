use millrace_core::Source;
use millrace_demo::{Generator, Settings as Stream};
use millrace_kafka::lane::Batch;
use millrace_schema::{
    FieldPath, Schema,
    client::{self, Registered},
    framing::SchemaRef,
    scored,
};
use millrace_scoring::{
    Bundle,
    features::Document,
    gbdt,
    train::{Corpus, Labels, Settings, Window, train},
};
use uuid::Uuid;

use super::*;
use crate::models::Question;

const START: i64 = 1_700_000_000_000;

/// A registry of one schema.
struct Fixed(Schema);

impl Lookup for Fixed {
    fn event(&self, _: SchemaRef) -> std::result::Result<Arc<Registered>, client::Error> {
        Ok(registered(1, &self.0))
    }

    fn scored(&self, schema: &Schema) -> std::result::Result<Arc<Registered>, client::Error> {
        Ok(registered(2, schema))
    }

    fn topic_id(&self, _: &str) -> std::result::Result<Uuid, millrace_kafka::Error> {
        Ok(Uuid::nil())
    }
}

fn registered(id: u32, schema: &Schema) -> Arc<Registered> {
    Arc::new(Registered { id, guid: schema.guid(), subject: None, version: None, schema: schema.clone() })
}

fn schema() -> Schema {
    Schema::parse(millrace_demo::SCHEMA).unwrap()
}

/// A small model; another seed is another world, and another model.
fn bundle(seed: u64) -> Arc<Bundle> {
    let document = Document::parse(&Source::parse("features.yaml", millrace_demo::FEATURES).unwrap()).unwrap();
    let path = |path| FieldPath::parse(path).unwrap();
    let labels = Labels {
        time: path("received_at"),
        field: path("label"),
        positive: vec!["spam".to_owned(), "phish".to_owned()],
        negative: vec!["ham".to_owned()],
    };
    let mut corpus = Corpus::new(schema(), labels, Window::default()).unwrap();
    let writer = corpus.writer(&schema()).unwrap();
    for labelled in Generator::new(Stream::new(seed, START)).take(1_500) {
        let mut datum = Vec::new();
        labelled.reported(false).encode(&mut datum);
        corpus.add(writer, &datum).unwrap();
    }
    let trees = gbdt::Settings { rounds: 5, leaves: 7, ..gbdt::Settings::default() };
    let settings = Settings { trees, name: millrace_demo::NAME.to_owned(), ..Settings::default() };
    Arc::new(train(&settings, &document, &corpus).unwrap())
}

struct Lane {
    scorer: Scorer,
    batch: Batch,
    out: Outputs,
}

impl Lane {
    fn new(model: &Arc<Model>) -> Self {
        let pipeline = Pipeline::parse(&Source::parse("p.yaml", millrace_demo::PIPELINE).unwrap()).unwrap();
        let metrics = Metrics::new(&opentelemetry::global::meter("test"), pipeline.name(), millrace_demo::NAME);
        let scorer = Scorer::new(&pipeline, Arc::clone(model), Box::new(Fixed(schema())), metrics).unwrap();
        let mut batch = Batch::new();
        let mut value = vec![0, 0, 0, 0, 1];
        Generator::new(Stream::new(7, START)).next().unwrap().mail.encode(&mut value);
        batch.push(("mail-trust.events", 0, 0), Some(1), Some(b"k"), Some(&value), &[]);
        Self { scorer, batch, out: Outputs::new("test", "mail-trust.dead") }
    }

    /// Header and model version of a score, or why there is none.
    fn score(&mut self) -> std::result::Result<(Option<String>, String), String> {
        self.out.clear();
        let result = self.scorer.process(&self.batch.inputs(), &mut self.out);
        result.map_err(|error| std::error::Error::source(&error).unwrap().to_string())?;
        let output = self.out.iter().next().unwrap();
        assert_eq!(output.topic, "mail-trust.scores");
        let revision = output.header(header::MODEL_REVISION).map(|text| String::from_utf8_lossy(text).into_owned());
        let (head, _) = scored::decode_head(&output.value.unwrap()[5..]).unwrap();
        Ok((revision, head.model_version.to_owned()))
    }

    /// A partition comes, with that word of its last owner.
    fn assign(&mut self, word: Option<&str>) {
        let topic = "mail-trust.events".to_owned();
        self.scorer.assigned(&[Assigned { topic, partition: 0, metadata: word.map(str::to_owned) }]);
    }
}

/// Answers every question from another thread, as a follower does.
fn answering(model: &Arc<Model>, mut act: impl FnMut(&Model) + Send + 'static) -> tokio::task::JoinHandle<()> {
    let model = Arc::clone(model);
    tokio::spawn(async move {
        loop {
            let question: Question = model.question().await;
            act(&model);
            model.answer(question);
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_scored_by_an_older_promotion_than_the_one_that_was_committed() {
    let (old, new) = (bundle(1), bundle(2));
    assert_ne!(old.version(), new.version());
    let model = Arc::new(Model::followed());
    model.replace(InUse { bundle: Arc::clone(&old), revision: 6 });
    let mut lane = Lane::new(&model);
    assert_eq!(lane.scorer.metadata().as_deref(), Some(r#"{"revision":6}"#));
    // The registry is away: it is asked, and the answer is none.
    let away = answering(&model, |_| {});
    lane.assign(Some(r#"{"revision":7}"#));
    let waits = lane.score().unwrap_err();
    assert!(waits.contains("revision 6 of the model is behind 7"), "{waits}");
    assert!(lane.out.is_empty());
    away.abort();
    // It is back: each look asks once more.
    let taken = Arc::clone(&new);
    let back = answering(&model, move |model| model.replace(InUse { bundle: Arc::clone(&taken), revision: 8 }));
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    while let Err(waits) = lane.score() {
        assert!(Instant::now() < deadline, "{waits}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(lane.score().unwrap(), (Some("8".to_owned()), new.version().to_owned()));
    assert_eq!(lane.scorer.metadata().as_deref(), Some(r#"{"revision":8}"#));
    // Another promotion of the same bundle, or an older one that comes late.
    model.replace(InUse { bundle: Arc::clone(&new), revision: 9 });
    model.replace(InUse { bundle: old, revision: 6 });
    assert_eq!(lane.score().unwrap(), (Some("9".to_owned()), new.version().to_owned()));
    back.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_comes_waits_for_the_champion_of_now() {
    let (old, new) = (bundle(1), bundle(2));
    let model = Arc::new(Model::followed());
    model.replace(InUse { bundle: old, revision: 1 });
    let mut lane = Lane::new(&model);
    let taken = Arc::clone(&new);
    let follower = answering(&model, move |model| model.replace(InUse { bundle: Arc::clone(&taken), revision: 2 }));
    // Nothing was committed, and yet nothing is scored with what is not the champion any more.
    lane.assign(None);
    assert_eq!(lane.score().unwrap(), (Some("2".to_owned()), new.version().to_owned()));
    follower.abort();
}

#[test]
fn a_model_of_a_folder_has_no_revision_and_waits_for_nobody() {
    let bundle = bundle(1);
    let mut lane = Lane::new(&Arc::new(Model::fixed(Arc::clone(&bundle))));
    assert_eq!(lane.scorer.metadata(), None);
    lane.assign(None);
    assert_eq!(lane.score().unwrap(), (None, bundle.version().to_owned()));
}
