//! What every other story takes for granted: programs of ours run in pods, and pods find each other, us, and we them.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::cluster::{Namespace, binary, container, eventually, image, steady_nodes};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_an_image_of_ours_runs_and_says_what_the_program_says_here() {
    let _nodes = steady_nodes().await;
    let millrace = binary("millrace");
    let here = Command::new(&millrace).arg("--version").output().unwrap();

    let own = Namespace::new("pod");
    own.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "version"},
        "spec": {"restartPolicy": "Never", "containers": [container(&image("millrace", &millrace), &["--version"])]},
    }));

    let phase = || own.get("pod", "version")["status"]["phase"].as_str().map(str::to_owned);
    let ended = eventually("the pod ends", || phase().filter(|phase| phase == "Succeeded" || phase == "Failed")).await;
    assert_eq!(ended, "Succeeded");
    assert_eq!(own.kubectl(["logs", "version"]), String::from_utf8(here.stdout).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_found_by_its_name_on_every_node_and_by_its_address_on_this_machine() {
    let _nodes = steady_nodes().await;
    let own = Namespace::new("service");
    let socat = image("socat", Path::new("/usr/bin/socat"));
    let labels = json!({"app": "server"});
    let mut server = container(&socat, &["-U", "TCP-LISTEN:8080,reuseaddr,fork", "OPEN:/etc/hostname"]);
    server["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    own.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", "labels": labels},
        "spec": {"nodeName": "node2", "hostname": "answer", "containers": [server]},
    }));
    own.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }));
    own.kubectl(["wait", "--for=condition=Ready", "pod/server", "--timeout=60s"]);

    let name = format!("TCP:server.{}.svc.cluster.local:80", own.name());
    for node in ["node1", "node2"] {
        own.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": node},
            "spec": {"nodeName": node, "restartPolicy": "OnFailure", "containers": [container(&socat, &["-u", &name, "STDOUT"])]},
        }));
        own.kubectl(["wait", "--for=jsonpath={.status.phase}=Succeeded", &format!("pod/{node}"), "--timeout=60s"]);
        assert_eq!(own.kubectl(["logs", node]), "answer\n", "from {node}");
    }

    let address = own.get("service", "server")["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let mut answer = String::new();
    let mut connection = std::net::TcpStream::connect((address.as_str(), 80)).unwrap();
    std::io::Read::read_to_string(&mut connection, &mut answer).unwrap();
    assert_eq!(answer, "answer\n");
}
