"""kazoo, unmodified, against three coordinator processes.

Usage: coordinator.py HOST:PORT,HOST:PORT,HOST:PORT

Says what it has seen, one line a claim. A line that starts with "do:" asks whoever started this to
do something to the processes; the answer on standard input is one line.
"""

import faulthandler
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    NodeExistsError,
    NoChildrenForEphemeralsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
)
from kazoo.retry import KazooRetry
from kazoo.security import OPEN_ACL_UNSAFE, make_acl

HOSTS = sys.argv[1]
def patient():
    """Retries of its own for each use: a client that is stopped interrupts those that it was given."""
    return KazooRetry(max_tries=-1, max_delay=0.5, deadline=30)



def client(timeout=10.0, hosts=HOSTS):
    made = KazooClient(hosts=hosts, timeout=timeout, connection_retry=patient(), command_retry=patient())
    made.start(timeout=30)
    return made


def ask(what):
    print("do:", what, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer, "no answer"
    return answer


def seen(claim):
    print("ok:", claim, flush=True)


def raises(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected of {call.__name__}{arguments}")


def eventually(what, test, patience=20.0):
    deadline = time.monotonic() + patience
    while not test():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def nodes(zk):
    assert zk.create("/a", b"one") == "/a"
    raises(NodeExistsError, zk.create, "/a", b"again")
    raises(NoNodeError, zk.create, "/missing/child", b"")
    data, stat = zk.get("/a")
    assert (data, stat.version, stat.dataLength, stat.ephemeralOwner) == (b"one", 0, 3, 0)
    assert zk.set("/a", b"two", version=0).version == 1
    raises(BadVersionError, zk.set, "/a", b"three", version=0)
    path, stat = zk.create("/a/child", b"", include_data=True)
    assert path == "/a/child" and stat.version == 0
    assert zk.get_children("/a") == ["child"]
    children, stat = zk.get_children("/a", include_data=True)
    assert children == ["child"] and stat.numChildren == 1 and stat.cversion == 1
    raises(NotEmptyError, zk.delete, "/a")
    zk.delete("/a/child")
    assert zk.exists("/a/child") is None and zk.exists("/a").version == 1
    raises(NoNodeError, zk.get, "/a/child")
    assert zk.sync("/a") == "/a"
    seen("create, get, set, exists, children, delete and sync, with their errors")


def access(zk):
    acl, stat = zk.get_acls("/a")
    assert acl == OPEN_ACL_UNSAFE and stat.aversion == 0
    only_read = [make_acl("world", "anyone", read=True, admin=True)]
    assert zk.set_acls("/a", only_read).aversion == 1
    assert zk.get_acls("/a")[0] == only_read
    zk.set_acls("/a", OPEN_ACL_UNSAFE)
    other = client()
    raises(AuthFailedError, other.add_auth, "digest", "user:password")
    other.stop()
    other.close()
    seen("access control lists; authentication is refused and not left unanswered")


def sequences(zk):
    zk.create("/s", b"")
    paths = [zk.create("/s/n-", b"", sequence=True) for _ in range(3)]
    assert paths == [f"/s/n-{number:010d}" for number in range(3)], paths
    pending = [zk.create_async("/s/n-", b"", sequence=True) for _ in range(500)]
    numbers = [int(reply.get(timeout=30)[-10:]) for reply in pending]
    assert numbers == list(range(3, 503)), "asynchronous writes take effect in the order sent"
    seen("sequential nodes, 500 writes in flight in order")


def ephemerals(zk):
    owner = client()
    path = owner.create("/owned", b"", ephemeral=True)
    raises(NoChildrenForEphemeralsError, owner.create, path + "/child", b"")
    # Another session's write is seen after a sync: plain reads are local to a server.
    zk.sync(path)
    assert zk.exists(path).ephemeralOwner == owner.client_id[0]
    gone = threading.Event()
    assert zk.exists(path, watch=lambda event: gone.set())
    owner.stop()
    assert gone.wait(10), "an ephemeral node goes with its session"
    assert zk.exists(path) is None
    owner.close()
    seen("ephemeral nodes go when their session is closed")


def watches(zk):
    events = []
    zk.create("/w", b"")
    zk.get("/w", watch=lambda event: events.append(("data", event.type, event.path)))
    zk.get_children("/w", watch=lambda event: events.append(("children", event.type, event.path)))
    zk.exists("/w/later", watch=lambda event: events.append(("exists", event.type, event.path)))
    writer = client()
    writer.set("/w", b"new")
    writer.set("/w", b"newer")
    writer.create("/w/later", b"")
    eventually("three events", lambda: len(events) == 3)
    writer.delete("/w/later")
    zk.sync("/w")
    time.sleep(0.1)
    writer.stop()
    writer.close()
    expected = {("data", "CHANGED", "/w"), ("children", "CHILD", "/w"), ("exists", "CREATED", "/w/later")}
    assert set(events) == expected and len(events) == 3, events
    seen("watches of data, children and existence, each once")


def multi(zk):
    transaction = zk.transaction()
    transaction.create("/m", b"1")
    transaction.check("/a", version=1)
    transaction.set_data("/m", b"2")
    transaction.create("/m/child", b"")
    transaction.delete("/m/child")
    results = transaction.commit()
    assert results[0] == "/m" and results[1] is True and results[2].version == 1, results
    assert results[3:] == ["/m/child", True], results
    transaction = zk.transaction()
    transaction.create("/never", b"")
    transaction.check("/a", version=77)
    results = transaction.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], BadVersionError), results
    assert zk.exists("/never") is None and zk.get("/m")[0] == b"2"
    seen("multi: all or nothing")


def expiry(zk):
    mute = client(timeout=4.0)
    mute.create("/mute", b"", ephemeral=True)
    gone = threading.Event()
    # A lost connection is an event, too, of no node: a server that hears nothing of its leader for a while ends them.
    zk.exists("/mute", watch=lambda event: gone.set() if event.path else None)
    # Its sockets stay open and say nothing: no close, no ping.
    mute._connection._send_ping = lambda *_: None
    mute._connection.ping_outstanding.set()
    began = time.monotonic()
    eventually("a session that is not heard of expires", lambda: gone.is_set() or not zk.exists("/mute"), 30)
    assert time.monotonic() - began > 2.0, "not before its time"
    seen("a session that is not heard of expires, and its ephemeral nodes go")
    mute.stop()
    mute.close()


def failover(zk):
    states = []
    zk.add_listener(states.append)
    session = zk.client_id[0]
    zk.create("/kept", b"before", ephemeral=True)
    # kazoo forgets one-time watches when it loses its connection; its recipe leaves them again.
    values = []
    zk.DataWatch("/kept", lambda data, stat: values.append(data))
    acknowledged = []
    stop = threading.Event()

    def write():
        other = client()
        number = 0
        while not stop.is_set():
            # A retry of a write whose outcome was unknown may find it done.
            try:
                patient()(other.create, f"/log/{number:06d}", b"x" * 100)
            except NodeExistsError:
                pass
            acknowledged.append(number)
            number += 1
        other.stop()
        other.close()

    zk.create("/log", b"")
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    eventually("writes before", lambda: len(acknowledged) > 50)
    for turn in range(2):
        print("info: killed", ask("kill the leader"), flush=True)
        count = len(acknowledged)
        eventually("writes after the leader was killed", lambda: len(acknowledged) > count + 50)
        patient()(zk.sync, "/kept")
        assert zk.client_id[0] == session, "the session is the same"
        assert KazooState.LOST not in states, states
        assert patient()(zk.exists, "/kept").ephemeralOwner == session
        print("info: restarted", ask("restart it"), flush=True)
    assert set(values) == {b"before"}, values
    patient()(zk.set, "/kept", b"after")
    eventually("a data watch goes on after the leaders were killed", lambda: values[-1] == b"after")
    stop.set()
    writer.join(30)
    assert not writer.is_alive()
    print("info: killed", ask("kill all and restart"), flush=True)
    patient()(zk.sync, "/log")
    there = set(patient()(zk.get_children, "/log"))
    lost = [number for number in acknowledged if f"{number:06d}" not in there]
    assert not lost, f"acknowledged and lost: {lost}"
    assert zk.client_id[0] == session and KazooState.LOST not in states, states
    assert patient()(zk.exists, "/kept").ephemeralOwner == session
    seen(f"session, ephemeral node, data watch and all {len(acknowledged)} acknowledged writes outlive kill -9 of every server")


def each_server_agrees():
    views = []
    for host in HOSTS.split(","):
        one = client(hosts=host)
        patient()(one.sync, "/")
        views.append((sorted(one.get_children("/")), sorted(one.get_children("/log")), one.get("/a")))
        one.stop()
        one.close()
    assert views[0] == views[1] == views[2]
    seen("every server shows the same tree after a sync")


def main():
    faulthandler.dump_traceback_later(240, exit=True)
    zk = client(timeout=20.0)
    nodes(zk)
    access(zk)
    sequences(zk)
    ephemerals(zk)
    watches(zk)
    multi(zk)
    expiry(zk)
    failover(zk)
    each_server_agrees()
    zk.stop()
    zk.close()
    print("done", flush=True)


main()
