//! One event's trace, from the gateway to the table and the verdict, as a collector sees it.

use std::sync::{Arc, Mutex};

use millrace_demo::{Generator, Settings};
use millrace_testkit::{Outcome, Sender, World, assert_eventually};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// Spans by the service that sent them.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

impl Collector {
    /// Takes spans on a free port.
    fn start() -> (Self, String) {
        let collector = Self::default();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let endpoint = format!("http://{}", incoming.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        (collector, endpoint)
    }

    fn spans(&self, service: &str, name: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        let wanted = spans.iter().filter(|(from, span)| from == service && span.name == name);
        wanted.map(|(_, span)| span.clone()).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for sent in request.into_inner().resource_spans {
            let attributes = sent.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let Some(Value::StringValue(name)) = name.and_then(|it| it.value).and_then(|it| it.value) else { continue };
            let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (name.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_sees_each_stage_and_what_it_is_linked_to() {
    let _turn = crate::turn().await;
    let (collector, endpoint) = Collector::start();
    let world = World::builder().environment("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).start().await.unwrap();
    let mut sender = Sender::new(&world, 1).unwrap();
    let mails = Generator::new(Settings::new(3, 1_767_225_600_000)).take(1).map(|it| {
        let mut datum = Vec::new();
        it.mail.encode(&mut datum);
        (it.mail.uid, datum)
    });
    let mut outcome = Outcome::default();
    sender.send(mails.collect(), &mut outcome).await.unwrap();
    assert_eq!(outcome.accepted.len(), 1);
    assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust_verdicts").await => 1, within: 60);

    let publish = "millrace.gateway.v1.EventService/Publish";
    assert_eventually!(collector.spans("millrace-gateway", publish).len() => 1, within: 30);
    let gateway = collector.spans("millrace-gateway", publish).remove(0);
    for (service, name) in [
        ("millrace-scorer", "process mail-trust.events"),
        ("millrace-importer", "process mail-trust.scores"),
        ("millrace-alerter", "process mail-trust.scores"),
        ("millrace-importer", "process mail-trust.verdicts"),
        ("millrace-alerter", "process mail-trust.verdicts"),
    ] {
        let is_linked = |span: &Span| span.links.iter().any(|link| link.span_id == gateway.span_id);
        let linked = || collector.spans(service, name).iter().filter(|span| is_linked(span)).count();
        assert_eventually!(linked() > 0 => true, within: 30);
    }
    world.end().await.unwrap();
}
