"""What produce costs on a real cluster, beside the limit of the machine, in one alternating run.

Usage: baseline.py [--quick] [--rounds N] [--records N] [--directory DIRECTORY] [--programs DIRECTORY]
                   [--report FILE]

Three coordinators and three brokers run as processes of their own. librdkafka's performance tool
produces to a topic of one replica with acks=1 and to a topic of three with acks=all; `receive-limit`
shows what receiving, checking and writing takes by itself. Ends with 1 unless every record that was
acknowledged is in every replica's log, undamaged and in place: otherwise no figure means anything.
What is measured, and what is not, is in README.md.
"""

import argparse
import json
import mmap
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "..", "target"))
RECORD_BYTES, BATCH_BYTES = 1024, 128 * 1024
CONFIGURATIONS = {
    "acks=1": {"acks": "1", "replicas": 1, "settings": []},
    "acks=all": {"acks": "-1", "replicas": 3, "settings": ["min.insync.replicas=2"]},
}
LIMIT = "limit"
# In turn, so that what drifts over minutes favours nobody.
ORDERS = [[LIMIT, "acks=1", "acks=all"], [LIMIT, "acks=all", "acks=1"]]
CLIENT = {
    "batch.size": BATCH_BYTES,
    # As many as fit by their payload; their framing makes it one less.
    "batch.num.messages": BATCH_BYTES // RECORD_BYTES - 1,
    # The tool offers as much as is taken, so that a batch is full long before.
    "linger.ms": 20,
    # Every acknowledgement counts: nothing is given up and tried again behind the tool's back.
    "message.send.max.retries": 0,
}
RUN_SECONDS_MAX = 300
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = mmap.PAGESIZE
HUGE_PAGE_BYTES = 2 * 1024 * 1024


class Invalid(Exception):
    """A figure would not mean what it says."""


def require(holds, what):
    if not holds:
        raise Invalid(what)


def eventually(what, look, within_s=60.0, every_s=0.05):
    begun = time.monotonic()
    while time.monotonic() - begun < within_s:
        found = look()
        if found:
            return found
        time.sleep(every_s)
    raise Invalid(f"not within {within_s:.0f} s: {what}")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class TouchedMemory:
    """Memory that the page cache can use without the host having to find it first.

    A virtual machine with free page reporting gives back to its host what has been free for two seconds,
    and pays at the next touch, in CPU time of whoever touches it: up to 1.5 s a GB, three times what is to
    be measured. Only whole huge pages are given back. So huge pages are touched, and of each the first
    4 KiB are kept: the rest is free, and in pieces that are too small to be given back."""

    def __init__(self, wanted_bytes):
        begun = time.monotonic()
        self.bytes = min(wanted_bytes, memory_available_bytes() * 6 // 10) // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        self.memory = mmap.mmap(-1, self.bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, self.bytes, PAGE_BYTES):
            self.memory[at] = 1
        for at in range(0, self.bytes, HUGE_PAGE_BYTES):
            # The first of the two only divides the huge page: it cannot be freed in part.
            for advice in (mmap.MADV_FREE, mmap.MADV_DONTNEED):
                self.memory.madvise(advice, at + PAGE_BYTES, HUGE_PAGE_BYTES - PAGE_BYTES)
        self.seconds = time.monotonic() - begun


def memory_available_bytes():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))


def cpu_s(pid):
    """User and system time of a process, ended threads included."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def machine_cpu_s():
    """Time of all processors that was spent on anything, steal included."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


class Process:
    """One process of the cluster, stopped by its process id."""

    def __init__(self, wyrd, home, name, arguments):
        self.name, self.log = name, os.path.join(home, f"{name}.log")
        self.command = [wyrd, *arguments, "--log-format", "json", "--log", "warn"]
        self.child = None

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, stdout=log, stderr=log)

    def stop(self):
        if self.child is None or self.child.poll() is not None:
            return
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(10)

    def complaints(self):
        """What it logged, which is warnings and errors only."""
        with open(self.log, errors="replace") as log:
            return [line.strip() for line in log if line.strip()]


class Cluster:
    def __init__(self, wyrd, home):
        self.wyrd = wyrd
        ports = free_ports(9)
        peers, clients, self.ports = ports[:3], ports[3:6], dict(zip((1, 2, 3), ports[6:]))
        config = os.path.join(home, "zoo.cfg")
        with open(config, "w") as file:
            file.write("tickTime=1000\nclientPortAddress=127.0.0.1\n")
            for n in range(3):
                file.write(f"server.{n + 1}=127.0.0.1:{peers[n]};{clients[n]}\n")
        zookeeper = ",".join(f"127.0.0.1:{port}" for port in clients)
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        self.coordinators, self.brokers, self.directories = [], [], {}
        for n in (1, 2, 3):
            own = ["--config", config, "--id", str(n), "--set", f"dataDir={home}/coordinator-{n}"]
            subprocess.run([wyrd, "coordinator", "format", *own], check=True, stdout=subprocess.DEVNULL)
            self.coordinators.append(Process(wyrd, home, f"coordinator-{n}", ["coordinator", *own]))
            properties, self.directories[n] = os.path.join(home, f"broker-{n}.properties"), f"{home}/broker-{n}"
            with open(properties, "w") as file:
                file.write(f"broker.id={n}\nlisteners=PLAINTEXT://127.0.0.1:{self.ports[n]}\n"
                           f"zookeeper.connect={zookeeper}\nlog.dirs={self.directories[n]}\n"
                           "auto.create.topics.enable=false\n")
            self.brokers.append(Process(wyrd, home, f"broker-{n}", ["broker", "--config", properties]))

    def all(self):
        return [*self.coordinators, *self.brokers]

    def require_all_run(self):
        for process in self.all():
            code = process.child.poll()
            require(code is None, f"{process.name} ended with {code}: {process.complaints()[-3:]}")

    def broker_cpu_s(self):
        return sum(cpu_s(process.child.pid) for process in self.brokers)

    def coordinator_cpu_s(self):
        return sum(cpu_s(process.child.pid) for process in self.coordinators)

    def topic(self, action, *arguments):
        command = [self.wyrd, "topic", action, *arguments, "--bootstrap", self.bootstrap, "-o", "json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=90)

    def create(self, topic, replicas, settings):
        configs = [argument for setting in settings for argument in ("--topic-config", setting)]
        count = ["--partitions", "1", "--replication-factor", str(replicas)]
        eventually(f"{topic} is created", lambda: self.topic("create", topic, *count, *configs).returncode == 0)
        return eventually(f"{topic} is in sync", lambda: self.in_sync_leader(topic, replicas))

    def in_sync_leader(self, topic, replicas):
        """The leader, if all replicas are in sync."""
        described = self.topic("describe", topic)
        if described.returncode != 0:
            return None
        (partition,) = json.loads(described.stdout)[0]["partitions"]
        return partition["leader"] if len(partition["in_sync"]) == replicas else None

    def delete(self, topic):
        eventually(f"{topic} is deleted", lambda: self.topic("delete", topic).returncode == 0)
        eventually(f"the records of {topic} are gone", lambda: not self.logs(topic))

    def logs(self, topic):
        """Each replica's segments, by broker."""
        found = {}
        for broker, directory in self.directories.items():
            home = os.path.join(directory, f"{topic}-0")
            if os.path.isdir(home):
                found[broker] = sorted(os.path.join(home, name) for name in os.listdir(home) if name.endswith(".log"))
        return found

    def replicas_are_equal(self, topic, replicas):
        """By their lengths. A follower may begin a segment at another batch than its leader."""
        lengths = [sum(map(os.path.getsize, segments)) for segments in self.logs(topic).values()]
        return len(lengths) == replicas and len(set(lengths)) == 1

    def settle(self):
        """Waits until the brokers do no more than an idle cluster does, background syncs included."""
        def quiet():
            before = self.broker_cpu_s()
            time.sleep(0.25)
            return self.broker_cpu_s() - before <= 0.02
        eventually("the brokers come to rest", quiet, 30)

    def end_offset(self, topic, leader):
        """The leader's answer to ListOffsets v1 for the latest offset: the high watermark."""
        name = topic.encode()
        body = struct.pack(">hhih", 2, 1, 0, -1) + struct.pack(">iih", -1, 1, len(name)) + name
        body += struct.pack(">iiq", 1, 0, -1)
        with socket.create_connection(("127.0.0.1", self.ports[leader]), 10) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as answers:
                answer = answers.read(struct.unpack(">i", answers.read(4))[0])
        error, _timestamp, offset = struct.unpack(">hqq", answer[-18:])
        require(error == 0, f"{topic}: ListOffsets gives error {error}")
        return offset


class Client:
    """One run of librdkafka's performance tool."""

    SUMMARY = re.compile(r"% (\d+) messages produced \(\d+ bytes\), (\d+) delivered \(offset (-?\d+), (\d+) failed\) in (\d+)ms")

    def __init__(self, tool, home, bootstrap, topic, acks, records):
        settings = [argument for key, value in CLIENT.items() for argument in ("-X", f"{key}={value}")]
        command = [tool, "-P", "-b", bootstrap, "-t", topic, "-p", "0", "-s", str(RECORD_BYTES), "-c", str(records),
                   "-a", acks, *settings]
        log = os.path.join(home, "client.log")
        with open(log, "wb") as output:
            child = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = threading.Timer(RUN_SECONDS_MAX, child.kill)
        deadline.start()
        try:
            _pid, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        finally:
            deadline.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        with open(log, errors="replace") as file:
            text = file.read()
        summaries = self.SUMMARY.findall(text)
        require(child.returncode == 0 and summaries, f"the client ended with {child.returncode}: {text[-2000:]}")
        self.produced, self.delivered, self.last_offset, self.failed, elapsed_ms = map(int, summaries[-1])
        self.elapsed_s, self.cpu_s = elapsed_ms / 1e3, usage.ru_utime + usage.ru_stime
        self.errors = [line for line in text.splitlines() if "ERROR" in line or "THROTTLED" in line]


class Log:
    """What `wyrd log dump` finds in one replica: every batch, with its checksum verified."""

    def __init__(self, wyrd, segments):
        self.batches, self.records, self.bytes = [], 0, 0
        for segment in segments:
            dump = subprocess.run([wyrd, "log", "dump", segment, "-o", "json"], capture_output=True, text=True)
            require(dump.returncode == 0, f"{segment}: {dump.stderr.strip()}")
            for line in dump.stdout.splitlines():
                batch = json.loads(line)
                require(batch["base_offset"] == self.records, f"{segment}: a batch is at {batch['base_offset']}")
                self.batches.append((batch["base_offset"], batch["crc"]))
                self.records += batch["records"]
                self.bytes += batch["bytes"]
                require(batch["last_offset"] == self.records - 1, f"{segment}: a gap at {batch['base_offset']}")


class Bench:
    def __init__(self, options, home):
        self.wyrd = os.path.join(options.programs, "release", "wyrd")
        self.limit_program = os.path.join(options.programs, "release", "receive-limit")
        self.tool = os.path.join(options.programs, "real_path", "rdkafka_performance")
        for program in (self.wyrd, self.limit_program, self.tool):
            require(os.access(program, os.X_OK), f"there is no {program}: see README.md")
        self.home, self.records, self.topics = home, options.records, 0
        self.cluster = Cluster(self.wyrd, home)

    def run(self, name, records):
        return self.limit(records) if name == LIMIT else self.produce(name, records)

    def limit(self, records):
        """As many bytes as the records have."""
        os.sync()
        file, frames = os.path.join(self.home, "received"), max(1, records * RECORD_BYTES // BATCH_BYTES)
        machine, began = machine_cpu_s(), time.monotonic()
        output = subprocess.run([self.limit_program, file, str(frames)], capture_output=True, text=True)
        machine, wall = machine_cpu_s() - machine, time.monotonic() - began
        require(output.returncode == 0, f"receive-limit: {output.stderr.strip()}")
        measured = json.loads(output.stdout)
        require(os.path.getsize(file) == frames * BATCH_BYTES, "receive-limit wrote less than it received")
        os.unlink(file)
        receiver, sender = measured["receiver_cpu_s_per_gb"], measured["sender_cpu_s_per_gb"]
        own = (receiver + sender) * measured["gigabytes"]
        return {"what": LIMIT, "mb_per_s": measured["mb_per_s"], "brokers": receiver, "client": sender,
                "coordinators": 0.0, "others": max(0.0, (machine - own) / wall)}

    def produce(self, name, records):
        configuration, cluster = CONFIGURATIONS[name], self.cluster
        replicas, self.topics = configuration["replicas"], self.topics + 1
        topic = f"{name.replace('=', '-')}-{self.topics}"
        leader = cluster.create(topic, replicas, configuration["settings"])
        os.sync()
        cluster.settle()
        own, machine, began = os.times(), machine_cpu_s(), time.monotonic()
        brokers, coordinators = cluster.broker_cpu_s(), cluster.coordinator_cpu_s()
        client = Client(self.tool, self.home, cluster.bootstrap, topic, configuration["acks"], records)
        eventually(f"every replica of {topic} has all", lambda: cluster.replicas_are_equal(topic, replicas))
        cluster.settle()
        brokers, coordinators = cluster.broker_cpu_s() - brokers, cluster.coordinator_cpu_s() - coordinators
        own = sum(os.times()[:2]) - sum(own[:2])
        machine, wall = machine_cpu_s() - machine, time.monotonic() - began
        batch_bytes = self.validate(topic, replicas, leader, client, records)
        cluster.delete(topic)
        gigabytes = records * RECORD_BYTES / 1e9
        return {"what": name, "mb_per_s": gigabytes * 1e3 / client.elapsed_s, "brokers": brokers / gigabytes,
                "client": client.cpu_s / gigabytes, "coordinators": coordinators / gigabytes,
                "others": max(0.0, (machine - brokers - coordinators - client.cpu_s - own) / wall),
                "batch_bytes": batch_bytes, "client_errors": client.errors}

    def validate(self, topic, replicas, leader, client, records):
        """Gives the average size of a batch."""
        cluster = self.cluster
        cluster.require_all_run()
        require((client.produced, client.delivered, client.failed) == (records, records, 0),
                f"{client.delivered} of {records} records were acknowledged, {client.failed} failed")
        now = cluster.in_sync_leader(topic, replicas)
        require(now == leader, f"{topic}: the leader was {leader} and is {now}, or not all {replicas} are in sync")
        end = cluster.end_offset(topic, leader)
        require(end == records, f"{topic} ends at {end}, {records} records were acknowledged")
        logs = [Log(self.wyrd, segments) for segments in cluster.logs(topic).values()]
        require([log.records for log in logs] == [records] * replicas, f"{topic}: replicas with fewer records")
        require(all(log.batches == logs[0].batches for log in logs), f"{topic}: replicas differ")
        return logs[0].bytes / len(logs[0].batches)


HEADINGS = ["what", "MB/s", "of limit", "brokers", "of limit", "client", "coordinators", "others"]
ROW = "{:<10}{:>7}{:>10}{:>10}{:>10}{:>8}{:>14}{:>8}"


def row(run, limit):
    """A run beside the limit of the same round. For the limit, the receiver stands for the brokers."""
    return ROW.format(run["what"], f"{run['mb_per_s']:.0f}", f"{run['mb_per_s'] / limit['mb_per_s']:.2f}",
                      f"{run['brokers']:.2f}", f"{run['brokers'] / limit['brokers']:.2f}", f"{run['client']:.2f}",
                      f"{run['coordinators']:.3f}", f"{run['others']:.2f}")


def spread(values, digits):
    return " / ".join(f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


def summarise(rounds):
    print("\nMinimum / median / maximum of the rounds:")
    for name in [LIMIT, *CONFIGURATIONS]:
        runs = [(one[name], one[LIMIT]) for one in rounds]
        print(f"\n  {name}")
        print(f"    MB/s                         {spread([run['mb_per_s'] for run, _ in runs], 0)}")
        if name == LIMIT:
            print(f"    receiver, CPU s per GB       {spread([run['brokers'] for run, _ in runs], 2)}")
            print(f"    sender                       {spread([run['client'] for run, _ in runs], 2)}")
            continue
        print(f"    MB/s, times the limit's      {spread([run['mb_per_s'] / limit['mb_per_s'] for run, limit in runs], 2)}")
        print(f"    brokers, CPU s per GB        {spread([run['brokers'] for run, _ in runs], 2)}")
        print(f"    brokers, times the limit's   {spread([run['brokers'] / limit['brokers'] for run, limit in runs], 2)}")
        print(f"    brokers and coordinators     {spread([run['brokers'] + run['coordinators'] for run, _ in runs], 2)}")
        print(f"    client                       {spread([run['client'] for run, _ in runs], 2)}")


def describe(options, bench, before, memory):
    print(f"{options.rounds} rounds; each run {options.records} records of {RECORD_BYTES} bytes, "
          f"{options.records * RECORD_BYTES / 1e9:.2f} GB; {os.cpu_count()} processors, "
          f"load average {os.getloadavg()[0]:.1f}; data on {file_system(bench.home)}")
    print(f"client: {' '.join(f'{key}={value}' for key, value in CLIENT.items())}; "
          "one partition; three coordinators and three brokers run throughout")
    print(f"the limit with memory as it was found: {before['mb_per_s']:.0f} MB/s, {before['brokers']:.2f} CPU s a GB; "
          f"then {memory.bytes / 1e9:.1f} GB of it were touched, in {memory.seconds:.1f} s", flush=True)


def file_system(directory):
    """The type of the file system that a directory is on."""
    directory, best = os.path.realpath(directory), ("", "an unknown file system")
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _device, point, kind = line.split()[:3]
            if (directory + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
                best = (point, kind)
    return best[1]


def idle(cluster):
    seconds = 2.0
    brokers, coordinators = cluster.broker_cpu_s(), cluster.coordinator_cpu_s()
    time.sleep(seconds)
    brokers, coordinators = cluster.broker_cpu_s() - brokers, cluster.coordinator_cpu_s() - coordinators
    print(f"idle, the three brokers take {brokers / seconds:.3f} and the coordinators {coordinators / seconds:.3f} "
          "CPU s a second")


def warm_up(options):
    return options.records // 10


def measure(options, bench):
    for process in bench.cluster.all():
        process.start()
    for name in [LIMIT, *CONFIGURATIONS]:
        bench.run(name, warm_up(options))
    bench.cluster.settle()
    idle(bench.cluster)
    print("\nMB/s, and CPU seconds per GB, of the records' values; others: processors busy with anything else")
    print(ROW.format(*HEADINGS))
    rounds = []
    for number in range(options.rounds):
        runs = {}
        for name in ORDERS[number % len(ORDERS)]:
            runs[name] = bench.run(name, options.records)
            print(row(runs[name], runs[LIMIT]), flush=True)
        rounds.append(runs)
    return rounds


def judge(rounds, bench):
    """What was said on the way: nobody may have had to complain."""
    runs = [run for one in rounds for name, run in one.items() if name != LIMIT]
    for name in CONFIGURATIONS:
        sizes = [run["batch_bytes"] for run in runs if run["what"] == name]
        print(f"{name}: batches of {min(sizes):.0f} to {max(sizes):.0f} bytes on average, as they are in the log")
        share = min(sizes) / BATCH_BYTES
        require(share >= 0.9, f"{name}: the batches are {100 * share:.0f} % of {BATCH_BYTES} bytes")
    complaints = [(process.name, line) for process in bench.cluster.all() for line in process.complaints()]
    complaints += [("client", line) for run in runs for line in run["client_errors"]]
    for who, line in complaints[:20]:
        print(f"{who}: {line}")
    require(not any('"level":"ERROR"' in line for _, line in complaints), "a process logged an error")
    print(f"Valid: in {len(runs)} runs every record was acknowledged, and is undamaged and in place in every replica; "
          f"{len(complaints)} complaints.")


def options():
    parser = argparse.ArgumentParser(description="What produce costs, beside the limit of the machine.")
    parser.add_argument("--quick", action="store_true", help="2 short rounds: shows that it works, measures nothing")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--records", type=int, default=2 * 1024 * 1024, help="of each run")
    parser.add_argument("--directory", help="where the data goes, and is removed from; a temporary one by default")
    parser.add_argument("--programs", default=TARGET, help="cargo's target directory")
    parser.add_argument("--report", help="a file for all figures, as JSON")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.records = 2, 192 * 1024
    return given


def main():
    # SIGTERM ends it like an exception: what it started must not stay behind.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    given = options()
    home = tempfile.mkdtemp(prefix="wyrd-real-path-", dir=given.directory)
    bench = None
    try:
        bench = Bench(given, home)
        before = bench.limit(warm_up(given))
        # Three replicas, and the rest for pieces that have the wrong size.
        memory = TouchedMemory(5 * given.records * RECORD_BYTES)
        describe(given, bench, before, memory)
        rounds = measure(given, bench)
        summarise(rounds)
        print()
        judge(rounds, bench)
        if given.report:
            with open(given.report, "w") as file:
                json.dump({"records": given.records, "record_bytes": RECORD_BYTES, "rounds": rounds}, file, indent=1)
    except Invalid as invalid:
        sys.exit(f"INVALID: {invalid}")
    finally:
        for process in bench.cluster.all() if bench else []:
            process.stop()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
