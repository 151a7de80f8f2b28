"""Six processes as an operator starts them, ordinary clients on them, and kill -9.

Usage: cluster.py WYRD DIRECTORY SECONDS KILLS

Three coordinators and three brokers run for SECONDS while librdkafka (idempotence, acks=all) is offered
2,000 records a second, kazoo writes every 100 ms, and KILLS processes are killed with kill -9 and
started again. Who is killed is chosen by role, and the role is verified right before. Prints what it
saw, and ends with 1 if anything that is claimed does not hold.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from kazoo.retry import KazooRetry

WYRD, HOME, SECONDS, KILLS = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
TOPIC, PARTITIONS = "orders", 3
RECORDS_PER_S = 2100
# How long a killed process stays away.
AWAY_S = 3.0
RESUMES_WITHIN_S = 10.0
# Who is killed, in turn.
ROLES = ["leader 0", "controller", "coordinator leader", "leader 1", "leader 2",
         "controller", "coordinator leader", "leader 0", "coordinator", "leader 1"]
FAILURES = []


def claim(holds, what):
    print(("ok:     " if holds else "FAILED: ") + what, flush=True)
    if not holds:
        FAILURES.append(what)


def measured(holds, what):
    """A claim about time, which only counts where the machine is given to it: with ten kills."""
    if KILLS >= 10:
        claim(holds, what)
    else:
        print(("ok:     " if holds else "slow:   ") + what, flush=True)


def free_ports(count):
    """Below the ports of outgoing connections: what is free now is not taken by some client before its server starts."""
    begin, end = 10_000, 32_000
    ports, at = [], os.getpid() * 101
    while len(ports) < count:
        port, at = begin + at % (end - begin), at + 1
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    return ports


def eventually(what, look, within_s=60.0, every_s=0.1):
    begun = time.monotonic()
    while time.monotonic() - begun < within_s:
        found = look()
        if found:
            return found
        time.sleep(every_s)
    raise SystemExit(f"FAILED: not within {within_s:.0f} s: {what}")


class Process:
    """One process of the cluster, stopped by its process id."""

    def __init__(self, name, arguments):
        self.name, self.arguments = name, arguments
        self.log = os.path.join(HOME, f"{name}.log")
        self.child = None

    def start(self):
        with open(self.log, "ab") as log:
            command = [WYRD, *self.arguments, "--log-format", "json", "--log", os.environ.get("WYRD_LOG", "info")]
            self.child = subprocess.Popen(command, stdout=log, stderr=log)

    def signal(self, number):
        os.kill(self.child.pid, number)
        return self.child.wait(60)


class Cluster:
    def __init__(self):
        ports = free_ports(9)
        peers, clients, brokers = ports[:3], ports[3:6], ports[6:]
        config = os.path.join(HOME, "zoo.cfg")
        with open(config, "w") as file:
            file.write("tickTime=1000\nclientPortAddress=127.0.0.1\n")
            for n in range(3):
                file.write(f"server.{n + 1}=127.0.0.1:{peers[n]};{clients[n]}\n")
        self.zookeeper = ",".join(f"127.0.0.1:{port}" for port in clients)
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in brokers)
        self.coordinators, self.brokers, self.directories = {}, {}, {}
        for n in range(1, 4):
            own = ["--config", config, "--id", str(n), "--set", f"dataDir={HOME}/coordinator-{n}"]
            subprocess.run([WYRD, "coordinator", "format", *own], check=True)
            self.coordinators[n] = Process(f"coordinator-{n}", ["coordinator", *own])
            properties = os.path.join(HOME, f"broker-{n}.properties")
            self.directories[n] = f"{HOME}/broker-{n}"
            with open(properties, "w") as file:
                file.write(f"broker.id={n}\nlisteners=PLAINTEXT://127.0.0.1:{brokers[n - 1]}\n"
                           f"zookeeper.connect={self.zookeeper}\nlog.dirs={self.directories[n]}\n"
                           "zookeeper.session.timeout.ms=4000\nreplica.lag.time.max.ms=5000\n"
                           "default.replication.factor=3\nmin.insync.replicas=2\n")
            self.brokers[n] = Process(f"broker-{n}", ["broker", "--config", properties])

    def all(self):
        return [*self.coordinators.values(), *self.brokers.values()]

    def coordinator_leader(self):
        """The server that says so in the latest term, if it runs."""
        terms = []
        for n, server in self.coordinators.items():
            with open(server.log) as log:
                for line in log:
                    if '"leads"' in line:
                        terms.append((int(json.loads(line)["term"]), n))
        return max(terms)[1] if terms else None


class Load:
    """librdkafka, offered records at a fixed rate, each with its number in its partition."""

    def __init__(self, bootstrap):
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
            "message.timeout.ms": 120_000, "queue.buffering.max.messages": 1_000_000,
            "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 2_000,
        })
        self.offered = [0] * PARTITIONS
        self.acknowledged = [{} for _ in range(PARTITIONS)]
        self.failed = 0
        # Since when acknowledgements are awaited, and when each partition's first came of a record offered since.
        self.since, self.first = 0.0, {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        begun, count = time.monotonic(), 0
        while not self.stopping.is_set():
            due = int((time.monotonic() - begun) * RECORDS_PER_S)
            while count < due:
                partition = count % PARTITIONS
                number = self.offered[partition]
                try:
                    self.offer(partition, number)
                except BufferError:
                    self.producer.poll(0.05)
                    continue
                self.offered[partition] += 1
                count += 1
            self.producer.poll(0.002)
        self.producer.flush(120)

    def offer(self, partition, number):
        offered_s = time.monotonic()

        def delivered(error, message):
            if error is not None:
                self.failed += 1
                return
            self.acknowledged[partition][number] = message.offset()
            if offered_s > self.since:
                self.first.setdefault(partition, time.monotonic())

        value = f"{partition}:{number}:".encode().ljust(100, b"x")
        self.producer.produce(TOPIC, value, partition=partition, on_delivery=delivered)

    def in_flight(self):
        return sum(self.offered) - sum(len(one) for one in self.acknowledged) - self.failed

    def mark(self):
        """From now on it is awaited that every partition acknowledges a record offered since."""
        self.since, self.first = time.monotonic(), {}

    def resumed_after(self):
        """How long after the mark every partition had acknowledged a record offered since; None if not yet."""
        first = dict(self.first)
        return max(first.values()) - self.since if len(first) == PARTITIONS else None


class Heartbeat:
    """kazoo, which writes every 100 ms and keeps one session with an ephemeral node."""

    def __init__(self, hosts):
        self.states = []
        retry = lambda: KazooRetry(max_tries=-1, max_delay=0.2)
        self.client = KazooClient(hosts=hosts, timeout=8.0, connection_retry=retry(), command_retry=retry())
        self.client.add_listener(self.states.append)
        self.client.start(timeout=30)
        self.session = self.client.client_id[0]
        self.client.create("/heartbeat", b"0")
        self.client.create("/alive", b"", ephemeral=True)
        self.written, self.gap_s = 0, 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        last = time.monotonic()
        while not self.stopping.is_set():
            try:
                self.client.set("/heartbeat", str(self.written).encode())
            except KazooException as error:
                print(f"info:   a heartbeat failed: {error!r}", flush=True)
                continue
            now = time.monotonic()
            self.gap_s = max(self.gap_s, now - last)
            last, self.written = now, self.written + 1
            time.sleep(0.1)


def partitions(admin):
    """Each partition's leader and in-sync set, as a broker tells them; None while nobody does."""
    try:
        topic = admin.list_topics(TOPIC, timeout=3).topics[TOPIC]
    except KafkaException:
        return None
    if len(topic.partitions) != PARTITIONS:
        return None
    return {p: (one.leader, set(one.isrs)) for p, one in topic.partitions.items()}


def all_in_sync(admin):
    state = partitions(admin)
    return state if state and all(len(isrs) == 3 and leader > 0 for leader, isrs in state.values()) else None


def controller(admin):
    try:
        node = admin.describe_cluster(request_timeout=3).result().controller
    except KafkaException:
        return None
    return node.id if node else None


def victim(role, cluster, admin):
    """Who has the role at this moment: asked right before the kill."""
    if role.startswith("leader"):
        partition = int(role.split()[1])
        return eventually(role, lambda: (partitions(admin) or {}).get(partition, (None,))[0]), cluster.brokers
    if role == "controller":
        return eventually(role, lambda: controller(admin)), cluster.brokers
    leader = eventually(role, cluster.coordinator_leader)
    if role == "coordinator":
        return next(n for n in cluster.coordinators if n != leader), cluster.coordinators
    return leader, cluster.coordinators


def kill_in_turn(cluster, admin, load):
    begun = time.monotonic()
    longest, flights, killed = 0.0, [], []
    for turn in range(KILLS):
        role = ROLES[turn % len(ROLES)]
        at = begun + SECONDS * (turn + 0.5) / (KILLS + 0.5)
        time.sleep(max(0.0, at - time.monotonic()))
        # The page-cache class promises nothing once two replicas are away.
        waited = time.monotonic()
        eventually("every replica in sync before the next kill", lambda: all_in_sync(admin))
        waited = time.monotonic() - waited
        number, processes = victim(role, cluster, admin)
        process = processes[number]
        in_flight = load.in_flight()
        process.signal(signal.SIGKILL)
        load.mark()
        time.sleep(AWAY_S)
        process.start()
        resumed = eventually("acknowledgements after a kill", load.resumed_after, 60, 0.02)
        longest = max(longest, resumed)
        flights.append(in_flight)
        killed.append(role.split(" ")[0] if role != "coordinator leader" else role)
        print(f"info:   {time.monotonic() - begun:6.1f} s: killed {process.name} ({role}), {in_flight} records in flight; "
              f"acknowledged again after {resumed:.2f} s; had waited {waited:.1f} s for the replicas", flush=True)
    time.sleep(max(0.0, begun + SECONDS - time.monotonic()))
    counts = {role: killed.count(role) for role in sorted(set(killed))}
    measured(longest <= RESUMES_WITHIN_S, f"acknowledgements resumed within {RESUMES_WITHIN_S:.0f} s of each kill, at worst {longest:.2f} s")
    measured(min(flights) > 0, f"records were in flight at each kill: {min(flights)} to {max(flights)}")
    print(f"info:   killed by role: {counts}")
    if KILLS >= 10:
        enough = killed.count("leader") >= 3 and killed.count("controller") >= 2 and killed.count("coordinator leader") >= 2
        claim(enough, "three partition leaders, two controllers and two coordinator leaders were among them")


def read_everything(bootstrap):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100})
    ends = {p: consumer.get_watermark_offsets(TopicPartition(TOPIC, p), timeout=20)[1] for p in range(PARTITIONS)}
    consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
    records, reached = {p: [] for p in range(PARTITIONS)}, {p: 0 for p in range(PARTITIONS)}
    deadline = time.monotonic() + 120
    while any(reached[p] < ends[p] for p in ends) and time.monotonic() < deadline:
        for message in consumer.consume(10_000, timeout=1.0):
            if message.error():
                continue
            partition, number, _ = message.value().split(b":", 2)
            assert int(partition) == message.partition()
            records[message.partition()].append((message.offset(), int(number)))
            reached[message.partition()] = message.offset() + 1
    consumer.close()
    claim(all(reached[p] >= ends[p] for p in ends), f"everything was read: {sum(map(len, records.values()))} records")
    return records


def judge(load, records):
    offered, acknowledged = sum(load.offered), sum(len(one) for one in load.acknowledged)
    share = 100 * acknowledged / max(1, offered)
    measured(offered / SECONDS >= 2000 * 0.99, f"offered {offered} records, {offered / SECONDS:.0f} a second")
    measured(share >= 95, f"{acknowledged} of {offered} acknowledged: {share:.2f} %; {load.failed} failed")
    lost = elsewhere = duplicated = reordered = 0
    for partition in range(PARTITIONS):
        at = {}
        for offset, number in records[partition]:
            duplicated += number in at
            at[number] = offset
        for number, offset in load.acknowledged[partition].items():
            lost += number not in at
            elsewhere += at.get(number, offset) != offset
        numbers = [number for _, number in records[partition]]
        reordered += sum(later < earlier for earlier, later in zip(numbers, numbers[1:]))
    claim(lost == 0, f"nothing acknowledged is lost: {lost}")
    claim(elsewhere == 0, f"each acknowledged record is at the offset it was acknowledged at: {elsewhere} are not")
    claim(duplicated == 0, f"nothing is there twice: {duplicated}")
    claim(reordered == 0, f"nothing changed places: {reordered}")


def log_of(directory, partition):
    home = os.path.join(directory, f"{TOPIC}-{partition}")
    parts = []
    for name in sorted(name for name in os.listdir(home) if name.endswith(".log")):
        with open(os.path.join(home, name), "rb") as file:
            parts.append(file.read())
    return b"".join(parts)


def compare_replicas(cluster):
    for partition in range(PARTITIONS):
        logs = [log_of(directory, partition) for directory in cluster.directories.values()]
        equal = logs[0] == logs[1] == logs[2] and len(logs[0]) > 0
        claim(equal, f"the three logs of {TOPIC}-{partition} are equal: {[len(log) for log in logs]} bytes")


def kcat(bootstrap):
    lines = "".join(f"line {n}\n" for n in range(1000))
    try:
        subprocess.run(["kcat", "-P", "-b", bootstrap, "-t", "lines", "-p", "0"], input=lines.encode(), check=True, timeout=60)
        read = subprocess.run(["kcat", "-C", "-b", bootstrap, "-t", "lines", "-p", "0", "-e", "-q"], capture_output=True, check=True, timeout=60)
    except FileNotFoundError:
        print("SKIPPED: kcat is not installed", flush=True)
        return
    claim(read.stdout.decode() == lines, f"kcat reads back the {lines.count(chr(10))} records that it produced")


def main():
    cluster = Cluster()
    for process in cluster.all():
        process.start()
    try:
        run(cluster)
    finally:
        for process in cluster.all():
            if process.child.poll() is None:
                process.signal(signal.SIGKILL)
    if FAILURES:
        raise SystemExit(f"{len(FAILURES)} claims do not hold")
    print("done", flush=True)


def run(cluster):
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "reconnect.backoff.max.ms": 500})
    eventually("three brokers", lambda: len(brokers_of(admin)) == 3)
    created = admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3, config={"min.insync.replicas": "2"})])
    created[TOPIC].result(20)
    eventually("every replica in sync", lambda: all_in_sync(admin))
    kcat(cluster.bootstrap)
    heartbeat, load = Heartbeat(cluster.zookeeper), Load(cluster.bootstrap)
    heartbeat.thread.start()
    load.thread.start()
    eventually("the first acknowledgements", load.resumed_after)
    kill_in_turn(cluster, admin, load)
    load.stopping.set()
    load.thread.join(150)
    heartbeat.stopping.set()
    heartbeat.thread.join(30)
    kept = heartbeat.client.client_id[0] == heartbeat.session and KazooState.LOST not in heartbeat.states
    claim(kept, f"kazoo kept its session through {heartbeat.written} writes; the longest gap was {heartbeat.gap_s:.2f} s")
    stat = heartbeat.client.exists("/alive")
    claim(stat is not None and stat.ephemeralOwner == heartbeat.session, "its ephemeral node is there")
    heartbeat.client.stop()
    heartbeat.client.close()
    judge(load, read_everything(cluster.bootstrap))
    eventually("every replica in sync at the end", lambda: all_in_sync(admin))
    for process in cluster.brokers.values():
        claim(process.signal(signal.SIGTERM) == 0, f"{process.name} stopped in order")
    compare_replicas(cluster)


def brokers_of(admin):
    try:
        return admin.list_topics(timeout=3).brokers
    except KafkaException:
        return {}


main()
