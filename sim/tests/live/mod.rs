//! One coordinator and one broker, whole, on the engine, and a client node that speaks to them over
//! bare streams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{BrokerId, ServerId};
use wyrdlog::base::limits::FRAME_BYTES_MAX;
use wyrdlog::broker;
use wyrdlog::coordinator::{self, Member};
use wyrdlog::message;
use wyrdlog::runtime::{Clock, Network, Stream, watch};
use wyrdlog::wire::frame::FrameDecoder;
use wyrdlog::wire::kafka::client::{decode_response, encode_request};
use wyrdlog::wire::kafka::messages::create_topics_request::CreatableTopic;
use wyrdlog::wire::kafka::messages::{CreateTopicsRequest, MetadataRequest, Uuid};
use wyrdlog::wire::kafka::{Request, Response};
use wyrdlog_sim::engine::{EngineConfig, SimRuntime, SimStream, Simulation, Stop};
use wyrdlog_sim::product::{self, Directory};

type Reader = <SimStream as Stream>::Reader;
type Writer = <SimStream as Stream>::Writer;

pub fn coordinator_address() -> Address {
    Address::new("c1", 2181)
}

pub fn broker_address() -> Address {
    Address::new("b1", 9092)
}

/// The two nodes, and one for whoever speaks to them.
pub struct Live {
    pub simulation: Simulation,
    clients: u32,
}

impl Live {
    pub fn new(seed: u64) -> Self {
        let mut simulation = Simulation::new(seed, EngineConfig::default());
        let (server, broker) = (simulation.add_node("c1"), simulation.add_node("b1"));
        simulation.start(server, |runtime| async move {
            let peer_address = Address::new("c1", 2888);
            let member = Member { id: ServerId(1), peer_address, client_address: coordinator_address() };
            let mut config = coordinator::Config::new(ServerId(1), vec![member]);
            // The log since the last snapshot is kept in memory.
            (config.snapshot_entries, config.limits.trailing_entries) = (1_000, 100);
            let (_stay, stop) = watch::channel(false);
            Box::pin(product::coordinator(runtime, config, Directory::New, stop)).await.expect("the coordinator runs");
        });
        simulation.start(broker, |runtime| async move {
            let config = broker::Config::new(BrokerId(1), broker_address(), vec![coordinator_address()]);
            let (_stay, stop) = watch::channel(false);
            Box::pin(product::broker(runtime, config, stop)).await.expect("the broker runs");
        });
        Live { simulation, clients: 0 }
    }

    /// Runs what a client does to its end.
    pub fn client<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        within: Duration,
        act: impl FnOnce(SimRuntime) -> F + Send + 'static,
    ) -> T {
        self.clients += 1;
        let node = self.simulation.add_node(&format!("client-{}", self.clients));
        let result = Arc::new(Mutex::new(None));
        let told = result.clone();
        self.simulation.start(node, |runtime| async move {
            let done = act(runtime).await;
            *told.lock().expect("one thread") = Some(done);
        });
        let until = self.simulation.now_ns() + within.as_nanos() as u64;
        while result.lock().expect("one thread").is_none() {
            match self.simulation.run_until(until) {
                Stop::Deadline | Stop::Idle => break,
                Stop::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
        let done = result.lock().expect("one thread").take();
        done.expect("the client came to its end in time")
    }
}

/// A connection to the broker that speaks in whole frames.
pub struct Wire {
    reader: Reader,
    writer: Writer,
    decoder: FrameDecoder,
    correlation_id: i32,
}

impl Wire {
    pub async fn open(runtime: SimRuntime) -> Self {
        loop {
            if let Ok(stream) = runtime.connect(&broker_address()).await {
                let (reader, writer) = stream.split();
                return Wire { reader, writer, decoder: FrameDecoder::new(FRAME_BYTES_MAX), correlation_id: 0 };
            }
            runtime.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Writes bytes as they are. False if the connection is closed.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok()
    }

    /// The next frame without its length, or none if the connection ends.
    pub async fn read(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("the broker keeps to the protocol") {
                return Some(frame);
            }
            if !matches!(self.reader.read_buf(self.decoder.room()).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The answer to one request.
    pub async fn ask(&mut self, version: i16, request: Request) -> Response {
        self.correlation_id += 1;
        let frame = encode_request(self.correlation_id, version, None, &request).expect("it can be encoded");
        assert!(self.write(&frame.into_bytes()).await, "the broker takes {:?} {version}", request.api());
        let answer = self.read().await.unwrap_or_else(|| panic!("no answer to {:?} {version}", request.api()));
        let (correlation_id, response) = decode_response(request.api(), version, answer).expect("it can be decoded");
        assert_eq!(correlation_id, self.correlation_id);
        response
    }

    /// Has a topic of one partition created unless it is there, and waits until it is led. Its id.
    pub async fn create_topic(&mut self, runtime: SimRuntime, name: &'static str) -> Uuid {
        loop {
            let topic = message!(CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1 });
            let create = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000 });
            self.ask(7, Request::CreateTopics(create)).await;
            let all = message!(MetadataRequest { topics: None });
            let Response::Metadata(metadata) = self.ask(12, Request::Metadata(all)).await else { panic!() };
            if let Some(topic) = metadata.topics.iter().find(|topic| topic.partitions.iter().any(|p| p.leader_id == 1))
            {
                return topic.topic_id;
            }
            runtime.sleep(Duration::from_millis(200)).await;
        }
    }
}
