"""c-ares through pycares. Reads "TYPE NAME ADDRESS" lines, prints "MS OUTCOME" lines; see Outcome::read."""
import select
import socket
import sys
import time

import pycares

TYPES = {name: getattr(pycares, "QUERY_TYPE_" + name) for name in ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT")}


def run(begin):
    channel = pycares.Channel()
    results = []
    begin(channel, lambda result, error: results.append((result, error)))
    while not results:
        readers, writers = channel.getsock()
        timeout = channel.timeout()
        readable, writable, _ = select.select(readers, writers, [], timeout)
        for fd in readable:
            channel.process_fd(fd, pycares.ARES_SOCKET_BAD)
        for fd in writable:
            channel.process_fd(pycares.ARES_SOCKET_BAD, fd)
        if not readable and not writable:
            channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
    return results[0]


def text(kind, one):
    if kind == "MX":
        return f"{one.priority} {one.host}"
    if kind == "SRV":
        return f"{one.priority} {one.weight} {one.port} {one.host}"
    if kind == "TXT":
        return one.text.decode() if isinstance(one.text, bytes) else one.text
    return getattr(one, {"CNAME": "cname", "PTR": "name"}.get(kind, "host"))


def ask(kind, name):
    if kind == "ADDR":
        result, error = run(lambda channel, done: channel.getaddrinfo(name, None, done, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM))
        if error is None:
            addresses = [node.addr[0] for node in result.nodes]
            return "data " + "|".join(a.decode() if isinstance(a, bytes) else a for a in addresses)
    elif kind in TYPES:
        result, error = run(lambda channel, done: channel.query(name, TYPES[kind], done))
        if error is None:
            return "data " + "|".join(text(kind, one) for one in (result if isinstance(result, list) else [result]))
    else:
        return "notasked"
    if error == pycares.errno.ARES_ENOTFOUND:
        return "noname" if kind != "ADDR" else "nothing"
    if error == pycares.errno.ARES_ENODATA:
        return "nodata" if kind != "ADDR" else "nothing"
    return "failure " + pycares.errno.errorcode[error]


for line in sys.stdin:
    kind, name, _ = line.split()
    begun = time.monotonic()
    try:
        out = ask(kind, name)
    except Exception as error:  # whatever the library raises is a failure of the question
        out = f"failure {error!r}"
    print(int((time.monotonic() - begun) * 1000), out, flush=True)
