"""A backend for the demo: takes OTLP over HTTP on 127.0.0.1 and writes down which records arrived.

    python3 backend.py PORT FILE      PORT 0 chooses one; the first line on stdout says which

Nothing but Python's own library, so that the demo needs no packages. It does not decode the protobuf: the demo's
records have texts like demo-00000042 in them, which stand in the bytes as they are. A record counts as arrived when its
id is in FILE, and only then is the request answered.
"""
import gzip
import http.server
import re
import signal
import sys

ID = re.compile(rb"demo-\d{8}")


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.arrived.write(b"".join(found + b"\n" for found in ID.findall(body)))
        self.server.arrived.flush()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port, path = int(sys.argv[1]), sys.argv[2]
    server = http.server.HTTPServer(("127.0.0.1", port), Backend)
    with open(path, "ab") as server.arrived:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
