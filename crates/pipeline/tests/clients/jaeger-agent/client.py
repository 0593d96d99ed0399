"""Sends a span with a child through the Jaeger client to an agent: `client.py PORT`."""

import sys
import time

from jaeger_client import Config

tracer = Config(
    config={
        "sampler": {"type": "const", "param": 1},
        "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": int(sys.argv[1])},
        "reporter_flush_interval": 0.05,
        "tags": {"region": "north"},
    },
    service_name="cart",
).new_tracer()
root = tracer.start_span("checkout", tags={"span.kind": "server", "items": 3, "ratio": 0.5, "ok": True})
child = tracer.start_span("pay", child_of=root, tags={"span.kind": "client", "error": True})
child.log_kv({"event": "retry", "attempt": 2})
child.finish()
root.finish()
# It ends in the background.
closed = tracer.close()
while not closed.done():
    time.sleep(0.05)
