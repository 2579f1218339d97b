//! What those see who record events and ask about them.

use millrace_proto::scheduler::v1::{
    self as pb, EventGroupState, scheduler_service_server::SchedulerService as _, why_request::What,
};
use millrace_scheduler::{
    apply::Abilities,
    exec::{Channels, Grpc, Secrets},
    service::Service,
};
use tonic::{Code, Request};

use crate::world::World;

const DAG: &str = "apiVersion: millrace.dev/v1\nkind: Dag\nmetadata: {name: inbox}\nspec:\n  params: {day: {type: string, pattern: '^20', default: '2026'}}\n  triggers:\n    \
                   five: {source: s3, if: 'event.data.size > 0', together: {count: 5, by: /data/customer, max: 1h}, params: {day: '{{ events[0].data.day }}'}}\n    \
                   all: {source: s3, type: other}\n  tasks:\n    a: {noop: {}}\n";

struct Client(Service);

impl Client {
    async fn record(&self, source: &str, events: &[(&str, &str)]) -> Result<Vec<pb::RecordedEvent>, tonic::Status> {
        let event = |(id, data): &(&str, &str)| pb::NewEvent {
            id: (*id).to_owned(),
            data: (*data).to_owned(),
            ..Default::default()
        };
        let request = pb::RecordEventsRequest { source: source.to_owned(), events: events.iter().map(event).collect() };
        Ok(self.0.record_events(Request::new(request)).await?.into_inner().events)
    }

    async fn list(&self, source: &str, id: &str) -> Vec<pb::Event> {
        let request = pb::ListEventsRequest { source: source.to_owned(), id: id.to_owned(), ..Default::default() };
        self.0.list_events(Request::new(request)).await.unwrap().into_inner().events
    }

    async fn why(&self) -> Vec<(String, Vec<String>)> {
        let inbox = pb::DagRef { dag: "inbox".to_owned(), binding: String::new() };
        let request = Request::new(pb::WhyRequest { what: Some(What::Ref(inbox)) });
        let waiting = self.0.why(request).await.unwrap().into_inner().waiting;
        waiting.into_iter().map(|it| (it.what, it.unmet)).collect()
    }
}

async fn client(world: &World) -> Client {
    let client =
        Client(Service::new(world.store.clone(), Grpc::new(Channels::new(), Secrets::default()), Abilities::default()));
    let document = pb::Document { name: "inbox.yaml".to_owned(), text: DAG.to_owned() };
    let request = pb::ApplyRequest { documents: vec![document], dry_run: false };
    assert_eq!(client.0.apply(Request::new(request)).await.unwrap().into_inner().faults, []);
    client
}

#[tokio::test]
async fn an_event_says_what_became_of_it_and_a_trigger_what_it_waits_for() {
    let world = World::new().await;
    let client = client(&world).await;
    let nothing = client.why().await;
    assert_eq!(nothing[1], ("trigger all".to_owned(), vec!["no event of source s3 waits".to_owned()]));
    let events = [
        ("a", r#"{"size": 1, "customer": "acme", "day": "2026"}"#),
        ("b", r#"{"size": 1, "customer": "acme", "day": "2026"}"#),
        ("c", r#"{"size": 0}"#),
        ("d", r#"{"size": 1}"#),
    ];
    let recorded = client.record("s3", &events).await.unwrap();
    assert_eq!(
        recorded.iter().map(|it| (it.seq, it.existed)).collect::<Vec<_>>(),
        [(1, false), (2, false), (3, false), (4, false)]
    );
    assert!(client.record("s3", &events[..1]).await.unwrap()[0].existed);
    let unseen = client.list("s3", "").await;
    assert_eq!((unseen.len(), unseen[0].id.as_str(), unseen[0].pending.len()), (4, "d", 2), "the last first");
    assert_eq!(client.why().await[2].1, ["4 events of source s3 are to be looked at"]);

    world.consume().await;
    let of = |id: &'static str| async { client.list("s3", id).await.remove(0) };
    let a = of("a").await;
    assert_eq!(
        (a.uses.len(), a.uses[0].state(), a.uses[0].key.as_str(), a.uses[0].events),
        (1, EventGroupState::EventGroupOpen, "acme", 2)
    );
    assert!(a.data.contains("acme") && a.pending.is_empty(), "{a:?}");
    assert_eq!(of("c").await.uses, [], "nothing has matched it");
    let d = of("d").await;
    assert_eq!(d.uses[0].state(), EventGroupState::EventGroupRefused);
    assert_eq!(d.uses[0].reason, "together.by: /data/customer is not there");
    let why = client.why().await;
    assert_eq!(why[2].0, "trigger five");
    assert!(why[2].1[0].starts_with("group acme: 2 of 5 events, due in 3") && why[2].1[0].ends_with(" s"), "{why:?}");

    let more: Vec<(String, String)> = (0..8)
        .map(|n| {
            (
                format!("m{n}"),
                format!(r#"{{"size": 1, "customer": "{}", "day": "1999"}}"#, if n < 3 { "acme" } else { "bolt" }),
            )
        })
        .collect();
    let more: Vec<(&str, &str)> = more.iter().map(|(id, data)| (id.as_str(), data.as_str())).collect();
    client.record("s3", &more).await.unwrap();
    assert_eq!(world.consume().await, 1);
    let run = of("a").await.uses[0].clone();
    assert_eq!((run.state(), run.events), (EventGroupState::EventGroupRun, 5));
    assert_eq!(of("m0").await.uses[0].run, run.run, "it is in the same run");
    let refused = of("m7").await.uses[0].clone();
    assert_eq!((refused.state(), refused.run), (EventGroupState::EventGroupRefused, 0));
    assert!(refused.reason.starts_with("parameter \"day\" \"1999\" does not match"), "{}", refused.reason);
    world.database.remove().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_recorded_is_said_and_nothing_is() {
    let world = World::new().await;
    let client = client(&world).await;
    let (large, long) = (format!("\"{}\"", "x".repeat(300_000)), "i".repeat(513));
    for (source, events, expected) in [
        ("a b", vec![("1", "")], "source \"a b\": expected letters"),
        ("", vec![("1", "")], "source \"\": expected letters"),
        ("s", vec![("1", ""), ("", "")], "nothing was recorded: events[1].id: expected one"),
        ("s", vec![("1", "{")], "nothing was recorded: events[0].data: is no JSON"),
        ("s", vec![("1", &large)], "nothing was recorded: events[0].data: 300002 bytes; at most 262144"),
        ("s", vec![(&long, "")], "nothing was recorded: events[0].id: 513 bytes; at most 512"),
        ("s", vec![("1", ""); 1_001], "events: 1001; at most 1000"),
    ] {
        let refused = client.record(source, &events).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(expected), "{}", refused.message());
    }
    assert_eq!(world.number("SELECT count(*) FROM scheduler.event").await, 0);
    assert_eq!(client.record("s", &[]).await.unwrap(), []);
    assert_eq!(client.record("s", &[("1", "")]).await.unwrap().len(), 1);
    assert_eq!(client.list("s", "1").await[0].data, "null");
    world.database.remove().await.unwrap();
}
