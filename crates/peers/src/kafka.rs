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

/// How a broker is started.
#[derive(Debug, Default)]
pub struct Settings<'s> {
    /// Messages of up to so many bytes; 0 leaves it to the broker, which takes a megabyte.
    pub message_bytes_max: usize,
    /// With listeners for TLS and SASL too, for the name `localhost`.
    pub secure: Option<Secure<'s>>,
}

/// What listeners for TLS have, as PEM; who may come in by SASL is [`USER`] with [`PASSWORD`].
#[derive(Debug)]
pub struct Secure<'s> {
    /// Whom the broker trusts.
    pub authority: &'s str,
    pub certificate: &'s str,
    /// In PKCS #8.
    pub key: &'s str,
}

pub const USER: &str = "alice";
pub const PASSWORD: &str = "a-secret of alice's";

/// A broker of its own, with no topics.
#[derive(Debug)]
pub struct RunningKafka {
    ports: Ports,
    python: PathBuf,
    java: PathBuf,
    jars: PathBuf,
    process: Option<Process>,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    controller: u16,
    /// TLS; a client may show a certificate.
    tls: u16,
    sasl: u16,
    sasl_tls: u16,
    /// TLS with a certificate of the client.
    mutual: u16,
}

/// One message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Starts a broker that takes messages of up to `message_bytes_max` and makes topics of three partitions.
pub fn start(message_bytes_max: usize) -> Result<RunningKafka, Missing> {
    start_with(&Settings {
        message_bytes_max,
        secure: None,
    })
}

/// Starts a broker that makes topics of three partitions.
pub fn start_with(settings: &Settings<'_>) -> Result<RunningKafka, Missing> {
    let mut broker = RunningKafka {
        ports: Ports {
            plain: free_port(),
            controller: free_port(),
            tls: free_port(),
            sasl: free_port(),
            sasl_tls: free_port(),
            mutual: free_port(),
        },
        python: kafka_python()?,
        java: found("java", &[]).ok_or("no java")?,
        jars: jars()?,
        process: None,
        folder: TempDir::new().map_err(|error| format!("no temporary directory: {error}"))?,
    };
    let mut text = properties_text(broker.folder.path(), broker.ports, settings.secure.is_some());
    if settings.message_bytes_max > 0 {
        text.push_str(&format!("message.max.bytes={}\n", settings.message_bytes_max));
    }
    if let Some(secure) = &settings.secure {
        text.push_str(&secure_text(broker.folder.path(), secure)?);
    }
    write(&broker.properties(), &text)?;
    let mut format = broker.command("kafka.tools.StorageTool");
    format
        .args(["format", "-t", CLUSTER_ID, "-c"])
        .arg(broker.properties());
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        format
            .arg("--add-scram")
            .arg(format!("{mechanism}=[name={USER},password=\"{PASSWORD}\"]"));
    }
    run(&mut format)?;
    broker.begin()?;
    Ok(broker)
}

impl RunningKafka {
    /// `127.0.0.1:PORT`, without TLS and SASL.
    pub fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// The listener for TLS.
    pub fn tls(&self) -> String {
        format!("localhost:{}", self.ports.tls)
    }

    /// The listener for TLS that asks clients for a certificate.
    pub fn mutual_tls(&self) -> String {
        format!("localhost:{}", self.ports.mutual)
    }

    /// The listener for SASL without TLS.
    pub fn sasl(&self) -> String {
        format!("localhost:{}", self.ports.sasl)
    }

    /// The listener for SASL over TLS.
    pub fn sasl_tls(&self) -> String {
        format!("localhost:{}", self.ports.sasl_tls)
    }

    /// Sends a signal such as `-STOP` to the broker.
    pub fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Kills the broker.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, with what it has on its disk.
    pub fn begin(&mut self) -> Result<(), Missing> {
        let mut server = self.command("kafka.Kafka");
        server.arg(self.properties());
        let mut process = Process::start(server, self.folder.path().join("log"))?;
        let port = self.ports.plain;
        process.wait_until(START_LIMIT, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn properties(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn command(&self, main: &str) -> Command {
        let mut command = Command::new(&self.java);
        command
            .args(["-Xmx256m", "-cp"])
            .arg(format!("{}/*", self.jars.display()))
            .arg(main);
        command
    }

    /// Reads `count` messages of `topic` from its beginning, partition by partition in the order they were written.
    pub fn consume(&self, topic: &str, count: usize) -> Result<Vec<Message>, String> {
        let text = self.python(CONSUMER, &[topic, &count.to_string()])?;
        text.lines()
            .map(|line| message(line).ok_or_else(|| format!("not a message: {line}")))
            .collect()
    }

    /// Reads all messages that `topic` has.
    pub fn consume_all(&self, topic: &str) -> Result<Vec<Message>, String> {
        let count = self.python(COUNT, &[topic])?;
        let count = count
            .trim()
            .parse()
            .map_err(|_| format!("not a number: {count}"))?;
        self.consume(topic, count)
    }

    /// Writes messages to partitions of `topic` by a client from the Python package index.
    pub fn produce(&self, topic: &str, messages: &[Message]) -> Result<(), String> {
        let file = self.folder.path().join(format!("{topic}.messages"));
        let text: String = messages.iter().map(line).collect();
        write(&file, &text)?;
        self.python(PRODUCER, &[topic, &file.display().to_string()])
            .map(drop)
    }

    /// Makes a topic.
    pub fn make_topic(&self, topic: &str, partitions: u32) -> Result<(), String> {
        self.python(MAKER, &[topic, &partitions.to_string()]).map(drop)
    }

    /// The committed offset of each partition of `topic` in `group`, from partition 0 on; -1 where there is none.
    pub fn committed(&self, group: &str, topic: &str, partitions: u32) -> Result<Vec<i64>, String> {
        let text = self.python(COMMITTED, &[group, topic, &partitions.to_string()])?;
        let offsets = text.split_whitespace().map(|offset| offset.parse());
        offsets
            .collect::<Result<_, _>>()
            .map_err(|_| format!("no offsets: {text}"))
    }

    /// Runs a program with the address of the broker and `arguments`; what it printed.
    fn python(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("python3")
            .env("PYTHONPATH", &self.python)
            .args(["-c", program, &self.broker()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start python3: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Prints partition, key, value and headers of each message, all but the first in hex.
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
    headers = " ".join(name.encode().hex() + "=" + value.hex() for name, value in message.headers)
    print(message.partition, key, "v" + message.value.hex(), headers)
"#;

const COUNT: &str = r#"
import sys
from kafka import KafkaConsumer, TopicPartition
broker, topic = sys.argv[1:3]
consumer = KafkaConsumer(bootstrap_servers=broker, group_id=None)
partitions = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic) or ()]
print(sum(consumer.end_offsets(partitions).values()))
"#;

/// Writes the messages of a file to their partitions, and waits until the broker has them.
const PRODUCER: &str = r#"
import sys
from kafka import KafkaProducer
broker, topic, file = sys.argv[1:4]
producer = KafkaProducer(bootstrap_servers=broker, acks="all", linger_ms=5, max_request_size=64000000,
                         max_block_ms=60000)
sent = []
for line in open(file):
    partition, key, value, *headers = line.split()
    headers = [(bytes.fromhex(name).decode(), bytes.fromhex(value)) for name, value in (h.split("=") for h in headers)]
    sent.append(producer.send(topic, partition=int(partition), headers=headers,
                              key=None if key == "-" else bytes.fromhex(key[1:]), value=bytes.fromhex(value[1:])))
producer.flush()
for one in sent:
    one.get(timeout=60)
"#;

const MAKER: &str = r#"
import sys
from kafka.admin import KafkaAdminClient, NewTopic
broker, topic, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
admin = KafkaAdminClient(bootstrap_servers=broker)
admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
"#;

const COMMITTED: &str = r#"
import sys
from kafka import KafkaConsumer, TopicPartition
broker, group, topic, partitions = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
consumer = KafkaConsumer(bootstrap_servers=broker, group_id=group, enable_auto_commit=False)
offsets = [consumer.committed(TopicPartition(topic, partition)) for partition in range(partitions)]
print(*(-1 if offset is None else offset for offset in offsets))
"#;

fn message(line: &str) -> Option<Message> {
    let mut parts = line.split_whitespace();
    let partition = parts.next()?.parse().ok()?;
    let key = match parts.next()?.strip_prefix('k') {
        Some(key) => Some(bytes(key)?),
        None => None,
    };
    let value = bytes(parts.next()?.strip_prefix('v')?)?;
    let header = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((String::from_utf8(bytes(name)?).ok()?, bytes(value)?))
    };
    Some(Message {
        partition,
        key,
        value,
        headers: parts.map(header).collect::<Option<_>>()?,
    })
}

fn line(message: &Message) -> String {
    let key = message
        .key
        .as_ref()
        .map_or("-".to_owned(), |key| format!("k{}", hex(key)));
    let headers: String = message
        .headers
        .iter()
        .map(|(name, value)| format!(" {}={}", hex(name.as_bytes()), hex(value)))
        .collect();
    format!("{} {key} v{}{headers}\n", message.partition, hex(&message.value))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|place| u8::from_str_radix(hex.get(place..place + 2)?, 16).ok())
        .collect()
}

fn properties_text(folder: &Path, ports: Ports, secure: bool) -> String {
    let Ports {
        plain,
        controller,
        tls,
        sasl,
        sasl_tls,
        mutual,
    } = ports;
    let (mut listeners, mut advertised, mut protocols) = (String::new(), String::new(), String::new());
    if secure {
        for (name, port, protocol) in [
            ("TLS", tls, "SSL"),
            ("MUTUAL", mutual, "SSL"),
            ("SASL", sasl, "SASL_PLAINTEXT"),
            ("SASLTLS", sasl_tls, "SASL_SSL"),
        ] {
            listeners.push_str(&format!(",{name}://127.0.0.1:{port}"));
            advertised.push_str(&format!(",{name}://localhost:{port}"));
            protocols.push_str(&format!(",{name}:{protocol}"));
        }
    }
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{plain}{advertised}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}\n\
         log.dirs={}\nnum.partitions=3\nauto.create.topics.enable=true\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=3\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\n",
        folder.join("data").display()
    )
}

/// The settings of the listeners with TLS and SASL, whose files are written.
fn secure_text(folder: &Path, secure: &Secure<'_>) -> Result<String, Missing> {
    let (store, authority) = (folder.join("broker.pem"), folder.join("authority.pem"));
    write(&store, &format!("{}\n{}", secure.key.trim(), secure.certificate))?;
    write(&authority, secure.authority)?;
    let mut text = format!(
        "ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
         listener.name.mutual.ssl.client.auth=required\n",
        store.display(),
        authority.display()
    );
    for listener in ["sasl", "sasltls"] {
        let at = format!("listener.name.{listener}");
        text.push_str(&format!(
            "{at}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n"
        ));
        let module = "org.apache.kafka.common.security";
        text.push_str(&format!(
            "{at}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n"
        ));
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            text.push_str(&format!(
                "{at}.{mechanism}.sasl.jaas.config={module}.scram.ScramLoginModule required;\n"
            ));
        }
    }
    Ok(text)
}

fn write(file: &Path, text: &str) -> Result<(), Missing> {
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
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
