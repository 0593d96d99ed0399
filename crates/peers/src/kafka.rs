//! Apache Kafka from Maven Central, one node in KRaft mode, and a consumer from the Python package index, which shares
//! no code with the client that is tested.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Missing, Process, found, free_port, once};

const KAFKA: &str = "4.2.1";
const KAFKA_PYTHON: &str = "3.0.12";
const START_LIMIT: Duration = Duration::from_secs(120);
/// Any 16 bytes in base64.
const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// A broker of its own, with no topics.
#[derive(Debug)]
pub struct RunningKafka {
    port: u16,
    python: PathBuf,
    process: Process,
    _folder: TempDir,
}

/// One message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

/// Starts a broker that takes messages of up to `message_bytes_max` and makes topics of three partitions.
pub fn start(message_bytes_max: usize) -> Result<RunningKafka, Missing> {
    let java = found("java", &[]).ok_or("no java")?;
    let jars = jars()?;
    let python = kafka_python()?;
    let folder = TempDir::new().map_err(|error| format!("no temporary directory: {error}"))?;
    let (port, controller) = (free_port(), free_port());
    let properties = folder.path().join("server.properties");
    let text = properties_text(folder.path(), port, controller, message_bytes_max);
    std::fs::write(&properties, text).map_err(|error| format!("cannot write settings: {error}"))?;
    let command = |main: &str| {
        let mut command = Command::new(&java);
        command
            .args(["-Xmx256m", "-cp"])
            .arg(format!("{}/*", jars.display()))
            .arg(main);
        command
    };
    let mut format = command("kafka.tools.StorageTool");
    format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&properties);
    run(&mut format)?;
    let mut server = command("kafka.Kafka");
    server.arg(&properties);
    let mut process = Process::start(server, folder.path().join("log"))?;
    process.wait_until(START_LIMIT, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    })?;
    Ok(RunningKafka {
        port,
        python,
        process,
        _folder: folder,
    })
}

impl RunningKafka {
    /// `127.0.0.1:PORT`.
    pub fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends a signal such as `-STOP` to the broker.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Reads `count` messages of `topic` from its beginning, partition by partition in the order they were written.
    pub fn consume(&self, topic: &str, count: usize) -> Result<Vec<Message>, String> {
        let output = Command::new("python3")
            .env("PYTHONPATH", &self.python)
            .args(["-c", CONSUMER, &self.broker(), topic, &count.to_string()])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start python3: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .map(|line| message(line).ok_or_else(|| format!("not a message: {line}")))
            .collect()
    }
}

/// Prints partition, key and value of each message, the latter in hex.
const CONSUMER: &str = r#"
import sys
from kafka import KafkaConsumer
broker, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = KafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest", group_id=None,
                         consumer_timeout_ms=30000, max_partition_fetch_bytes=64000000, fetch_max_bytes=64000000)
messages = []
for message in consumer:
    messages.append(message)
    if len(messages) >= count:
        break
messages.sort(key=lambda message: (message.partition, message.offset))
for message in messages:
    key = "-" if message.key is None else "k" + message.key.hex()
    print(message.partition, key, "v" + message.value.hex())
"#;

fn message(line: &str) -> Option<Message> {
    let mut parts = line.split(' ');
    let partition = parts.next()?.parse().ok()?;
    let key = match parts.next()?.strip_prefix('k') {
        Some(key) => Some(bytes(key)?),
        None => None,
    };
    let value = bytes(parts.next()?.strip_prefix('v')?)?;
    Some(Message {
        partition,
        key,
        value,
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|place| u8::from_str_radix(hex.get(place..place + 2)?, 16).ok())
        .collect()
}

fn properties_text(folder: &Path, port: u16, controller: u16, message_bytes_max: usize) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\nnum.partitions=3\nmessage.max.bytes={message_bytes_max}\nauto.create.topics.enable=true\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n",
        folder.join("data").display()
    )
}

/// The folder with the broker and all that it needs.
fn jars() -> Result<PathBuf, Missing> {
    let folder = once("kafka", |folder| {
        let pom = format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
             <groupId>peers</groupId><artifactId>kafka</artifactId><version>1</version><dependencies><dependency>\
             <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>\
             </dependency></dependencies></project>"
        );
        std::fs::write(folder.join("pom.xml"), pom)
            .map_err(|error| format!("cannot write pom.xml: {error}"))?;
        let mut maven = Command::new("mvn");
        maven
            .args([
                "-q",
                "-B",
                "dependency:copy-dependencies",
                "-DoutputDirectory=lib",
            ])
            .current_dir(folder);
        run(&mut maven)
    })?;
    Ok(folder.join("lib"))
}

fn kafka_python() -> Result<PathBuf, Missing> {
    once("kafka-python", |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(folder);
        run(pip.arg(format!("kafka-python=={KAFKA_PYTHON}")))
    })
}

/// Runs a command to its end; an error with what it printed if it failed.
fn run(command: &mut Command) -> Result<(), Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let tail: Vec<&str> = printed.lines().rev().take(10).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(format!(
        "{program} failed with {}:\n{}",
        output.status,
        tail.join("\n")
    ))
}
