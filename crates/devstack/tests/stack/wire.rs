//! Two requests of Kafka's protocol, by hand: this crate knows no Kafka client.
//! <https://kafka.apache.org/protocol>

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CREATE_TOPICS: i16 = 19;
const METADATA: i16 = 3;

/// One partition, one replica; an error when there is one of that name.
pub(crate) fn create_topic(broker: SocketAddr, name: &str) -> Result<()> {
    let mut body = 1_i32.to_be_bytes().to_vec();
    string(&mut body, name);
    body.extend(1_i32.to_be_bytes()); // partitions
    body.extend(1_i16.to_be_bytes()); // replicas
    body.extend([0; 8]); // no assignments, no settings
    body.extend(10_000_i32.to_be_bytes()); // ms
    body.push(0); // not only validated
    let answer = ask(broker, CREATE_TOPICS, 2, &body)?;
    let mut answer = Reader(&answer);
    answer.i32(); // throttled for
    answer.i32(); // one topic
    answer.string();
    match answer.i16() {
        0 => Ok(()),
        code => Err(Error::other(format!("Kafka answered with error {code}"))),
    }
}

/// The names of all topics.
pub(crate) fn topics(broker: SocketAddr) -> Result<Vec<String>> {
    let answer = ask(broker, METADATA, 1, &(-1_i32).to_be_bytes())?;
    let mut answer = Reader(&answer);
    for _ in 0..answer.i32() {
        answer.i32();
        answer.string();
        answer.i32();
        answer.string(); // rack
    }
    answer.i32(); // controller
    let mut names = Vec::new();
    for _ in 0..answer.i32() {
        answer.i16();
        names.push(answer.string());
        answer.take(1); // internal
        for _ in 0..answer.i32() {
            answer.take(2 + 4 + 4); // error, partition, leader
            for _ in 0..2 {
                let count = answer.i32();
                answer.take(4 * count as usize); // replicas, in sync
            }
        }
    }
    Ok(names)
}

fn ask(broker: SocketAddr, api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    let mut request = [api.to_be_bytes(), version.to_be_bytes()].concat();
    request.extend(7_i32.to_be_bytes()); // correlation id
    string(&mut request, "test");
    request.extend(body);
    let mut stream = TcpStream::connect(broker)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.write_all(&(request.len() as i32).to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4))
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    /// A null one (length -1) is empty.
    fn string(&mut self) -> String {
        let length = self.i16().max(0);
        String::from_utf8_lossy(self.take(length as usize)).into_owned()
    }
}
