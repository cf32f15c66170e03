"""dnspython. Reads "TYPE NAME ADDRESS" lines, prints "MS OUTCOME" lines; see Outcome::read."""
import sys
import time

import dns.exception
import dns.resolver

TYPES = ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT")


def text(kind, one):
    if kind == "TXT":
        return b"".join(one.strings).decode()
    return one.to_text()


def ask(kind, name):
    if kind not in TYPES:
        return "notasked"
    try:
        found = dns.resolver.Resolver().resolve(name, kind, search=False)
        return "data " + "|".join(text(kind, one) for one in found)
    except dns.resolver.NXDOMAIN:
        return "noname"
    except dns.resolver.NoAnswer:
        return "nodata"
    except dns.exception.DNSException as error:
        return f"failure {type(error).__name__}"


for line in sys.stdin:
    kind, name, _ = line.split()
    begun = time.monotonic()
    out = ask(kind, name)
    print(int((time.monotonic() - begun) * 1000), out, flush=True)
